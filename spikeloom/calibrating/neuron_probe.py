"""Neuron updates of the simulator's kernel beside plain integers: random vectors in all modes, exact.

Two references: `chip/arithmetic.py`, which says what the chip does, in its uncompiled form; and the rule that is
published of TianjicX (its primitive P08), in the part that both have.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..chip import arithmetic as rules
from ..chip.arithmetic import NeuronKind, ResetMode, ResetTiming
from ..chip.program import CORE_REGISTERS, REGISTER_INDEX
from ..sim.cores.soma import soma_update
from ..sim.cores.state import Params, SenderState, SomaMemory, SomaState

__all__ = ["Compared", "compare_with_arithmetic", "compare_with_p08"]

Ints = NDArray[np.int64]

_NEURONS = 256
_WIDTHS = {"activation_bits": 8, "accumulator_bits": 24, "membrane_bits": 24, "decay_bits": 12}
_P08_BITS = 28  # of its membrane


@dataclass(frozen=True)
class Compared:
    """Neuron updates that were compared, those that differ, spikes among them, modes of reset that were met."""

    updates: int
    different: int
    spikes: int
    resets: int


class _Kernel:
    """The kernel with the arrays of one core."""

    def __init__(self, membrane_bits: int) -> None:
        plain = dict.fromkeys(Params._fields, 0) | _WIDTHS | {"membrane_bits": membrane_bits}
        self.params = Params(**plain)
        names = [name for name in SomaMemory._fields if name != "table"]
        zeros = {name: np.zeros((1, _NEURONS), np.int64) for name in names}
        self.memory = SomaMemory(**zeros, table=np.zeros((1, 256), np.int32))
        rows = [np.zeros((1, _NEURONS), np.int64) for _ in range(3)]
        self.state = SomaState(
            rows[0], rows[1], rows[2], np.zeros(1, np.int64), np.zeros(_NEURONS, np.int64)
        )
        box = {name: np.zeros(1, np.int64) for name in SenderState._fields}
        box |= {name: np.zeros((1, _NEURONS), np.int64) for name in ("neuron", "payload")}
        self._outbox = SenderState(**box)
        self.registers = np.zeros(len(CORE_REGISTERS), np.int64)

    def set(self, **values: int) -> None:
        """Write registers by name."""
        for name, value in values.items():
            self.registers[REGISTER_INDEX[name]] = value

    def register(self, name: str) -> int:
        """Read a register."""
        return int(self.registers[REGISTER_INDEX[name]])

    def update(self, sums: Ints) -> None:
        """Update all neurons once."""
        soma_update(
            self.params, self.memory, self.state, self._outbox, sums, self.registers, 0, False, _NEURONS
        )  # fmt: skip


def compare_with_arithmetic(vectors: int, seed: int = 0) -> Compared:
    """Compare at least ``vectors`` random updates of spiking neurons with `chip/arithmetic.py` in plain integers.

    Drawn anew for every 256: kind, mode and timing of the reset, comparison, several spikes a timestep, floor,
    refractory time, random threshold; for every neuron its constants, state and sum, a fourth of them exact hits.
    """
    rng = np.random.default_rng(seed)
    updates = different = spikes = 0
    resets: set[tuple[int, int]] = set()
    while updates < vectors:
        kernel = _Kernel(_WIDTHS["membrane_bits"])
        sums = _draw(kernel, rng)
        wanted, lfsr = _plain_updates(kernel, sums.tolist())
        kernel.update(sums)
        s = kernel.state
        got = np.stack([s.v_mem[0], s.i_syn[0], s.refractory_left[0], s.output], axis=1)
        different += int(np.any(got != wanted, axis=1).sum()) + (int(s.lfsr[0]) != lfsr)
        updates += _NEURONS
        spikes += int(np.count_nonzero(s.output))
        resets.add((kernel.register("reset_mode"), kernel.register("reset_timing")))
    return Compared(updates, different, spikes, len(resets))


def _draw(kernel: _Kernel, rng: np.random.Generator) -> Ints:
    """Fill registers, constants and state of a core that `chip.program.check_program` takes; return sums."""
    core, top = kernel.params, 1 << (kernel.params.membrane_bits - 1)
    multi, random = rng.random() < 0.2, rng.random() < 0.2
    same_only = multi or random
    kernel.set(
        kind=int(rng.choice([NeuronKind.LIF, NeuronKind.CUBA_LIF])),
        reset_mode=ResetMode.SUBTRACT if multi else int(rng.integers(4)),
        reset_timing=ResetTiming.SAME if same_only else int(rng.integers(2)),
        compare=int(rng.integers(2)),
        i_shift=int(rng.integers(8)),
        max_output=int(rng.integers(2, 256)) if multi else 1,
        floor=int(rng.integers(2)),
        refractory=int(rng.choice([0, 0, 1, 5])),
        random_mask=int(rng.integers(1, 1 << 12)) if random and not multi else 0,
    )
    reach = int(
        rng.choice([40, 4000, top - 1])
    )  # small numbers meet exact hits, large ones saturate

    def draw(low: int, high: int) -> Ints:
        return rng.integers(low, high, _NEURONS)

    memory, state = kernel.memory, kernel.state
    memory.v_threshold[0] = (
        1 << rng.integers(0, 16, _NEURONS) if multi else draw(-reach // 8, reach)
    )
    for row in (memory.v_reset, memory.bias, state.v_mem, state.i_syn):
        row[0] = draw(-reach, reach)
    for row in (memory.decay_mem, memory.decay_syn):
        row[0] = rng.choice([0, 1, 2048, 3686, 1 << core.decay_bits], _NEURONS)
    state.refractory_left[0] = rng.choice([0, 0, 0, 1, 3], _NEURONS)
    state.lfsr[0] = int(rng.integers(1, 1 << 32))
    sums = draw(-reach, reach)
    hit = rng.random(_NEURONS) < 0.25  # what enters a membrane at rest is the threshold
    shift = kernel.register("i_shift")
    state.v_mem[0][hit] = state.i_syn[0][hit] = 0
    memory.bias[0][hit] = memory.v_threshold[0][hit] - (sums[hit] << shift)
    np.clip(memory.bias, 1 - top, top - 1, out=memory.bias)
    return sums


def _plain_updates(kernel: _Kernel, sums: list[int]) -> tuple[Ints, int]:
    """Return what `chip/arithmetic.py` makes of every neuron, (neurons, 4), and the random register afterwards."""
    register = dict(zip(REGISTER_INDEX, kernel.registers.tolist(), strict=True))
    memory = {name: row[0].tolist() for name, row in kernel.memory._asdict().items()}
    v_mem, i_syn = kernel.state.v_mem[0].tolist(), kernel.state.i_syn[0].tolist()
    refractory_left, lfsr = kernel.state.refractory_left[0].tolist(), int(kernel.state.lfsr[0])
    rows: list[tuple[int, int, int, int]] = []
    for n, value in enumerate(sums):
        if refractory_left[n]:
            rows.append((v_mem[n], i_syn[n], refractory_left[n] - 1, 0))
            continue
        if register["random_mask"]:
            lfsr = rules.lfsr_next(lfsr)
        constants = {name: row[n] for name, row in memory.items()}
        constants["v_threshold"] += lfsr & register["random_mask"]
        rows.append(_plain_update(kernel.params, register, constants, v_mem[n], i_syn[n], value))
    return np.array(rows, np.int64), lfsr


def _plain_update(
    core: Params, r: dict[str, int], m: dict[str, int], v_mem: int, i_syn: int, value: int
) -> tuple[int, int, int, int]:
    """Return membrane, current, refractory time and output of a neuron that is not silent."""
    bits, mode, timing, threshold = (
        core.membrane_bits,
        r["reset_mode"],
        r["reset_timing"],
        m["v_threshold"],
    )
    i_in = (rules.wrap(value, core.accumulator_bits) << r["i_shift"]) + m["bias"]
    if r["kind"] == NeuronKind.CUBA_LIF:
        decayed = rules.scale_round(i_syn, m["decay_syn"], core.decay_bits)
        i_in = i_syn = rules.saturate(decayed + i_in, bits)
    u = rules.integrate(
        v_mem, i_in, m["decay_mem"], threshold, m["v_reset"], mode, timing, r["compare"], core.decay_bits, bits
    )  # fmt: skip
    if r["max_output"] > 1:
        output = rules.spike_count(u, threshold, r["max_output"])
        v_mem = u - output * threshold
    else:
        output, v_mem = int(rules.fires(u, threshold, r["compare"])), u
        if output and timing == ResetTiming.SAME:
            v_mem = rules.saturate(rules.reset_same(u, threshold, m["v_reset"], mode), bits)
    if r["floor"]:
        v_mem = max(v_mem, -threshold)
    return v_mem, i_syn, r["refractory"] if output else 0, output


# ----------------------------------------------------------------------------------------- TianjicX's rule


def compare_with_p08(vectors: int, seed: int = 0) -> Compared:
    """Compare updates of neurons without leak with TianjicX's P08: integrate, compare, reset, floor, refractory time.

    P08 leaks after the reset with a factor of eight bits that it rounds down, moves its threshold with the spikes, and
    draws noise by a register whose order over neurons is not known to us: none of that is compared.
    """
    rng = np.random.default_rng(seed)
    updates = different = spikes = 0
    modes = (ResetMode.VALUE, ResetMode.SUBTRACT)
    while updates < vectors:
        # A neuron above its threshold while it is silent fires in P08; here it is silent. So it must not come to that.
        mode = modes[int(rng.integers(2))]
        refractory = int(rng.integers(4)) if mode == ResetMode.VALUE else 0
        kernel = _Kernel(_P08_BITS)
        kernel.set(
            kind=NeuronKind.LIF, reset_mode=mode, floor=1, max_output=1, refractory=refractory
        )
        kernel.memory.decay_mem[0] = 1 << kernel.params.decay_bits
        reach = int(rng.choice([30, 5000, 1 << 22]))
        kernel.memory.v_threshold[0] = threshold = rng.integers(1, reach, _NEURONS)
        kernel.memory.v_reset[0] = reset = np.minimum(
            rng.integers(-reach, reach, _NEURONS), threshold
        )
        v, ref = np.zeros(_NEURONS, np.int64), np.zeros(_NEURONS, np.int64)
        for _ in range(16):
            sums = rng.integers(-reach, reach, _NEURONS)
            v, ref, fired = _p08(
                v, ref, sums, threshold, reset, refractory, subtract=mode == ResetMode.SUBTRACT
            )
            kernel.update(sums)
            s = kernel.state
            wrong = (s.v_mem[0] != v) | (s.refractory_left[0] != ref) | (s.output != fired)
            different += int(wrong.sum())
            spikes += int(fired.sum())
            updates += _NEURONS
    return Compared(updates, different, spikes, len(modes))


def _p08(
    v: Ints, ref: Ints, u_in: Ints, threshold: Ints, reset: Ints, length: int, *, subtract: bool
) -> tuple[Ints, Ints, Ints]:
    """Return membrane, refractory time and spikes by P08 (github openBII/BiMap, prim_08), leak and noise off.

    In its order: integrate unless silent, compare strictly, reset, lower limit; the limit is minus the threshold.
    """
    top = (1 << (_P08_BITS - 1)) - 1
    v = np.where(ref == 0, np.clip(v + u_in, -top - 1, top), v)
    fired = v > threshold
    after = v - threshold if subtract else reset
    v = np.maximum(np.clip(np.where(fired, after, v), -top - 1, top), -threshold)
    return v, np.where(fired, length, np.maximum(ref - 1, 0)), fired.astype(np.int64)
