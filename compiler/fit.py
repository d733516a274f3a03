"""What a network asks of a chip and what the chip has: the answer when it does not fit, and the table when it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..chip.config import ChipConfig
from ..chip.packet import FlitLayout

if TYPE_CHECKING:  # the passes raise DoesNotFit, so they import this file
    from .partition import Partition
    from .quantised import QuantisedNetwork
    from .route import Routing
    from .schedule import Schedule


@dataclass(frozen=True)
class ResourceRow:
    """One resource at one place: ``where`` is a layer, or empty for the whole chip."""

    resource: str
    where: str
    asked: int
    had: int

    @property
    def fits(self) -> bool:
        """Whether the chip has as much as is asked."""
        return self.asked <= self.had


@dataclass(frozen=True)
class Resources:
    """Resources asked and had; totals have an empty ``where`` and stand first.

    A layer's row of a per-core resource (axons, neurons, routes) is its fullest core; of ``cores`` it
    is the layer's share of the chip's.
    """

    rows: tuple[ResourceRow, ...]

    def total(self, resource: str) -> ResourceRow:
        """Return the row of the whole chip; KeyError if there is none."""
        for row in self.rows:
            if row.resource == resource and not row.where:
                return row
        raise KeyError(resource)

    def to_list(self) -> list[dict[str, str | int]]:
        """Return plain dicts, for JSON."""
        return [
            {"resource": r.resource, "where": r.where, "asked": r.asked, "had": r.had}
            for r in self.rows
        ]


class DoesNotFit(ValueError):
    """A network that the chip cannot hold: an answer, with what would make it fit.

    Attributes
    ----------
    resource : str
        What runs out.
    where : str
        The layer, edge or neuron that asks for it; "the network" for the whole.
    asked, available : int
        How much is needed and how much there is.
    levers : tuple of str
        Changes of chip or network, any of which would make this resource suffice.
    """

    def __init__(
        self, *, resource: str, where: str, asked: int, available: int, levers: tuple[str, ...]
    ) -> None:
        self.resource = resource
        self.where = where
        self.asked = asked
        self.available = available
        self.levers = levers
        super().__init__(
            f"{where} needs {asked} {resource.replace('_', ' ')}, the chip has {available}; "
            f"it would fit with {', or '.join(levers)}"
        )


def tally(
    network: QuantisedNetwork,
    plan: Partition,
    times: Schedule,
    routing: Routing,
    config: ChipConfig,
) -> Resources:
    """Count what a compiled network takes of each resource, in total and by layer."""
    chip = config.many_core
    core = chip.core
    used_routes = np.diff(routing.route_offset)
    count = chip.core_count
    rows = [
        ResourceRow("cores", "", len(plan.cores), count),
        ResourceRow("neurons", "", sum(p.size for p in network.populations), count * core.neurons),
        ResourceRow("axons", "", sum(len(c.weights) for c in plan.cores), count * core.axons),
        ResourceRow("route_entries", "", int(used_routes.sum()), count * core.route_entries),
        ResourceRow("delay_slots", "", 1, core.delay_slots),
        ResourceRow(
            "output_lines",
            "",
            network.network.output_size,
            FlitLayout.of(chip).output_lines * len(chip.network.host_columns),
        ),
    ]
    most_slots = 1
    for index, population in enumerate(network.populations):
        cores = plan.cores_of(index)
        delays = [times.column_delay(plan, number).max(initial=0) for number in cores]
        slots = int(max(delays, default=0)) + 1
        most_slots = max(most_slots, slots)
        name = population.name
        rows += [
            ResourceRow("cores", name, len(cores), count),
            ResourceRow(
                "neurons", name, max(plan.cores[n].weights.shape[1] for n in cores), core.neurons
            ),
            ResourceRow(
                "axons", name, max(plan.cores[n].weights.shape[0] for n in cores), core.axons
            ),
            ResourceRow(
                "route_entries", name, int(used_routes[list(cores)].max()), core.route_entries
            ),
            ResourceRow("delay_slots", name, slots, core.delay_slots),
        ]
    rows[4] = ResourceRow("delay_slots", "", most_slots, core.delay_slots)
    return Resources(tuple(rows))
