"""Tasks through the RTL of the backward engine, Verilated, with loads before them and while they run."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spikeloom.chip.learn_command import BACKWARD_FIELDS
from spikeloom.chip.learn_config import LearnConfig
from spikeloom.hw.cosim.build import Recipe, build
from spikeloom.hw.engines.backward import BackwardEngine
from spikeloom.hw.verilog import emit

from .engine_bench import Done, Words, read_done, task_bytes, task_words

TOP = "backward_bench"
WORDS = 4  # of 32 bits in a row
WEIGHTS, GRADIENTS, MASKS = 1, 2, 4
TASK_WORDS = task_words(BACKWARD_FIELDS)

# Of each task: idle cycles before it, loads before it and while it runs, its fields, the loads; answered by the cycles
# from start to done, faults (done or a write while idle, loads left over), the number of writes, and for each its
# cycle, row and words.
_MAIN = """
#include <cstdint>
#include <cstdio>
#include <vector>
#include "Vmodel.h"
#include "verilated.h"

struct Load { uint32_t kind, half, outer, inner, words[4]; };
struct Write { uint32_t cycle, row, words[4]; };

int main(int count, char** arguments) {
    Verilated::commandArgs(count, arguments);
    Vmodel model;
    std::vector<Write> writes;
    uint32_t faults = 0, cycles = 0;
    auto edge = [&](bool is_busy, const Load* load) {
        model.load_kind = load ? load->kind : 0;
        if (load) {
            model.load_half = load->half;
            model.load_outer = load->outer;
            model.load_inner = load->inner;
            for (int n = 0; n < 4; n++) model.load_data[n] = load->words[n];
        }
        model.eval();
        if (model.result_en) {
            const auto& data = model.result_data;
            writes.push_back({cycles, model.result_row, {data[0], data[1], data[2], data[3]}});
            faults += !is_busy;
        }
        const bool is_done = model.done;
        model.clk = 1;
        model.eval();
        model.clk = 0;
        return is_done;
    };
    model.start = 0;
    model.clk = 0;
    model.rst = 1;
    for (int n = 0; n < 4; n++) edge(false, nullptr);
    model.rst = 0;
    uint32_t head[3], task[TASK_WORDS];
    while (std::fread(head, sizeof head, 1, stdin) == 1) {
        std::vector<Load> before(head[1]), during(head[2]);
        if (std::fread(task, sizeof task, 1, stdin) != 1) return 1;
        if (std::fread(before.data(), sizeof(Load), head[1], stdin) != head[1]) return 1;
        if (std::fread(during.data(), sizeof(Load), head[2], stdin) != head[2]) return 1;
        writes.clear();
        faults = cycles = 0;
        for (const Load& load : before) faults += edge(false, &load);
        for (uint32_t n = 0; n < head[0]; n++) faults += edge(false, nullptr);
        for (int n = 0; n < TASK_WORDS; n++) model.fields[n] = task[n];
        model.start = 1;
        for (bool is_done = false; !is_done && cycles < 1000000; cycles++) {
            is_done = edge(true, cycles < during.size() ? &during[cycles] : nullptr);
            model.start = 0;
        }
        faults += cycles < during.size();
        const uint32_t answer[3] = {cycles, faults, static_cast<uint32_t>(writes.size())};
        std::fwrite(answer, sizeof answer, 1, stdout);
        std::fwrite(writes.data(), sizeof(Write), writes.size(), stdout);
    }
    return 0;
}
"""


@dataclass(frozen=True)
class Task:
    """A task's fields; loads (kind, half, outer or row, inner, four words) before it and while it runs; idle cycles."""

    fields: dict[str, int]
    before: Words
    idle: int = 0
    during: Words = field(default_factory=lambda: np.zeros((0, 8), np.uint32))


class _Top(wiring.Component):
    """The engine's ports, wide ones as arrays of 32 bits, and one that makes the builder think of a stream."""

    start: Signal
    fields: Signal
    done: Signal
    load_kind: Signal
    load_half: Signal
    load_outer: Signal
    load_inner: Signal
    load_data: Signal
    result_en: Signal
    result_row: Signal
    result_data: Signal

    def __init__(self, config: LearnConfig) -> None:
        self._engine = BackwardEngine(config)
        super().__init__(
            {
                "s_axis_tdata": In(8),
                "start": In(1),
                "fields": In(32 * TASK_WORDS),
                "done": Out(1),
                "load_kind": In(3),
                "load_half": In(1),
                "load_outer": In(16),
                "load_inner": In(16),
                "load_data": In(32 * WORDS),
                "result_en": Out(1),
                "result_row": Out(16),
                "result_data": Out(32 * WORDS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.engine = engine = self._engine
        weights = engine.weights_write
        m.d.comb += [
            engine.start.eq(self.start),
            engine.task.eq(self.fields[: len(engine.task.as_value())]),
            self.done.eq(engine.done),
            weights.en.eq(self.load_kind[0]),
            weights.half.eq(self.load_half),
            weights.outer.eq(self.load_outer),
            weights.inner.eq(self.load_inner),
            weights.data.eq(self.load_data),
            self.result_en.eq(engine.result_en),
            self.result_row.eq(engine.result_row),
            self.result_data.eq(engine.result_data),
        ]
        for port, kind in ((engine.gradients_write, 1), (engine.masks_write, 2)):
            m.d.comb += [
                port.en.eq(self.load_kind[kind]),
                port.row.eq(self.load_outer),
                port.data.eq(self.load_data),
            ]
        return m


class BackwardBench:
    """A Verilated backward engine."""

    def __init__(self, config: LearnConfig) -> None:
        main = f"#define TASK_WORDS {TASK_WORDS}\n{_MAIN}"
        # Rows that are many are compiled once.
        recipe = Recipe(
            main, "Vmodel", ("--x-assign", "fast", "--x-initial", "fast", "--no-timing")
        )
        self.build = build(emit(_Top(config), TOP), TOP, recipe)

    def run(self, tasks: Sequence[Task]) -> list[Done]:
        """Run tasks one after the other."""
        sent = b"".join(
            np.array([task.idle, len(task.before), len(task.during)], np.uint32).tobytes()
            + task_bytes(BACKWARD_FIELDS, task.fields)
            + task.before.astype(np.uint32).tobytes()
            + task.during.astype(np.uint32).tobytes()
            for task in tasks
        )
        run = subprocess.run([str(self.build.program)], input=sent, capture_output=True, check=True)
        return read_done(run.stdout, len(tasks))
