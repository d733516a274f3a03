"""Laws that the learning engines must keep: what is expected, what the simulator gives, tolerance and verdict.

Usage: PYTHONPATH=. python benchmarks/learn_laws.py [--only LAW ...] [--steps 40] [--seed 0]

The numbers of the laws are those of section 5 of the collected facts about H2Learn; lines without a tolerance are
reported only. Exit code 1 if a law is missed. Takes a few minutes, most of it for training a network (law 8).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from spikeloom.chip.config import ChipConfig, load_config
from spikeloom.chip.learn_config import LookupConfig
from spikeloom.chip.learn_network import (
    INPUT,
    InputFormat,
    LearnNetwork,
    Neuron,
    Norm,
    Recipe,
    Stage,
    initial_parameters,
)
from spikeloom.chip.learn_program import ENGINES, Operation, Queue
from spikeloom.chip.learn_timing import backward_fill, forward_cycles
from spikeloom.compiler.learn_tasks import learn_tasks
from spikeloom.models.datasets import load_mnist
from spikeloom.models.learn_zoo import alexnet_like, cifar_conv, resnet34_like
from spikeloom.sim.engines import backward
from spikeloom.sim.engines.estimate import estimate_backward
from spikeloom.sim.engines.timeline import run_timeline
from spikeloom.sim.engines.training import StepResult, TrainingMachine
from tests.support.golden_learn import Adder, value_of, word_of

MEASURED = (0.40, 0.33)  # densities of gradients and masks in the collected facts
RATES = (0.1, 0.2, 0.3, 0.4, 0.5)


@dataclass(frozen=True)
class Line:
    """One number: at least ``low`` and at most ``high``; reported only where both are None."""

    what: str
    got: float
    low: float | None = None
    high: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the number is within its bounds; NaN never is."""
        if self.low is None and self.high is None:
            return True
        low, high = self.low, self.high
        return (low is None or self.got >= low) and (high is None or self.got <= high)


def near(what: str, got: float, expected: float, tolerance: float) -> Line:
    """Return a line whose number must be within a relative tolerance of another."""
    return Line(what, got, expected * (1 - tolerance), expected * (1 + tolerance))


# --------------------------------------------------------------------------- 1: sums are the sums


def one_layer(inputs: int, outputs: int) -> LearnNetwork:
    """Return a readout alone: its logits are the forward engine's sums of binary inputs."""
    image = InputFormat((1, 1, inputs), bits=1, scale=1.0)
    return LearnNetwork(image, (Stage("sums", (1, 1, inputs), (1, 1, outputs), (INPUT,)),))


