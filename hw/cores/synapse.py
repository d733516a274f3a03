"""The synapse unit: the weight memory, and a row of it as one weight per lane."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...chip.config import CoreConfig, ManyCoreConfig
from ...chip.memory_map import CoreMemories, Memory
from ..memory import Ram
from .pipeline import delayed

__all__ = ["Synapse", "early_stages", "weight_lanes"]


class Synapse(wiring.Component):
    """Read the weights of one axon for one group of neurons, and unpack them by the core's weight mode.

    A row of the memory holds ``lanes`` weights of full width, or in the narrower modes so many more. A lane that the
    mode does not use gets 0.

    Timing
    ------
    Latency 1: address in a cycle, weights in the next; and `early_stages` more. ::

        cycle              0    1
        axon_idx, group    a
        weights                 w[a]

    Members
    -------
    axon_idx, group : In
        The row.
    mode : In
        Register ``mode``: index into `CoreMemories.weight_modes`.
    weights : Out
        One signed weight per lane.
    w_en, w_addr, w_data : In
        Loading, a row at a time.
    """

    axon_idx: Signal
    group: Signal
    mode: Signal
    weights: data.View
    w_en: Signal
    w_addr: Signal
    w_data: Signal

    def __init__(self, config: ManyCoreConfig) -> None:
        self._memories = memories = CoreMemories(config)
        self._layout = layout = memories.layouts[Memory.WEIGHTS]
        super().__init__(
            {
                "axon_idx": In(memories.axon_bits),
                "group": In(range(max(memories.weight_groups, 2))),
                "mode": In(2),
                "weights": Out(weight_lanes(memories)),
                "w_en": In(1),
                "w_addr": In(range(max(layout.rows, 2))),
                "w_data": In(layout.bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the memory and the unpacking."""
        m = Module()
        m.submodules.ram = ram = Ram(self._layout.bits, self._layout.rows)
        m.d.comb += [
            ram.w_en.eq(self.w_en),
            ram.w_addr.eq(self.w_addr),
            ram.w_data.eq(self.w_data),
            ram.r_en.eq(1),
            ram.r_addr.eq(Cat(self.axon_idx, self.group)),
        ]
        early = early_stages(self._memories.config.core)
        row = delayed(m, ram.r_data, min(early, 1))
        for lane in range(self._memories.most_lanes):
            weight = self.weights[f"lane_{lane}"]
            choice: Value = Const(0, weight.shape())
            for index, bits in enumerate(self._memories.weight_modes):
                if (lane + 1) * bits <= self._layout.bits:
                    field = row[lane * bits : (lane + 1) * bits].as_signed()
                    choice = Mux(self.mode == index, field, choice)
            m.d.comb += weight.eq(delayed(m, choice, max(early - 1, 0)))
        return m


def early_stages(core: CoreConfig) -> int:
    """Return how many registers stand between the memories of weights and values and the operands of the multipliers.

    Two at most: right behind the memories, which show their data late, and behind what is chosen by it. They take what
    ``pipeline_stages`` has beyond the four that a product needs; what is then left is behind the products.
    """
    return min(core.pipeline_stages - 4, 2)


def weight_lanes(memories: CoreMemories) -> data.StructLayout:
    """Return one weight per lane, each as wide as the widest mode that has this lane."""
    row = memories.config.core.lanes * memories.config.core.weight_bits
    widest = [
        max(bits for bits in memories.weight_modes if (lane + 1) * bits <= row)
        for lane in range(memories.most_lanes)
    ]
    return data.StructLayout({f"lane_{lane}": signed(bits) for lane, bits in enumerate(widest)})
