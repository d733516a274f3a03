"""The mesh: tiles side by side, the load chain through them, the barrier over them, the host's edges."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ...chip.config import ManyCoreConfig
from ...chip.host_link import HostLink
from ...chip.packet import FlitLayout
from ..memory import ByName
from .barrier import Barrier
from .host_layouts import chain_struct
from .tile import SIDES, Tile

__all__ = ["Mesh"]

_STEPS = {"north": (0, -1), "east": (1, 0), "south": (0, 1), "west": (-1, 0)}
WEST = SIDES[-1]
_BACK = {"north": "south", "south": "north", "east": "west", "west": "east"}


class Mesh(wiring.Component):
    """``columns x rows`` tiles. Emitted as Verilog, the tile is one module that is instantiated by name.

    The load chain runs through the tiles in the order ``y * columns + x``. Links at the edge where no host is attached
    lead nowhere: a flit that leaves there is lost and raises ``off_mesh``; no checked program has one.

    Members
    -------
    flit_in[i] : In
        Flits from the host, into the west input of row ``host_rows[i]``.
    flit_out[j] : Out
        Flits to the host, from the north output of column ``host_columns[j]``.
    chain_in, chain_out : In, Out
        The load chain.
    start, sample : In
        From the root.
    all_quiet : Out
        To the root, through the barrier tree.
    off_mesh : Out
        A flit left the mesh at an edge without a host.
    """

    chain_in: stream.Interface
    chain_out: stream.Interface
    start: Signal
    sample: Signal
    all_quiet: Signal
    off_mesh: Signal

    def __init__(self, config: ManyCoreConfig) -> None:
        self._config = config
        network = config.network
        flits = stream.Signature(FlitLayout.of(config).bits)
        chain = stream.Signature(chain_struct(HostLink(config)))
        super().__init__(
            {f"flit_in_{i}": In(flits) for i in range(len(network.host_rows))}
            | {f"flit_out_{j}": Out(flits) for j in range(len(network.host_columns))}
            | {
                "chain_in": In(chain),
                "chain_out": Out(chain),
                "start": In(1),
                "sample": In(1),
                "all_quiet": Out(1),
                "off_mesh": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Place the tiles and connect each with its neighbours."""
        m = Module()
        network = self._config.network
        places = [(x, y) for y in range(network.rows) for x in range(network.columns)]
        tiles = {place: Tile(self._config) for place in places}
        for (x, y), tile in tiles.items():
            m.submodules[f"tile_{x}_{y}"] = ByName(tile, "spikeloom_tile")

        strays = []
        for (x, y), tile in tiles.items():
            for side, (dx, dy) in _STEPS.items():
                output = getattr(tile, f"{side}_out")
                beyond = tiles.get((x + dx, y + dy))
                if beyond is not None:
                    wiring.connect(m, output, getattr(beyond, f"{_BACK[side]}_in"))
                elif side == "north" and x in network.host_columns:
                    port = getattr(self, f"flit_out_{network.host_columns.index(x)}")
                    wiring.connect(m, output, wiring.flipped(port))
                else:
                    m.d.comb += output.ready.eq(1)
                    strays.append(output.valid)
        for i, y in enumerate(network.host_rows):
            port = wiring.flipped(getattr(self, f"flit_in_{i}"))
            wiring.connect(m, port, getattr(tiles[0, y], f"{WEST}_in"))
        m.d.sync += self.off_mesh.eq(Cat(strays).any())

        m.submodules.barrier = barrier = Barrier(self._config)
        m.d.comb += [
            barrier.start.eq(self.start),
            barrier.sample.eq(self.sample),
            barrier.core_quiet.eq(Cat(tile.quiet for tile in tiles.values())),
            self.all_quiet.eq(barrier.all_quiet),
        ]
        chain = wiring.flipped(self.chain_in)
        for i, tile in enumerate(tiles.values()):
            m.d.comb += [
                tile.start.eq(barrier.core_start[i]),
                tile.sample.eq(barrier.core_sample[i]),
            ]
            wiring.connect(m, chain, tile.chain_in)
            chain = tile.chain_out
        wiring.connect(m, chain, wiring.flipped(self.chain_out))
        return m
