"""The root of the start and barrier trees: starts samples and timesteps, and measures how long each takes."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ...chip.config import ManyCoreConfig

__all__ = ["COUNT_BITS", "Sequencer"]

COUNT_BITS = 32  # of the cycle counters


class Sequencer(wiring.Component):
    """Start a timestep or a sample per queued command, each as soon as the one before has ended.

    Behaviour
    ---------
    docs/blocks/barrier.md. A timestep ends in the cycle in which the tree says that all was quiet ``T = tree_stages``
    cycles before and the host's ports were quiet then, too; in fixed mode not before ``period_cycles`` have passed. The
    next command acts in the cycle after. A sample's reset takes ``sample_reset_cycles``.

    The tree's answers from before a timestep reach the root until cycle ``start_cycles + T - 1``, so it looks from
    ``start_cycles + T`` on.

    Timing
    ------
    Cycle 0 of a timestep is the one in which ``start`` is high. *Latency*: 1 cycle from an accepted command to
    ``start`` or ``sample``. ``command.ready`` is high while nothing runs and in the last cycle of what runs, so that
    commands that wait follow without a gap: with quiet in cycle q, a timestep takes ``q + T + 1`` cycles.

    With T = 2 (start_cycles 4) and quiet in cycle 4; the next command waits::

        cycle            0    1    2    3    4    5    6    0'
        start            1    0    0    0    0    0    0    1
        is_open          0    0    0    1    1    1    1    0     # from host_start_cycles = T + 1 on
        all_quiet        -    -    -    -    -    0    1    -
        ended            0    0    0    0    0    0    1    0     # length 7

    Reset
    -----
    Nothing runs; ``now`` is 0.

    Parameters
    ----------
    config : ManyCoreConfig
        Tree, mode and period.

    Members
    -------
    command : In(stream of 1 bit)
        1 starts a sample, 0 a timestep. Valid only once all that the timestep needs at its start is there.
    all_quiet : In(1)
        From the barrier tree, ``T`` cycles late.
    ports_quiet : In(1)
        No host port has a flit left for this timestep; not late.
    start, sample : Out(1)
        To the start tree; high for one cycle.
    is_timestep : Out(1)
        A timestep runs.
    is_open : Out(1)
        The host's ports may hand over flits.
    is_busy : Out(1)
        A timestep runs, or a sample's reset.
    ended : Out(1)
        This is the last cycle of a timestep.
    start_cycle : Out(COUNT_BITS)
        While a timestep runs: ``now`` of its cycle 0.
    length : Out(COUNT_BITS)
        With ``ended``: the timestep's cycles.
    overrun : Out(1)
        With ``ended``, in fixed mode: it took longer than its period.

    Events
    ------
    ``cycles``, ``timesteps`` and ``overruns`` follow from ``ended``, ``length`` and ``overrun``.
    """

    command: stream.Interface
    all_quiet: Signal
    ports_quiet: Signal
    start: Signal
    sample: Signal
    is_timestep: Signal
    is_open: Signal
    is_busy: Signal
    ended: Signal
    start_cycle: Signal
    length: Signal
    overrun: Signal

    def __init__(self, config: ManyCoreConfig) -> None:
        self.config = config
        super().__init__(
            {
                "command": In(stream.Signature(1)),
                "all_quiet": In(1),
                "ports_quiet": In(1),
                "start": Out(1),
                "sample": Out(1),
                "is_timestep": Out(1),
                "is_open": Out(1),
                "is_busy": Out(1),
                "ended": Out(1),
                "start_cycle": Out(COUNT_BITS),
                "length": Out(COUNT_BITS),
                "overrun": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the counters, the flags that compare them a cycle ahead, and what runs."""
        m = Module()
        config = self.config
        stages = config.tree_stages
        is_fixed = config.timestep.mode == "fixed"
        period = config.timestep.period_cycles if is_fixed else 1

        now = Signal(COUNT_BITS)
        cycle = Signal(COUNT_BITS)  # within what runs
        m.d.sync += [now.eq(now + 1), cycle.eq(cycle + 1)]

        # What is true from some cycle on is a register, set in the cycle before.
        looks = Signal()
        is_full = Signal()  # the period is over with this cycle
        is_late = Signal()  # ... was over before it
        with m.If(cycle == config.host_start_cycles - 1):
            m.d.sync += self.is_open.eq(self.is_timestep)
        with m.If(cycle == config.start_cycles + stages - 1):
            m.d.sync += looks.eq(1)
        with m.If(cycle == period - 2):
            m.d.sync += is_full.eq(1)
        m.d.sync += is_late.eq(is_full)

        ports_were_quiet = Signal()
        if stages:
            history = Signal(stages)
            m.d.sync += history.eq(Cat(self.ports_quiet, history))
            m.d.comb += ports_were_quiet.eq(history[-1])
        else:
            m.d.comb += ports_were_quiet.eq(self.ports_quiet)

        in_sample = Signal()
        m.d.comb += [
            self.ended.eq(self.is_timestep & looks & self.all_quiet & ports_were_quiet & is_full),
            self.length.eq(cycle + 1),
            self.overrun.eq(self.ended & is_late & is_fixed),
            self.is_busy.eq(self.is_timestep | in_sample),
            self.command.ready.eq(
                ~self.is_busy | self.ended | (in_sample & (cycle == config.sample_reset_cycles - 1))
            ),
        ]
        m.d.sync += [self.start.eq(0), self.sample.eq(0)]
        with m.If(self.start):
            m.d.sync += self.start_cycle.eq(now)
        with m.If(self.command.ready):
            starts = self.command.valid & ~self.command.payload
            resets = self.command.valid & self.command.payload
            m.d.sync += [
                self.start.eq(starts),
                self.is_timestep.eq(starts),
                self.sample.eq(resets),
                in_sample.eq(resets),
                cycle.eq(0),
                self.is_open.eq(0),
                looks.eq(0),
                is_full.eq(period == 1),
                is_late.eq(0),
            ]
        return m
