"""Signature registers: what the golden model's events give when absorbed, in every timestep; and what they see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spikeloom.chip.arithmetic import Compare, NeuronKind
from spikeloom.chip.memory_map import SIGNATURE_UNITS
from spikeloom.chip.packet import FlitLayout
from spikeloom.chip.program import REGISTER_INDEX
from spikeloom.chip.signature import CYCLE_BITS, absorb
from spikeloom.sim.cores.setup import new_state
from spikeloom.sim.cores.signature import absorb as absorb_fast
from spikeloom.sim.run import SimulationError, run_many_core

from .support.golden_many_core import PORTS, GoldenManyCore
from .support.random_program import random_program
from .test_sim_many_core import draw_payloads


def signatures_of(golden: GoldenManyCore, chip_timesteps: int) -> np.ndarray:
    """Absorb the golden model's events: (chip timesteps, routers, units)."""
    chip = golden.chip
    layout, columns, membrane = FlitLayout.of(chip), chip.network.columns, chip.core.membrane_bits
    registers = np.zeros((chip.core_count, len(SIGNATURE_UNITS)), dtype=np.uint32)
    kept = np.zeros((chip_timesteps, *registers.shape), dtype=np.uint32)
    for k in range(chip_timesteps):
        for _, cycle, x, y, port, kind, dx, dy, target, delay, payload in sorted(
            event for event in golden.log if event[0] == k
        ):
            flit = layout.pack(kind=kind, dx=dx, dy=dy, target=target, delay=delay, payload=payload)
            place = y * columns + x, SIGNATURE_UNITS.index(PORTS[port])
            word = cycle % (1 << CYCLE_BITS) | flit << CYCLE_BITS
            registers[place] = absorb(int(registers[place]), word, CYCLE_BITS + layout.bits)
        for event_k, cycle, c, n, output, v_mem in golden.retires:
            if event_k != k:
                continue
            reg = golden.cores[c].reg
            place = reg["y"] * columns + reg["x"], SIGNATURE_UNITS.index("core")
            state = int(registers[place])
            for value, bits in (
                (cycle, CYCLE_BITS), (n, layout.target_bits), (output, layout.payload_bits), (v_mem, membrane),
            ):  # fmt: skip
                state = absorb(state, value, bits)
            registers[place] = state
        kept[k] = registers
    return kept


@pytest.mark.parametrize("seed", range(20))
def test_signatures_are_those_of_the_golden_model_s_events(seed):
    rng = np.random.default_rng(seed)
    program = random_program(rng)
    timesteps, held = 4, seed % 3 == 0
    payloads = draw_payloads(rng, program, 2, timesteps, held)
    run = run_many_core(program, payloads, timesteps, threads=1, signatures=True)
    chip_timesteps = program.chip_timesteps(timesteps)
    assert run.signatures.shape == (2, chip_timesteps, program.config.many_core.core_count, 6)
    assert run.signatures.dtype == np.uint32
    for sample, payload in enumerate(payloads):
        golden = GoldenManyCore(program)
        golden.run(payload, held, timesteps)
        expected = signatures_of(golden, chip_timesteps)
        assert run.signatures[sample].tolist() == expected.tolist()
        assert bool(golden.log or golden.retires) == bool(expected.any())


def test_every_unit_s_register_is_compared_somewhere():
    seen = np.zeros(len(SIGNATURE_UNITS), dtype=bool)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        program = random_program(rng)
        payloads = draw_payloads(rng, program, 1, 4, held=False)
        run = run_many_core(program, payloads, 4, threads=1, signatures=True)
        seen |= run.signatures.any(axis=(0, 1, 2))
    assert seen.all()


@pytest.mark.parametrize("bits", [0, 1, 3, 7, 8, 9, 16, 31, 52, 60, 63])
def test_bytes_at_a_time_is_bit_by_bit(bits):
    rng = np.random.default_rng(bits)
    table = new_state(random_program(rng)).signature.table
    for _ in range(50):
        state, word = int(rng.integers(0, 1 << 32)), int(rng.integers(-(1 << 62), 1 << 62))
        assert absorb_fast(table, state, word, bits) == absorb(state, word, bits)


