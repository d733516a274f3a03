"""Start and barrier: two pipelined trees of radix 4 between the root and the cores."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...chip.config import ManyCoreConfig

__all__ = ["Barrier"]

RADIX = 4


class Barrier(wiring.Component):
    """Bring the root's commands to all cores at once, and *all quiet* from the cores to the root.

    Behaviour
    ---------
    As docs/blocks/barrier.md. Down: each register feeds four, each core has one of its own at the end. Up: each
    register holds the AND of up to four below it. Quiet is stable until the next start, so its delay costs time and
    never an error.

    A synthesis tool may merge equal registers of the way down; the cycles stay the same.

    Timing
    ------
    *Latency*: ``tree_stages`` cycles each way, here called ``T``. *Throughput*: a command and an answer every cycle.

    With T = 2::

        cycle            0    1    2    3    4    5
        start            1    0    0    0    0    0
        core_start       0    0    all  0    0    0
        core_quiet       -    -    -    all  all  all
        all_quiet        0    0    0    0    0    1

    The root looks at ``all_quiet`` from cycle ``start_cycles + T`` after its start on: until then the tree holds
    answers from before it.

    Reset
    -----
    No command on its way, nobody quiet.

    Parameters
    ----------
    config : ManyCoreConfig
        The size of the mesh gives ``core_count`` and ``tree_stages``.

    Members
    -------
    start, sample : In(1)
        The root's commands: a timestep starts, a sample starts from rest.
    core_start, core_sample : Out(core_count)
        The same, ``T`` cycles later; a bit per core.
    core_quiet : In(core_count)
        A bit per core: neither computes nor sends, and its router's FIFOs are empty.
    all_quiet : Out(1)
        Whether all were quiet ``T`` cycles ago.
    """

    start: Signal
    sample: Signal
    core_start: Signal
    core_sample: Signal
    core_quiet: Signal
    all_quiet: Signal

    def __init__(self, config: ManyCoreConfig) -> None:
        self.core_count = config.core_count
        self.stages = config.tree_stages
        super().__init__(
            {
                "start": In(1),
                "sample": In(1),
                "core_start": Out(self.core_count),
                "core_sample": Out(self.core_count),
                "core_quiet": In(self.core_count),
                "all_quiet": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build both ways, one level of registers after another."""
        m = Module()
        # Registers of each level, the root's side first: the root itself is the only one of level 0.
        widths = [-(-self.core_count // RADIX ** (self.stages - k)) for k in range(self.stages + 1)]

        for name, command, arrived in (
            ("start", self.start, self.core_start),
            ("sample", self.sample, self.core_sample),
        ):
            above = command
            for k, width in enumerate(widths[1:], start=1):
                level = Signal(width, name=f"{name}_level_{k}")
                m.d.sync += [level[n].eq(above[n // RADIX]) for n in range(width)]
                above = level
            m.d.comb += arrived.eq(above)

        below = self.core_quiet
        for k, width in reversed(list(enumerate(widths[:-1]))):
            level = Signal(width, name=f"quiet_level_{k}")
            m.d.sync += [
                level[n].eq(below[n * RADIX : (n + 1) * RADIX].all()) for n in range(width)
            ]
            below = level
        m.d.comb += self.all_quiet.eq(below)
        return m
