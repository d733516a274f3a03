"""Tasks through the RTL of the vector unit, Verilated, with memories that answer in the next cycle."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from numpy.typing import NDArray

from spikeloom.chip.learn_command import VECTOR_FIELDS
from spikeloom.chip.learn_config import LearnConfig
from spikeloom.chip.learn_program import Operation
from spikeloom.hw.cosim.build import Recipe, build
from spikeloom.hw.engines.vector import VectorEngine
from spikeloom.hw.verilog import emit
from tests.support.engine_bench import task_bytes, task_words
from tests.support.vector_cases import ARRAYS, Case
from tests.support.vector_machine import Floats

TOP = "vector_bench"
ROWS = 1 << 13  # of each memory
UNWRITTEN = 0xCD

# Of each task: the fields, whether to skip, idle cycles before it, both memories; answered by cycles, writes that came
# too late, and the results.
_MAIN = """
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>
#include "Vmodel.h"
#include "verilated.h"

struct Row { uint32_t words[4]; };
static Row sums[ROWS], inputs[ROWS], results[ROWS];

int main(int count, char** arguments) {
    Verilated::commandArgs(count, arguments);
    Vmodel model;
    auto edge = [&](bool may_write) -> bool {  // whether the task is done, or what should not be has been
        model.eval();
        const bool sums_en = model.sums_en, inputs_en = model.inputs_en;
        const Row sums_row = sums[model.sums_row % ROWS], inputs_row = inputs[model.inputs_row % ROWS];
        if (model.result_en) {
            if (!may_write) return true;
            Row& row = results[model.result_row % ROWS];
            for (int lane = 0; lane < 32; lane++)
                if (model.result_mask >> lane & 1)
                    for (int bit = 4 * lane; bit < 4 * lane + 4; bit++) {
                        const uint32_t one = uint32_t{1} << bit % 32;
                        row.words[bit / 32] &= ~one;
                        row.words[bit / 32] |= model.result_data[bit / 32] & one;
                    }
        }
        const bool is_done = model.done;
        model.clk = 1;
        model.eval();
        for (int n = 0; n < 4; n++) {
            if (sums_en) model.sums_data[n] = sums_row.words[n];
            if (inputs_en) model.inputs_data[n] = inputs_row.words[n];
        }
        model.clk = 0;
        return is_done;
    };
    model.start = 0;
    model.clk = 0;
    model.rst = 1;
    for (int n = 0; n < 4; n++) edge(true);
    model.rst = 0;
    uint32_t task[TASK_WORDS], head[2];
    while (std::fread(task, sizeof task, 1, stdin) == 1) {
        if (std::fread(head, sizeof head, 1, stdin) != 1) return 1;
        if (std::fread(sums, sizeof sums, 1, stdin) != 1) return 1;
        if (std::fread(inputs, sizeof inputs, 1, stdin) != 1) return 1;
        std::memset(results, 0xCD, sizeof results);
        uint32_t late = 0;
        for (uint32_t n = 0; n < head[1]; n++) late += edge(false) != 0;
        for (int n = 0; n < TASK_WORDS; n++) model.fields[n] = task[n];
        model.skip = head[0];
        model.start = 1;
        uint32_t cycles = 0;
        for (bool is_done = false; !is_done && cycles < 1000000; cycles++) {
            is_done = edge(true);
            model.start = 0;
        }
        const uint32_t answer[2] = {cycles, late};
        std::fwrite(answer, sizeof answer, 1, stdout);
        std::fwrite(results, sizeof results, 1, stdout);
    }
    return 0;
}
"""


@dataclass(frozen=True)
class Done:
    """What a task did: cycles from start to done, its arrays, whether anything else was written, or before it."""

    cycles: int
    outs: list[Floats]
    is_clean: bool


class _Top(wiring.Component):
    """The engine's ports, and one that makes the builder think of a stream."""

    def __init__(self, engine: VectorEngine) -> None:
        self._engine = engine
        members = dict(engine.signature.members.items())
        fields = Value.cast(engine.task).shape()
        del members["task"]  # which is a word of Verilog's
        super().__init__({**members, "fields": In(fields), "s_axis_tdata": In(8)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.engine = engine = self._engine
        for name, member in engine.signature.members.items():
            inner = Value.cast(getattr(engine, name))
            outer = Value.cast(getattr(self, "fields" if name == "task" else name))
            m.d.comb += inner.eq(outer) if member.flow == In else outer.eq(inner)
        return m


class VectorBench:
    """The unit of a configuration with words of four elements."""

    def __init__(self, config: LearnConfig) -> None:
        assert config.vector.width == 4
        self.config = config
        words = task_words(VECTOR_FIELDS)
        sizes = ("-CFLAGS", f"-DROWS={ROWS} -DTASK_WORDS={words}")
        recipe = Recipe(
            _MAIN,
            "Vmodel",
            ("--x-assign", "fast", "--no-timing", "-fno-inline", *sizes),
            is_flat=True,
        )
        self.build = build(emit(_Top(VectorEngine(config)), TOP), TOP, recipe)

    def run(self, cases: Sequence[Case], seed: int = 0) -> list[Done]:
        """Run tasks one after the other, their arrays at random rows, among rows of random bits."""
        rng = np.random.default_rng(seed)
        tasks = [self._task(case, rng) for case in cases]
        command = [str(self.build.program), "+ram_random", f"+verilator+seed+{seed + 1}"]
        beats = b"".join(task for task, _ in tasks)
        run = subprocess.run(command, input=beats, capture_output=True, check=False)
        assert run.returncode == 0, run.stdout[-1000:]
        size = 8 + 16 * ROWS
        assert run.returncode == 0, (run.returncode, run.stderr)
        assert len(run.stdout) == size * len(cases)
        found = []
        for n, (case, (_, places)) in enumerate(zip(cases, tasks, strict=True)):
            answer = run.stdout[size * n : size * (n + 1)]
            cycles, late = np.frombuffer(answer[:8], np.uint32)
            results = np.frombuffer(answer[8:], np.uint8).reshape(ROWS, 16).copy()
            outs = [
                self._read(results, row, rows, out, kind)
                for (row, rows), out, kind in zip(
                    places, case.outs, ARRAYS[case.operation][1], strict=True
                )
            ]
            is_clean = not late and bool((results == UNWRITTEN).all())
            found.append(Done(int(cycles), outs, is_clean))
        return found

    def _task(self, case: Case, rng: np.random.Generator) -> tuple[bytes, list[tuple[int, int]]]:
        """Return a task for the program, and row and rows of a frame of each result."""
        work = case.work
        memories = rng.integers(0, 256, (2, ROWS, 16), np.uint8)
        values: dict[str, int] = {
            "operation": case.operation, "is_mse": case.is_mse, "constant": work.constant,
            "is_membrane": case.is_membrane, "samples": work.samples, "timesteps": work.timesteps,
            "frame_words": work.elements // 4, "channels": work.channels,
        }  # fmt: skip
        values |= {
            f"constant_{n}": int(np.float32(c).view(np.uint32))
            for n, c in enumerate(work.constants)
        }
        if case.operation == Operation.READOUT:  # what the unit is to take as 1
            values[f"constant_{1 if case.is_membrane else 3}"] = int(rng.integers(1 << 32))
        kinds = ARRAYS[case.operation]
        row = int(rng.integers(0, 50))
        for n, kind in enumerate(kinds[0]):
            is_sums = n == 0 and work.sums is not None
            array = work.sums if is_sums else work.ins[n]
            assert array is not None
            frames = self._pack(array, kind)
            values |= {f"in_row_{n}": row, f"in_frame_rows_{n}": frames.shape[1]}
            rows = frames.reshape(-1, 16)
            memories[0 if is_sums else 1][row : row + len(rows)] = rows
            row += len(rows) + int(rng.integers(0, 9))
        places: list[tuple[int, int]] = []
        row = int(rng.integers(0, 50))
        for n, kind in enumerate(kinds[1]):
            rows = self._pack(case.outs[n], kind).shape[1]
            values |= {f"out_row_{n}": row, f"out_frame_rows_{n}": rows}
            places.append((row, rows))
            row += len(case.outs[n]) * rows + int(rng.integers(0, 9))
        assert row <= ROWS
        fields = {name: values.get(name, int(rng.integers(0, 2))) for name, _ in VECTOR_FIELDS}
        head = np.array([work.skip, rng.integers(0, 4)], np.uint32)
        return task_bytes(VECTOR_FIELDS, fields) + head.tobytes() + memories.tobytes(), places

    def _pack(self, array: Floats, kind: str) -> NDArray[np.uint8]:
        """Return the rows of every frame: (frames, rows, 16)."""
        if kind == "F":
            data = np.ascontiguousarray(array).view(np.uint8)
        elif kind == "B":
            data = np.packbits(array.astype(bool), axis=1, bitorder="little")
        elif self.config.operands == "fp16":
            with np.errstate(all="ignore"):
                data = array.astype(np.float16).view(np.uint8)
        else:
            data = np.ascontiguousarray((array.view(np.uint32) >> 16).astype(np.uint16)).view(
                np.uint8
            )
        missing = -data.shape[1] % 16
        return np.pad(data, ((0, 0), (0, missing))).reshape(len(data), -1, 16)

    def _read(
        self, results: NDArray[np.uint8], row: int, rows: int, out: Floats, kind: str
    ) -> Floats:
        """Return an array, and leave its place as if nothing had been written."""
        frames, elements = out.shape
        data = results[row : row + frames * rows].reshape(frames, -1)
        used = {"F": 4 * elements, "O": 2 * elements, "B": elements // 8}[kind]
        if kind == "B":
            bits = np.unpackbits(data, axis=1, bitorder="little")
            found = bits[:, :elements].astype(np.float32)
            cleared = np.unpackbits(np.full_like(data, UNWRITTEN), axis=1, bitorder="little")
            bits[:, :elements] = cleared[:, :elements]
            results[row : row + frames * rows] = np.packbits(
                bits, axis=1, bitorder="little"
            ).reshape(-1, 16)
            return found
        words = data[:, :used].copy()
        results[row : row + frames * rows].reshape(frames, -1)[:, :used] = UNWRITTEN
        if kind == "F":
            return words.view(np.float32)
        if self.config.operands == "fp16":
            return words.view(np.float16).astype(np.float32)
        return (words.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
