"""A core's schedule: whose turn a timestep is, and the fixed rhythm of groups, axons and neurons within it."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...chip.config import SOMA_STAGES, ManyCoreConfig
from ...chip.memory_map import CoreMemories, Memory, index_bits
from .layouts import row_struct
from .pipeline import delayed

__all__ = ["Schedule"]

# Soma: stage 0 is when a sum stands at the shift register's head; parameters are fetched this much earlier.
FETCH_AHEAD = 4


class Schedule(wiring.Component):
    """Drive axon, dendrite and soma: every cycle of a timestep follows from the number of active axons alone.

    A core computes network timestep ``t`` in chip timestep ``steps_per_timestep * t + depth``; in the others only its
    slot goes by. A group of neurons lasts as many cycles as there are active axons, and one that marks its end, or as
    the soma needs for the group before, whichever is more. So nothing ever waits, and compute takes
    `ManyCoreConfig.compute_cycles`.

    Timing
    ------
    ``start`` comes in cycle ``tree_stages`` of a timestep, the swap is one cycle later, the first axon's turn two. With
    ``S`` active axons, ``L`` effective lanes, ``p`` = ``pipeline_stages`` ::

        cycle      T      T + 1   T + 2 = 0   1       S      S + 1             S + p + 1    + L - 1 + 7
        start      1
        swap              1
        step                      1           1 ...
        ends                                          1      next group
        fetch                                                (p = 4) neuron 0, 1 ..
        take                                                          neuron 0 ..
        retire                                                                              last neuron

    Members
    -------
    registers : In
        The core's registers.
    sample : In
        One cycle: a sample starts.
    start : In
        One cycle: a timestep starts.
    swap, slot, next_slot : Out
        The swap of slots, the current slot, the one after.
    begin : Out
        With ``swap``: the core computes in this timestep.
    is_first : Out
        From ``begin`` on: it is its first update of the sample.
    more : In
        The walk has an axon at turn.
    step, restart : Out
        Take it; walk again for the next group.
    ends : Out
        The group's end.
    group, used_lanes : Out
        The group at work, and how many of its lanes have a neuron in use.
    fetch, fetch_neuron, take : Out
        To soma and dendrite; ``take`` is one cycle early.
    computing : Out
        From the first axon's turn to the last retire.
    done : Out
        One cycle: the last of ``computing``.
    """

    registers: data.View
    sample: Signal
    start: Signal
    swap: Signal
    slot: Signal
    next_slot: Signal
    begin: Signal
    is_first: Signal
    more: Signal
    step: Signal
    restart: Signal
    ends: Signal
    group: Signal
    used_lanes: Signal
    fetch: Signal
    fetch_neuron: Signal
    take: Signal
    computing: Signal
    done: Signal

    def __init__(self, config: ManyCoreConfig) -> None:
        self._config = config
        self._memories = memories = CoreMemories(config)
        self._registers = row_struct(memories.layouts[Memory.REGISTERS])
        slot = index_bits(config.core.delay_slots)
        super().__init__(
            {
                "registers": In(self._registers),
                "sample": In(1),
                "start": In(1),
                "swap": Out(1),
                "slot": Out(slot),
                "next_slot": Out(slot),
                "begin": Out(1),
                "is_first": Out(1),
                "more": In(1),
                "step": Out(1),
                "restart": Out(1),
                "ends": Out(1),
                "group": Out(range(max(memories.weight_groups, 2))),
                "used_lanes": Out(range(memories.most_lanes + 1)),
                "fetch": Out(1),
                "fetch_neuron": Out(memories.neuron_bits),
                "take": Out(1),
                "computing": Out(1),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the count of timesteps, the walk of groups and the soma's rhythm."""
        m = Module()
        self._turns(m)
        lanes = Signal(range(self._memories.most_lanes + 1))  # the mode is loaded, long before
        for index, bits in enumerate(self._memories.weight_modes):
            with m.If(self.registers.mode == index):
                m.d.sync += lanes.eq(self._config.effective_lanes(bits))
        walk_ends, is_last = self._walk(m, lanes)
        self._soma(m, lanes, walk_ends, is_last)
        return m

    def _turns(self, m: Module) -> None:
        """Count timesteps: whether this one is the core's, and which slot it reads."""
        r, slots = self.registers, self._config.core.delay_slots
        before = Signal.like(r.depth)  # chip timesteps until the first update
        phase = Signal.like(r.steps_per_timestep)
        left = Signal.like(r.timesteps)
        is_turn, fresh = Signal(), Signal()
        m.d.comb += [
            is_turn.eq((before == 0) & (phase == 0) & (left != 0) & (r.neurons != 0)),
            self.next_slot.eq(Mux(self.slot == slots - 1, 0, self.slot + 1)),
        ]
        m.d.sync += [self.swap.eq(self.start), self.begin.eq(self.start & is_turn)]
        with m.If(self.start):
            with m.If(before != 0):
                m.d.sync += before.eq(before - 1)
            with m.Else():
                m.d.sync += phase.eq(Mux(phase + 1 == r.steps_per_timestep, 0, phase + 1))
            with m.If(is_turn):
                m.d.sync += [left.eq(left - 1), self.is_first.eq(fresh), fresh.eq(0)]
        with m.If(self.swap):
            m.d.sync += self.slot.eq(self.next_slot)
        with m.If(self.sample):
            m.d.sync += [
                before.eq(r.depth),
                phase.eq(0),
                left.eq(r.timesteps),
                fresh.eq(1),
                self.slot.eq(slots - 1),
            ]

    def _walk(self, m: Module, lanes: Signal) -> tuple[Signal, Signal]:
        """Let each group walk its axons; return the cycle in which a walk ends, and whether the group is the last."""
        r = self.registers
        remaining = Signal(range(self._config.core.neurons + 1))  # neurons, from this group on
        age = Signal(range(self._memories.most_lanes + 1))  # cycles of this group, up to lanes - 1
        old_enough = Signal()  # a register: age is lanes - 1
        walking = Signal()  # in a group
        ended = Signal()  # the group's walk has
        is_last, is_over = Signal(), Signal()  # the first a register: remaining <= lanes
        m.d.comb += [
            self.used_lanes.eq(Mux(is_last, remaining, lanes)),
            self.step.eq(walking & self.more),
            self.ends.eq(walking & ~self.more & ~ended),
            is_over.eq(walking & ~self.more & old_enough),
            self.restart.eq(is_over),
        ]
        with m.If(walking):
            with m.If(~old_enough):
                m.d.sync += [age.eq(age + 1), old_enough.eq(age + 2 == lanes)]
            with m.If(self.ends):
                m.d.sync += ended.eq(1)
        with m.If(is_over):
            m.d.sync += [
                age.eq(0),
                old_enough.eq(lanes == 1),
                ended.eq(0),
                remaining.eq(remaining - lanes),
                is_last.eq(remaining <= lanes << 1),
                self.group.eq(self.group + 1),
                walking.eq(~is_last),
            ]
        with m.If(self.begin):
            m.d.sync += [
                age.eq(0),
                old_enough.eq(lanes == 1),
                ended.eq(0),
                remaining.eq(r.neurons),
                is_last.eq(r.neurons <= lanes),
                self.group.eq(0),
                walking.eq(1),
                self.computing.eq(1),
            ]
        return self.ends, is_last

    def _soma(self, m: Module, lanes: Signal, walk_ends: Signal, is_last: Signal) -> None:
        """Fetch and take a neuron a cycle, a fixed time after its group's walk has ended."""
        delay = self._config.core.pipeline_stages + 1 - FETCH_AHEAD
        ends, last = delayed(m, walk_ends, delay), delayed(m, is_last, delay)
        left = Signal(range(self._memories.most_lanes + 1))
        in_last = Signal()
        neuron = Signal(range(self._config.core.neurons + 1))
        is_any_left = Signal()  # a register: left is not 0
        is_neuron = Signal()  # a register: neuron is one in use
        at_work, final = Signal(), Signal()
        m.d.comb += [
            at_work.eq(ends | is_any_left),
            final.eq(Mux(ends, last & (lanes == 1), in_last & (left == 1))),
            self.fetch.eq(at_work & is_neuron),
            self.fetch_neuron.eq(neuron),
        ]
        with m.If(ends):
            m.d.sync += [left.eq(lanes - 1), is_any_left.eq(lanes != 1), in_last.eq(last)]
        with m.Elif(is_any_left):
            m.d.sync += [left.eq(left - 1), is_any_left.eq(left != 1)]
        with m.If(self.begin):
            m.d.sync += [neuron.eq(0), is_neuron.eq(1)]
        with m.Elif(self.fetch):
            m.d.sync += [neuron.eq(neuron + 1), is_neuron.eq(neuron + 1 != self.registers.neurons)]
        m.d.comb += [
            self.take.eq(delayed(m, at_work, FETCH_AHEAD - 1)),
            self.done.eq(delayed(m, final, FETCH_AHEAD + SOMA_STAGES - 1)),
        ]
        with m.If(self.done):
            m.d.sync += self.computing.eq(0)
