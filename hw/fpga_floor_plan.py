"""A floor plan for an ECP5 that equal tiles crowd: block RAMs and multipliers of each on its own part of the device."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .components import COMPONENTS, component_of

__all__ = ["Blocks", "floor_plan"]

_TILE = re.compile(r"\btile_(\d+)_(\d+)\.")
_RANK = {component.name: rank for rank, component in enumerate(COMPONENTS)}  # of a flit's way
_CROWDED = 0.5  # of a kind's blocks

Site = tuple[int, int, str]  # column, row, name of a block there


class Blocks(NamedTuple):
    """Where the hard blocks of an ECP5 stand: in rows, in each row groups of four over nine columns, two halves apart.

    Read off nextpnr's placements of designs that take all blocks of a device.
    """

    groups: tuple[int, int]  # of the left half, of the right one
    ram_rows: tuple[int, ...]
    multiplier_rows: tuple[int, ...]

    @property
    def sites(self) -> dict[str, list[Site]]:
        """All blocks by the type of cell that they hold."""
        left, right = self.groups
        starts = [4 + 9 * n + 2 * (n >= left) for n in range(left + right)]
        kinds = {
            "DP16KD": (self.ram_rows, {0: 0, 2: 1, 4: 2, 6: 3}, "EBR"),
            "MULT18X18D": (self.multiplier_rows, {0: 0, 1: 1, 4: 4, 5: 5}, "MULT18_"),
        }
        return {
            kind: [
                (start + column, row, f"{name}{number}")
                for start in starts
                for column, number in columns.items()
                for row in rows
            ]
            for kind, (rows, columns, name) in kinds.items()
        }


def floor_plan(cells: Iterable[tuple[str, str]], blocks: Blocks | None) -> dict[str, str]:
    """Return nextpnr's name of the place of each block of the tiles; empty where it is better left to nextpnr.

    A placer that starts with wire lengths alone mixes the tiles of a device that they crowd, until wires between a
    memory and its core cross the device. The plan cuts the device into as many columns and rows as the mesh has, with
    equal shares of blocks, and hands them out from left to right in the order of a flit's way through a core and of
    the names, so that bits and lanes stand beside their neighbours.

    Parameters
    ----------
    cells
        (Flattened name, type) of all cells.
    blocks
        The device's; None if they are not known.

    Returns
    -------
    By cell, for example ``X4/Y22/EBR0``. Empty if all tiles take less than half of the blocks of each kind, or one of
    them more than its share.
    """
    if blocks is None:
        return {}
    sites = blocks.sites
    found: dict[str, dict[tuple[int, int], list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, kind in cells:
        if kind in sites and (tile := _TILE.search(name)):
            found[kind][int(tile[1]), int(tile[2])].append(name)
    if not any(
        sum(map(len, tiles.values())) > _CROWDED * len(sites[kind]) for kind, tiles in found.items()
    ):
        return {}
    plan: dict[str, str] = {}
    for kind, tiles in found.items():
        for tile, share in _shares(sites[kind], *map(max, zip(*tiles, strict=True))):
            names = sorted(tiles[tile], key=_order)
            if len(names) > len(share):
                return {}
            for index, name in enumerate(names):
                x, y, site = share[index * len(share) // len(names)]
                plan[name] = f"X{x}/Y{y}/{site}"
    return plan


def _shares(
    sites: list[Site], last_column: int, last_row: int
) -> Iterator[tuple[tuple[int, int], list[Site]]]:
    """Cut a device into columns, these into rows; give the tile of each part, and its sites from left to right."""
    columns, rows = last_column + 1, last_row + 1
    ordered = sorted(sites)
    for column in range(columns):
        strip = _part(ordered, column, columns)
        strip.sort(key=lambda site: (site[1], site[0]))
        for row in range(rows):
            yield (column, row), sorted(_part(strip, row, rows))


def _part(sites: list[Site], index: int, count: int) -> list[Site]:
    """Return one of ``count`` parts, equal but for one site."""
    return sites[len(sites) * index // count : len(sites) * (index + 1) // count]


def _order(name: str) -> tuple[int, list[tuple[bool, int, str]]]:
    """Return what cells are sorted by: their component, then their names, numbers in them by value."""
    pieces = re.split(r"(\d+)", name)
    numbers = [(piece.isdigit(), int(piece) if piece.isdigit() else 0, piece) for piece in pieces]
    return _RANK[component_of(name).name], numbers
