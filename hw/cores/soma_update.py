"""What the soma computes between reading a neuron's state and writing it: the rules of an update, stage by stage."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data

from ...chip.arithmetic import NeuronKind, ResetMode, ResetTiming
from ...chip.config import CoreConfig
from .arithmetic import (
    at_limit,
    exceeds,
    log2_one_hot,
    named,
    partial_products,
    saturate,
    shift_left_saturate,
    weighted_sum,
)
from .pipeline import Pipeline, delayed

__all__ = [
    "Settings",
    "activation",
    "choice",
    "comparison",
    "current",
    "delayed_reset",
    "membrane",
    "scaling",
]

STATELESS_SHIFT_BITS = 3  # i_shift of RELU and TABLE is at most 7: chip/program.py


@dataclass(frozen=True)
class Settings:
    """A core's widths and registers, and what the registers mean for an update."""

    core: CoreConfig
    registers: data.View
    has_membrane: Value  # the kind keeps a state
    spiking: Value  # its output is spikes
    current_based: Value  # it has a synaptic current
    several: Value  # more than one spike in a timestep
    resets_next: Value  # a spike resets the membrane in the next timestep

    @classmethod
    def of(cls, core: CoreConfig, registers: data.View) -> Settings:
        """Decode ``registers``."""
        kind = registers.kind
        spiking = kind <= NeuronKind.CUBA_LIF
        return cls(
            core=core,
            registers=registers,
            has_membrane=kind <= NeuronKind.CUBA_INTEGRATOR,
            spiking=spiking,
            current_based=(kind == NeuronKind.CUBA_LIF) | (kind == NeuronKind.CUBA_INTEGRATOR),
            several=spiking & (registers.max_output > 1),
            resets_next=spiking & (registers.reset_timing == ResetTiming.NEXT),
        )

    def resets_to(self, *modes: ResetMode) -> Value:
        """Return whether the reset mode is one of ``modes``."""
        return Cat(self.registers.reset_mode == mode for mode in modes).any()


def delayed_reset(m: Module, pipe: Pipeline, settings: Settings) -> None:
    """Stages -1 and 0: the reset that the stored membrane asks for, and what a reset in this timestep would leave.

    Puts ``threshold``, ``delayed`` (the stored membrane asks for a reset), ``reset_to``, and ``addend``: the membrane
    that decays, or the bias of a kind without one.
    """
    bits, registers = settings.core.membrane_bits, settings.registers
    s = pipe.stage(-1)
    to_value = settings.resets_to(ResetMode.VALUE)
    s.put(
        target=named(m, "reset_target", Mux(to_value, s.v_reset, Const(0, signed(bits)))),
        # One bit more than a membrane has: a random threshold beyond that is never reached.
        threshold=saturate(s.full_threshold, bits + 1),
        delayed=settings.resets_next & exceeds(s.v_mem, s.v_threshold, registers.compare),
    )
    s = pipe.stage(0)
    is_below = registers.floor & (s.target + s.threshold < 0)
    replaced = s.delayed & settings.resets_to(ResetMode.ZERO, ResetMode.VALUE)
    s.put(
        reset_to=Mux(is_below, (-s.threshold)[:bits].as_signed(), s.target),
        addend=Mux(settings.has_membrane, Mux(replaced, s.target, s.v_mem), s.bias),
    )


def current(m: Module, pipe: Pipeline, settings: Settings, total: Value) -> None:
    """Stages -1 to 2: the sum as a current, and behind it the synaptic current.

    Puts ``current``, ``i_syn_next`` and ``held``: what passes through, the sum of a PARTIAL, or the membrane.
    """
    bits, decay_bits = settings.core.membrane_bits, settings.core.decay_bits
    pipe.stage(-1).put(
        i_syn_decays=Mux(settings.current_based, pipe.stage(-1).i_syn, 0).as_signed()
    )
    s = pipe.stage(0)
    parts = partial_products(m, "syn_product", s.i_syn_decays, s.decay_syn)

    # The shifter is followed by a register: the bias takes the way of the decayed current, whose rounding is below it.
    s = pipe.stage(1)
    addend = Cat(Const(1 << (decay_bits - 1), decay_bits), s.bias).as_signed()
    rounded = weighted_sum(m, "syn_rounded", parts, addend, bits + decay_bits + 2)
    # Two bits more than a membrane has: a current beyond that saturates it, whatever is added.
    s.put(
        shifted=shift_left_saturate(m, "shifted", total, settings.registers.i_shift, bits + 2),
        syn_and_bias=rounded[decay_bits:].as_signed(),
        held=Mux(settings.registers.kind == NeuronKind.PARTIAL, total, s.v_mem),
    )
    s = pipe.stage(2)
    syn_sum = named(m, "syn_sum", s.syn_and_bias + s.shifted)
    syn_next = named(m, "syn_next", saturate(syn_sum, bits))
    s.put(
        current=Mux(settings.current_based, syn_next, syn_sum),
        i_syn_next=Mux(settings.current_based & ~s.refractory, syn_next, s.i_syn),
    )