def test_wide_flits_and_late_cycles_are_absorbed():
    config = random_program(np.random.default_rng(0)).config.replace(
        core={"accumulator_bits": 40, "membrane_bits": 50, "delay_slots": 5, "pipeline_stages": 16},
        timestep={"mode": "adaptive"},
    )
    program = random_program(np.random.default_rng(5), config)
    payloads = draw_payloads(np.random.default_rng(1), program, 1, 3, held=False)
    golden = GoldenManyCore(program)
    golden.run(payloads[0], False, 3)
    run = run_many_core(program, payloads, 3, threads=1, signatures=True)
    assert golden.log
    expected = signatures_of(golden, program.chip_timesteps(3))
    assert run.signatures[0].tolist() == expected.tolist()


def test_a_membrane_that_differs_is_seen_though_no_output_does():
    program = random_program(np.random.default_rng(3))
    core = program.config.many_core.core
    registers = program.registers.copy()
    for name, value in (("kind", NeuronKind.LIF), ("max_output", 1), ("compare", Compare.GT)):
        registers[:, REGISTER_INDEX[name]] = value
    silent = replace(
        program,
        registers=registers,
        v_threshold=np.full_like(program.v_threshold, (1 << (core.membrane_bits - 1)) - 1),
        decay_mem=np.full_like(program.decay_mem, 1 << core.decay_bits),
        v_init=np.zeros_like(program.v_init),
        bias=np.zeros_like(program.bias),
    )
    payloads = np.zeros((1, 4, program.input_size), dtype=np.int64)
    one, other = (
        run_many_core(
            replace(silent, v_init=silent.v_init + v), payloads, 4, threads=1, signatures=True
        )
        for v in (0, 1)
    )
    assert one.core_counters.tolist() == other.core_counters.tolist()
    assert one.router_counters.sum() == other.router_counters.sum() == 0
    differs = (one.signatures != other.signatures)[0, -1]
    assert not differs[:, 1:].any()
    used = program.register("neurons") > 0
    places = program.register("y") * program.config.many_core.network.columns + program.register(
        "x"
    )
    assert differs[places[used], 0].all()


def test_signatures_do_not_depend_on_threads_or_other_samples_and_change_nothing_else():
    rng = np.random.default_rng(7)
    program = random_program(rng)
    payloads = draw_payloads(rng, program, 70, 3, held=False)
    plain = run_many_core(program, payloads, 3, threads=1)
    run = run_many_core(program, payloads, 3, threads=3, signatures=True)
    alone = run_many_core(program, payloads[69:], 3, threads=1, signatures=True)
    assert plain.signatures.shape == (70, 0, 0, 0)
    assert plain.cycles.tolist() == run.cycles.tolist()
    assert alone.signatures[0].tolist() == run.signatures[69].tolist()
    assert len({row.tobytes() for row in run.signatures[:, -1]}) > 60


def test_a_checkpoint_keeps_them(tmp_path):
    rng = np.random.default_rng(7)
    program = random_program(rng)
    payloads = draw_payloads(rng, program, 3, 3, held=False)
    runs = [
        run_many_core(program, payloads, 3, signatures=True, checkpoint=tmp_path / "run.checkpoint")
        for _ in range(2)
    ]
    assert runs[0].signatures.any()
    assert np.array_equal(runs[0].signatures, runs[1].signatures)


def test_a_chip_without_the_registers_has_none_to_keep():
    program = random_program(np.random.default_rng(7))
    bare = replace(program, config=program.config.replace(many_core={"signatures": False}))
    payloads = np.zeros((1, 1, program.input_size), dtype=np.int64)
    with pytest.raises(SimulationError, match="the chip has no signature registers"):
        run_many_core(bare, payloads, 1, signatures=True)
