"""Proofs of FIFO, arbiter and router; each beside faults that it must find and states that it must reach."""

from __future__ import annotations

from pathlib import Path

import pytest
from amaranth.hdl import Module, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from spikeloom.chip.config import CoreConfig, ManyCoreConfig, NetworkOnChipConfig
from spikeloom.chip.events import PORTS
from spikeloom.hw.cores import arbiter, fifo, router
from spikeloom.hw.formal.arbiter import ArbiterProperties
from spikeloom.hw.formal.claims import always, given, sometimes
from spikeloom.hw.formal.fifo import FifoProperties
from spikeloom.hw.formal.router import RouterProperties
from spikeloom.hw.formal.solver import Problem, ProofError

from .support.mutant import mutant

# Where the inputs of each output's arbiter stand among the five ports.
PLACES = {
    output: [PORTS.index(port) for port in inputs] for output, inputs in router.INPUTS.items()
}


def narrow(depth: int) -> ManyCoreConfig:
    """Return the configuration with the narrowest flits."""
    return ManyCoreConfig(
        core=CoreConfig(
            axons=1,
            neurons=1,
            lanes=1,
            delay_slots=2,
            weight_bits=2,
            activation_bits=2,
            accumulator_bits=8,
            membrane_bits=8,
        ),
        network=NetworkOnChipConfig(columns=3, rows=3, fifo_depth=depth),
    )


def check(harness: wiring.Component, folder: Path, cover_steps: int) -> None:
    problem = Problem.of(harness, folder)
    assert problem.is_proved()
    assert problem.reaches(cover_steps)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 8])
def test_a_fifo_loses_doubles_and_reorders_nothing(depth, tmp_path):
    check(FifoProperties(fifo.Fifo, 3, depth), tmp_path, cover_steps=2 * depth + 4)


@pytest.mark.parametrize("output", PORTS)
def test_an_arbiter_is_the_simulators_and_starves_nobody(output, tmp_path):
    check(ArbiterProperties(arbiter.Arbiter, PLACES[output]), tmp_path, cover_steps=8)


@pytest.mark.parametrize(
    "depth",
    [1, 2, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)],
)
def test_a_router_sends_each_flit_one_way_and_loses_none(depth, tmp_path):
    check(RouterProperties(router.Router, narrow(depth)), tmp_path, cover_steps=3 * depth + 6)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("pop | (level < self.depth - 1)", "pop | (level < self.depth)"),  # takes one too many
        ("Mux(place == self.depth - 1, 0, place + 1)", "place ^ 1"),  # uses two places only
        ("(pop, self.r_place)", "(pop & self.i.valid, self.r_place)"),  # falls behind
        ("push | (level > 1) | (has_word & ~pop)", "push | (level > 1)"),  # forgets the last word
        (
            "head_loads.eq(~has_word | pop)",
            "head_loads.eq(~has_word | push)",
        ),  # overwrites the head
        (
            "Mux(push, self.i.payload[data_bits:], 0)",
            "self.i.payload[data_bits:]",
        ),  # a flag without a word
    ],
)
def test_a_faulty_fifo_is_found(old, new, tmp_path):
    design = mutant(fifo, old, new).Fifo
    assert not Problem.of(FifoProperties(design, 3, 4), tmp_path).holds(12)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("self.served & self.asks.any()", "self.asks.any()"),  # a turn is over without service
        ("self.chosen[a:b].any()", "self.chosen[a : b + 1].any()"),  # the turn stays where it was
        ("self.asks[b] & self.overtakes[n, b]", "self.asks[b] & 0"),  # two at once
        ("overtakes.eq(self.chosen", "overtakes.eq(0 & self.chosen"),  # always the first
    ],
)
def test_a_faulty_arbiter_is_found(old, new, tmp_path):
    design = mutant(arbiter, old, new).Arbiter
    assert not Problem.of(ArbiterProperties(design, PLACES["north"]), tmp_path).holds(12)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("arbiter.chosen[n] & link.ready", "arbiter.chosen[n]"),  # leaves without room behind
        ("goes_y: Value = ~goes_x & (dy != 0)", "goes_y: Value = dy != 0"),  # two ways at once
        ("ends = Mux(is_positive, bits, ~bits)", "ends = bits"),  # never gets there
        ('Const(self.port == "west")', 'Const(self.port == "east")'),  # turns back
    ],
)
def test_a_faulty_router_is_found(old, new, tmp_path):
    design = mutant(router, old, new).Router
    assert not Problem.of(RouterProperties(design, narrow(2)), tmp_path).holds(5)


def test_turns_are_x_then_y_and_never_back():
    for port, outputs in router.TURNS.items():
        assert list(outputs) == [output for output in PORTS if output in outputs]
        assert "local" in outputs
        assert port == "local" or port not in outputs
        if port in ("north", "south"):
            assert not {"east", "west"} & set(outputs)
    assert sum(len(outputs) for outputs in router.TURNS.values()) == 17


class Contradiction(wiring.Component):
    """Claims what is false of what cannot be."""

    i: Signal

    def __init__(self, *, claims: bool) -> None:
        self.claims = claims
        super().__init__({"i": In(2)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        counter = Signal(2)
        m.d.sync += counter.eq(counter + 1)
        impossible = (self.i == 0) & (self.i == 1)
        m.d.comb += [given(~ResetSignal()), given(impossible), sometimes(counter == 1)]
        if self.claims:
            m.d.comb += always(counter == self.i)
        return m


def test_a_proof_from_contradictory_assumptions_is_an_error(tmp_path):
    problem = Problem.of(Contradiction(claims=True), tmp_path)
    with pytest.raises(ProofError, match=r"^the solver came to no answer"):
        problem.holds(2)


def test_a_harness_without_claims_is_an_error(tmp_path):
    with pytest.raises(ProofError, match=r"^nothing to assert is left of the harness$"):
        Problem.of(Contradiction(claims=False), tmp_path)