def sums(group: int, accumulators: str, spikes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return sums (samples, outputs) by the forward engine."""
    chip = load_config("h2learn_small").replace(
        learn={"accumulators": accumulators}, forward={"group": group}
    )
    network = one_layer(*weights.shape)
    recipe = Recipe(timesteps=1, batch=len(spikes))
    parameters = initial_parameters(network, 0)
    parameters.weights[0][:] = weights
    machine = TrainingMachine(learn_tasks(chip, network, recipe), parameters)
    return machine.infer(spikes.reshape(len(spikes), 1, 1, 1, -1).astype(np.uint8))


def law_1(options: argparse.Namespace) -> Iterator[Line]:
    """Compare: the lookup engine's sums are those of adding one weight at a time, in the same order."""
    rng = np.random.default_rng(options.seed)
    inputs, outputs, samples = 96, 40, 20
    spikes = rng.random((samples, inputs)) < 0.4
    weights = rng.normal(0, 0.1, (inputs, outputs)).astype(np.float16).astype(np.float32)
    for name in ("fp32", "fp16"):
        adder = Adder(name)
        by_one = sums(1, name, spikes, weights)
        plain, largest = np.zeros_like(by_one), np.zeros_like(by_one)
        for s in range(samples):
            for c in range(outputs):
                total = 0
                for k in np.flatnonzero(spikes[s]):
                    total = adder.add(total, word_of(weights[k, c]))
                    largest[s, c] = max(largest[s, c], abs(value_of(total)))
                plain[s, c] = value_of(total)
        yield Line(
            f"{name}, g = 1: sums unlike a plain accumulation's, of {plain.size}",
            float(np.count_nonzero(by_one != plain)), 0, 0,
        )  # fmt: skip
        by_four = sums(4, name, spikes, weights)
        ulp = np.spacing(largest.astype(name.replace("fp", "float"))).astype(
            np.float64
        )  # of the largest partial sum
        worst = float((np.abs(by_four.astype(np.float64) - plain) / ulp).max())
        yield Line(
            f"{name}, g = 4: units of the last place apart, {inputs // 4} groups",
            worst,
            0,
            inputs / 4,
        )


# ----------------------------------------------------------------------- 2, 5: additions an input


class CountingAdder(Adder):
    """Counts the additions of two values, as the engine's adders do: none where an entry is one operand."""

    def __init__(self) -> None:
        super().__init__("fp32")
        self.count = 0

    def add(self, a: int, b: int) -> int:
        """Add; adding to the empty entry is no addition."""
        self.count += a != 0
        return super().add(a, b)


def adds_per_input(group: int, outputs: int, inputs: int) -> float:
    """Build tables of distinct weights, one lookup-add a table and output, and count; over inputs times outputs."""
    adder = CountingAdder()
    total = 0
    for start in range(0, inputs, group):
        weights = [word_of(1.0 + 0.001 * k) for k in range(start, min(start + group, inputs))]
        weights += [word_of(0.5)] * (group - len(weights))
        adder.table(weights)
        total += outputs
    return (adder.count + total) / (inputs * outputs)


def law_2(options: argparse.Namespace) -> Iterator[Line]:
    """Additions an input: (1/g)(1 + (2^g - g - 1) / R)."""
    for group, outputs in (
        (1, 64),
        (2, 64),
        (4, 64),
        (4, 1024),
        (5, 256),
        (6, 64),
        (6, 1024),
        (8, 6144),
    ):
        engine = LookupConfig(group=group, columns=outputs // 16, interleave=16)
        law = (1 + engine.table_adds / engine.outputs) / group
        got = adds_per_input(group, engine.outputs, 10 * group)
        yield near(f"g = {group}, R = {outputs}: {law:.4f} expected", got, law, 0.01)
    for group, outputs, said in ((4, 1024, 0.2527), (6, 64, 0.315)):
        yield near(
            f"g = {group}, R = {outputs}: {said} in the facts",
            adds_per_input(group, outputs, 120),
            said,
            0.01,
        )


def law_5(options: argparse.Namespace) -> Iterator[Line]:
    """Compare: a perfect skipper adds once a spike, and breaks even with tables of g where spikes are 1/g dense."""
    outputs = 1024
    for group in (3, 4, 5):
        got = adds_per_input(group, outputs, 60)
        yield Line(f"break-even spike rate, g = {group}", got, 1 / group - 0.03, 1 / group + 0.03)
    lookup = adds_per_input(4, outputs, 64)
    for rate, low, high in ((0.39, 1.4, 1.8), (0.43, 1.4, 1.8), (0.1, 0.36, 0.44)):
        yield Line(f"skipper's additions over the tables' at rate {rate}", rate / lookup, low, high)


# -------------------------------------------------------------------------- 4: the forward engine


def law_4(options: argparse.Namespace) -> Iterator[Line]:
    """Against one gated addition a lane and cycle: g times as fast, less what is ragged; CIFAR network, batch 64."""
    chip, network, frames = load_config("h2learn").learn, cifar_conv("frozen"), 64 * 6
    for stage in network.stages[1:9]:
        plain = frames * stage.macs / chip.forward.lanes
        cycles = forward_cycles(chip, network, stage, stage.out_shape[2], frames)
        yield Line(f"speed of {stage.name} over plain adders", plain / cycles, 3.4, 4.0)


# ------------------------------------------------------------------------- 7: the backward engine


def conv(side: int, channels: int, kernel: int = 3) -> Stage:
    """Return a convolution that keeps its side."""
    shape = (side, side, channels)
    return Stage(
        "conv", shape, shape, (0,), kernel=(kernel, kernel), padding=(kernel // 2, kernel // 2), neuron=Neuron()
    )  # fmt: skip


def backward_task(
    chip: ChipConfig, stage: Stage, inputs: np.ndarray, masks: np.ndarray
) -> tuple[int, int]:
    """Cycles and products of one task: (frames, positions, channels) of nonzero gradients, of wanted outputs."""
    engine = chip.learn.backward
    rows = inputs.reshape(-1, inputs.shape[2]).astype(np.float32)
    counts = np.zeros((len(rows), -(-rows.shape[1] // engine.depth)), np.int32)
    backward.count_nonzeros(rows, engine.depth, 0, len(rows), counts)
    channels = masks.shape[2]
    cycles, _, _, products = backward.backward_cycles(
        chip.learn, stage, counts, masks.sum(axis=2).astype(np.int32), channels
    )
    fill = backward_fill(chip.learn, channels, len(masks) * stage.in_positions)
    return cycles + fill, products


def reached(
    chip: ChipConfig, stage: Stage, density: float, mask: float, seed: int
) -> tuple[float, float]:
    """Return dense work's cycles on all multipliers over those of random work, and the share of the ideal gain."""
    engine = chip.learn.backward
    frames = max(2, 4 * engine.rows * engine.contexts // stage.in_positions)
    rng = np.random.default_rng(seed)
    inputs = rng.random((frames, stage.out_positions, stage.out_shape[2])) < density
    masks = rng.random((frames, stage.in_positions, stage.in_shape[2])) < mask
    cycles, _ = backward_task(chip, stage, inputs, masks)
    dense = frames * stage.macs / (engine.rows * engine.lanes)
    return dense / cycles, density * mask * dense / cycles


def law_7(options: argparse.Namespace) -> Iterator[Line]:
    """Gain of skipping zeros on both sides: never above 1/(d m), at least 60 % of it on random masks."""
    chip = load_config("h2learn")
    wide = conv(16, 128)
    yield Line(
        "dense work over that of all multipliers busy, 128 channels",
        reached(chip, wide, 1, 1, 0)[0],
        0.98,
        1.0,
    )
    before = np.inf
    for density in (0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0):
        gains = [
            reached(chip, wide, density, 0.33, options.seed)[0],
            reached(chip, wide, 0.4, density, options.seed)[0],
        ]
        yield Line(
            f"density {density}: gain at mask .33 falls with density", gains[0], None, before
        )
        before = gains[0]
    gain, _ = reached(chip, wide, *MEASURED, options.seed)
    yield Line(
        "gain of both at the measured densities .40, .33 (ideal 7.6)", gain, 0.6 / 0.132, 1 / 0.132
    )
    only = reached(chip, wide, MEASURED[0], 1.0, options.seed)[0]
    yield Line("gain of the gradients' zeros alone (ideal 2.5)", only, 0.6 / 0.4, 1 / 0.4)
    yield Line("both over the gradients' alone (ideal 3.0)", gain / only, 0.6 / 0.33, 1 / 0.33)
    for channels in (128, 256, 96, 64, 48, 32, 16):
        stage = conv(16 if channels <= 128 else 8, channels)
        if channels > chip.learn.backward.channels:  # a tile of the input channels
            shape = (*stage.in_shape[:2], chip.learn.backward.channels)
            stage = replace(stage, in_shape=shape)
        for density, mask in (*((r, r) for r in RATES), MEASURED):
            _, share = reached(chip, stage, density, mask, options.seed)
            # Sparser work and narrower layers reach less: words of weights pass one a cycle, wanted or not, and a
            # nonzero input takes whole turns of all lanes.
            gated = density >= (0.3 if channels >= 128 else 0.4) and channels >= 96
            note = "" if gated else " (no least asked)"
            yield Line(
                f"{channels} channels, densities {density}, {mask}: share of the ideal{note}", share,
                0.6 if gated else None, 1.0,
            )  # fmt: skip


# ---------------------------------------------------------------- 8: densities of a real training


def digits_network(kind: str) -> LearnNetwork:
    """Return the facts' proxy: six convolutions with norm and LIF neurons on 16 x 16 digits, read out over time."""
    # A momentum of 1 keeps the statistics of the last batch, so that freezing them changes nothing of that batch.
    norm = Norm("batch" if kind == "batch" else "frozen", momentum=1.0)
    stages, shape = [], (16, 16, 1)
    for i, (channels, stride) in enumerate(((48, 1), (48, 1), (48, 2), (96, 1), (96, 2), (96, 1))):
        out = (shape[0] // stride, shape[1] // stride, channels)
        stages.append(
            Stage(
                f"conv{i}",
                shape,
                out,
                (i - 1,),
                kernel=(3, 3),
                stride=(stride, stride),
                padding=(1, 1),
                norm=norm,
                neuron=Neuron(),
            )
        )
        shape = out
    stages.append(
        Stage("readout", (1, 1, shape[0] * shape[1] * shape[2]), (1, 1, 10), (5,), bias=True)
    )
    return LearnNetwork(InputFormat((16, 16, 1)), tuple(stages), "digits")


def small_digits() -> tuple[np.ndarray, np.ndarray]:
    """Return the shipped digits, two by two pixels averaged, in a frame of 16 x 16."""
    data = load_mnist("train")
    images = data.inputs.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).round().astype(np.uint8)
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    return framed.reshape(-1, 1, 16, 16, 1), data.labels


def law_8(options: argparse.Namespace) -> Iterator[Line]:
    """Spikes, masks and gradients of a BN-LIF network; du at least as dense as the mask, rising towards the end."""
    chip, recipe = load_config("h2learn"), Recipe(timesteps=6, batch=64, learning_rate=0.01)
    parameters = initial_parameters(digits_network("batch"), options.seed)
    machine = TrainingMachine(learn_tasks(chip, digits_network("batch"), recipe), parameters)
    # With frozen statistics the engines read du itself, scaled by channel: its zeros are those of du.
    observer = TrainingMachine(learn_tasks(chip, digits_network("frozen"), recipe), parameters)
    inputs, labels = small_digits()
    rng = np.random.default_rng(options.seed)

    def train(steps: int, rate: float) -> tuple[StepResult, StepResult]:
        """Train, then take the last batch once more with neither moving."""
        chosen = np.arange(recipe.batch)
        for _ in range(steps):
            chosen = rng.choice(len(inputs), recipe.batch, replace=False)
            machine.step(inputs[chosen], labels[chosen], learning_rate=rate)
        batch = inputs[chosen], labels[chosen]
        return machine.step(*batch, learning_rate=0.0), observer.step(*batch, learning_rate=0.0)

    started = time.monotonic()
    for state, steps, rate in (
        ("at first", 1, 0.0),
        (f"after {options.steps} steps", options.steps, 0.01),
    ):
        result, seen = train(steps, rate)
        took = time.monotonic() - started
        yield Line(
            f"{state}: loss (of {recipe.batch} digits {result.correct} right; {took:.0f} s)",
            result.loss,
        )
        for i in range(6):
            fired, mask, du = result.spike_rate[i], result.mask_density[i], seen.gradient_density[i]
            if i == 0:
                # Its image is black for the most part, and does not change: no such membranes as behind other layers,
                # and gradients that are added up over time.
                yield Line(f"{state}, conv{i}: spike rate", fired)
                yield Line(f"{state}, conv{i}: mask density", mask)
                continue
            yield Line(f"{state}, conv{i}: spike rate", fired, 0.30, 0.50)
            yield Line(f"{state}, conv{i}: mask density", mask, 0.25, 0.41)
            yield Line(f"{state}, conv{i}: density of du", du, 0.28, 0.55)
            # Gradients of 16 bits that are too small are 0.
            yield Line(
                f"{state}, conv{i}: du over mask",
                seen.gradient_density[i] / seen.mask_density[i],
                0.99,
                None,
            )
            yield Line(
                f"{state}, conv{i}: density with the norm's own gradient",
                result.gradient_density[i],
            )
        rise = seen.gradient_density[5] - seen.gradient_density[1]
        yield Line(f"{state}: density of du rises from conv1 to conv5 by", rise, 0.0, None)
    # The backward engine on these gradients, with frozen statistics and with those of the batch.
    for name, step, program in (
        ("frozen", seen, observer.program),
        ("batch", result, machine.program),
    ):
        products = sum(w.products for w in step.backward)
        cycles = sum(w.cycles for w in step.backward)
        lanes = chip.learn.backward.rows * chip.learn.backward.lanes
        yield Line(
            f"{name} statistics: products over cycles times multipliers",
            products / (cycles * lanes),
        )
        busy = dict(zip(*np.unique(program.column("queue"), return_counts=True), strict=True))
        assert busy[Queue.BACKWARD] == len(step.backward)


# -------------------------------------------------------------------------- 9: engines overlapped


def law_9(options: argparse.Namespace) -> Iterator[Line]:
    """Engines overlapped: the longest instead of the sum; CIFAR network, batch 64, frozen statistics, random masks."""
    chip, network = load_config("h2learn"), cifar_conv("frozen")
    for parts in (1, 2, 4, 8, 16):
        program = learn_tasks(chip, network, Recipe(timesteps=6, batch=64, micro_batches=parts))
        work = estimate_backward(program, 0.40, 0.34, options.seed)
        timeline = run_timeline(program, np.array([w.cycles for w in work], np.int64))
        queues = program.column("queue")
        busy = {q: int(timeline.busy[queues == q].sum()) for q in ENGINES}
        matrix = [busy[q] for q in (Queue.FORWARD, Queue.BACKWARD, Queue.UPDATE)]
        channel = int(timeline.busy[queues >= len(ENGINES)].sum())
        gain, ideal = sum(matrix) / timeline.cycles, sum(matrix) / max(matrix)
        shares = ", ".join(f"{q.name.lower()} {busy[q] / timeline.cycles:.2f}" for q in ENGINES)
        yield Line(
            f"{parts} parts: busy {shares}, memory {channel / timeline.cycles:.2f}: gain", gain
        )
        if parts == 16:
            yield Line(
                "gain over engines one after the other (balanced engines: at least 2)",
                gain,
                2.0,
                3.0,
            )
            # The forward pass of the first part and the backward pass of the last overlap with nothing.
            reach = ideal * parts / (parts + 1)
            yield Line(
                f"gain over what the longest engine allows, fill and drain aside ({reach:.2f})",
                gain / reach,
                0.85,
                1.0,
            )


# ---------------------------------------------------------------------------------- 11: op totals


def law_11(options: argparse.Namespace) -> Iterator[Line]:
    """Multiply-accumulates of a sample, T = 6, and the first layer's share."""
    for network, forward, total, first in (
        (cifar_conv("batch"), 4.378, 13.13, 0.5), (alexnet_like("batch"), 6.288, 18.9, 2.1),
        (resnet34_like("batch"), 22.062, 66.2, 3.2),
    ):  # fmt: skip
        macs = [stage.macs for stage in network.stages]
        skipped = sum(m for m, s in zip(macs, network.stages, strict=True) if INPUT in s.sources)
        everything = 6 * (3 * sum(macs) - skipped) / 1e9
        yield near(
            f"{network.name}: forward, {forward} GMAC expected",
            6 * sum(macs) / 1e9,
            forward,
            0.0005,
        )
        yield Line(
            f"{network.name}: all passes, at most {total} GMAC",
            everything,
            0.97 * total,
            total * 1.0005,
        )
        yield Line(
            f"{network.name}: first layer, % of the MACs",
            100 * macs[0] / sum(macs),
            first - 0.05,
            first + 0.05,
        )
    # What the program's tasks add up to is what the stages say.
    network = cifar_conv("frozen")
    program = learn_tasks(load_config("h2learn"), network, Recipe(timesteps=6, batch=4))
    done: dict[Operation, int] = dict.fromkeys(
        (Operation.FORWARD_SUMS, Operation.INPUT_GRADIENTS, Operation.WEIGHT_GRADIENTS), 0
    )
    for _, operation, i, _, _, frames, _, channels, _ in program.tasks.tolist():
        if operation in done:
            stage = network.stages[i]
            whole = (
                stage.in_shape[2] if operation == Operation.INPUT_GRADIENTS else stage.out_shape[2]
            )
            done[Operation(operation)] += stage.macs * frames * channels // whole
    # The image is constant: its layer's sums are worked out once, its gradients added up over time first.
    expected = 4 * (6 * sum(s.macs for s in network.stages) - 5 * network.stages[0].macs)
    yield near("MACs of the forward tasks of 4 samples", done[Operation.FORWARD_SUMS], expected, 0)
    yield near("MACs of the update tasks", done[Operation.WEIGHT_GRADIENTS], expected, 0)
    hidden = expected - 4 * network.stages[0].macs
    yield near("MACs of the backward tasks", done[Operation.INPUT_GRADIENTS], hidden, 0)


LAWS: dict[int, Callable[[argparse.Namespace], Iterator[Line]]] = {
    1: law_1, 2: law_2, 4: law_4, 5: law_5, 7: law_7, 8: law_8, 9: law_9, 11: law_11,
}  # fmt: skip


def main() -> int:
    """Print every line; returns 1 if a law is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", type=int, nargs="*", choices=list(LAWS), help="laws, all by default"
    )
    parser.add_argument("--steps", type=int, default=40, help="of the training of law 8")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    missed = lines = 0
    for number in options.only or LAWS:
        law = LAWS[number]
        print(f"\n{number}. {(law.__doc__ or '').strip()}", flush=True)
        print(f"   {'':90} {'got':>9} {'at least':>9} {'at most':>9}")
        for line in law(options):
            bounds = [f"{b:9.4g}" if b is not None else f"{'':9}" for b in (line.low, line.high)]
            is_gated = line.low is not None or line.high is not None
            verdict = "" if not is_gated else "holds" if line.holds else "MISSED"
            print(
                f"   {line.what:90} {line.got:9.4g} {bounds[0]} {bounds[1]} {verdict}", flush=True
            )
            missed += not line.holds
            lines += is_gated
    print(f"\n{lines - missed} of {lines} hold" + (f", {missed} MISSED" if missed else ""))
    return int(missed > 0 or lines == 0)


if __name__ == "__main__":
    sys.exit(main())