def scaling(m: Module, pipe: Pipeline, settings: Settings, total: Value) -> Signal:
    """Stages 1 to 3: the membrane times its decay, or the sum of a RELU or TABLE times its factor.

    Puts ``product``, with half of what the shift to the right after it drops, so that it rounds to nearest, half up.
    Returns that shift.
    """
    registers, decay_bits = settings.registers, settings.core.decay_bits
    s = pipe.stage(1)
    shifted = total << registers.i_shift[:STATELESS_SHIFT_BITS]
    s.put(multiplicand=Mux(settings.has_membrane, 0, shifted) + s.addend)

    s = pipe.stage(2)
    parts = partial_products(m, "product", s.multiplicand, s.decay_mem)

    # A factor is at most 2**decay_bits. A shift by more than the product's width leaves 0, as this width does.
    product_bits = len(s.multiplicand) + decay_bits
    wanted = delayed(m, Mux(settings.has_membrane, decay_bits, registers.requant_shift), 1)
    shift = Signal(range(product_bits + 1))
    half = Signal(product_bits)
    m.d.sync += [
        shift.eq(Mux(wanted > product_bits, product_bits, wanted)),
        half.eq(Cat(shift == place + 1 for place in range(product_bits))),
    ]
    s = pipe.stage(3)
    s.put(product=weighted_sum(m, "product_rounded", parts, half, product_bits + 1))
    return shift


def membrane(m: Module, pipe: Pipeline, settings: Settings) -> None:
    """Stages 3 and 4: the membrane ``u`` before the compare, and what the compare subtracts from it.

    Puts ``u``, ``log2`` of the threshold, ``most`` (the threshold times max_output) and ``rest_mask`` (the bits of
    ``u`` below one threshold); with one spike at most, ``most`` is the threshold and the mask keeps everything.
    """
    bits, decay_bits = settings.core.membrane_bits, settings.core.decay_bits
    s = pipe.stage(3)
    subtracts = s.delayed & settings.resets_to(ResetMode.SUBTRACT)
    s.put(
        net=s.current - Mux(subtracts, s.threshold, 0),
        log2=log2_one_hot(s.threshold[: bits - 1]),
    )
    s = pipe.stage(4)
    decayed = s.product[decay_bits : decay_bits + bits].as_signed()
    u = saturate(named(m, "u_sum", decayed + s.net), bits)
    wiped = s.delayed & settings.resets_to(ResetMode.WIPE)
    thresholds = named(m, "thresholds", settings.registers.max_output << s.log2)
    # Where this bit is set no membrane reaches it, whatever the lower ones are.
    beyond = thresholds[bits - 1 :].any()
    most = Cat(thresholds[: bits - 1], beyond, Const(0, 1)).as_signed()
    s.put(
        u=Mux(wiped, 0, u),
        most=Mux(settings.several, most, s.threshold),
        rest_mask=Mux(settings.several, s.threshold[: bits - 1] - 1, -1)[: bits - 1],
    )


def activation(m: Module, pipe: Pipeline, settings: Settings, shift: Signal) -> Value:
    """Stages 4 and 5: the requantised sum, clipped to an activation, which is put as ``activation``.

    Returns the table's address in stage 5.
    """
    most = settings.registers.max_output
    s = pipe.stage(4)
    s.put(scaled=s.product >> shift)
    s = pipe.stage(5)
    clipped = Mux(s.scaled > most, most, s.scaled[: len(most)])
    s.put(activation=Mux(s.scaled < 0, 0, clipped))
    return saturate(s.scaled, 8).as_unsigned()


def comparison(m: Module, pipe: Pipeline, settings: Settings) -> None:
    """Stage 5: spikes, and every value that the membrane may take."""
    registers = settings.registers
    s = pipe.stage(5)
    # One subtraction compares, resets and counts. Below `most` a shift counts; just at it, both come to the same.
    difference = named(m, "difference", s.u - s.most)
    fires = (difference >= 0) & (registers.compare | (s.u != s.most))
    is_negative = s.u[-1]
    some = (s.u >> s.log2)[: len(registers.max_output)]
    s.put(
        fires=settings.spiking & ~s.refractory & fires,
        some=Mux(settings.several & ~is_negative & ~s.refractory, some, 0),
        difference=difference,
        rest=Mux(is_negative, s.u, s.u & s.rest_mask),
        is_below=registers.floor & settings.spiking & (s.u + s.threshold < 0),
        is_lowered=registers.floor & is_negative,
        minus_threshold=-s.threshold,
        at_limit=at_limit(s.u) | (settings.current_based & at_limit(s.i_syn_next)),
    )


def choice(
    m: Module, pipe: Pipeline, settings: Settings, table_output: Value, output: Signal
) -> None:
    """Stage 6: the next membrane and ``output``, which is put along."""
    bits, registers = settings.core.membrane_bits, settings.registers
    s = pipe.stage(6)
    resets = s.fires & ~settings.resets_next
    subtracts = resets & settings.resets_to(ResetMode.SUBTRACT)
    v_free = Mux(subtracts, saturate(s.difference, bits), Mux(resets, s.reset_to, s.rest))
    # The floor: reset_to knows it; a difference is below it if a negative threshold fired below 0.
    floored = Mux(subtracts, s.is_lowered, ~resets & s.is_below)
    v_next = Mux(floored, s.minus_threshold[:bits].as_signed(), v_free)
    with m.Switch(registers.kind):
        with m.Case(NeuronKind.RELU):
            m.d.comb += output.eq(s.activation)
        with m.Case(NeuronKind.TABLE):
            m.d.comb += output.eq(table_output)
        with m.Case(NeuronKind.PARTIAL):
            m.d.comb += output.eq(s.held)
        with m.Case(NeuronKind.LIF, NeuronKind.CUBA_LIF):
            m.d.comb += output.eq(Mux(s.fires, registers.max_output, s.some))
        with m.Default():
            m.d.comb += output.eq(Mux(s.refractory, 0, s.u))
    s.put(
        v_next=Mux(s.refractory, s.held, v_next)[:bits].as_signed(),
        left_next=Mux(s.fires | s.some.any(), registers.refractory, s.left),
        output=output,
        saturated=settings.has_membrane & ~s.refractory & s.at_limit,
    )
