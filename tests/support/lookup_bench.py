"""Tasks through the RTL of a lookup engine, Verilated, with memories that answer in the next cycle."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spikeloom.chip.learn_command import LOOKUP_FIELDS
from spikeloom.chip.learn_config import LearnConfig
from spikeloom.hw.cosim.build import Recipe, build
from spikeloom.hw.engines.lookup import LookupEngine
from spikeloom.hw.verilog import emit

from .engine_bench import Done, Words, read_done, task_bytes, task_words

TOP = "lookup_bench"
WORDS = 4  # of 32 bits in a row
TASK_WORDS = task_words(LOOKUP_FIELDS)

# Of each task: idle cycles before it, rows of both memories, the fields, the rows; answered by the cycles from start to
# done, faults (done or a write while idle, a read beyond a memory), the number of writes, and for each its cycle, row
# and words.
_MAIN = """
#include <cstdint>
#include <cstdio>
#include <vector>
#include "Vmodel.h"
#include "verilated.h"

struct Row { uint32_t words[4]; };
struct Write { uint32_t cycle, row, words[4]; };

int main() {
    Vmodel model;
    std::vector<Row> operands, inputs;
    std::vector<Write> writes;
    uint32_t faults = 0, cycles = 0;
    auto edge = [&](bool is_busy) {
        model.eval();
        const Row* operand = nullptr;
        const Row* words[COLUMNS] = {};
        if (model.operand_en) {
            if (model.operand_row < operands.size()) operand = &operands[model.operand_row];
            else faults += 1;
        }
        for (int c = 0; c < COLUMNS; c++)
            if (model.input_en >> c & 1) {
                if (model.input_row[c] < inputs.size()) words[c] = &inputs[model.input_row[c]];
                else faults += 1;
            }
        if (model.result_en) {
            const auto& data = model.result_data;
            writes.push_back({cycles, model.result_row, {data[0], data[1], data[2], data[3]}});
            faults += !is_busy;
        }
        const bool is_done = model.done;
        model.clk = 1;
        model.eval();
        for (int n = 0; n < 4; n++) {
            if (operand) model.operand_data[n] = operand->words[n];
            for (int c = 0; c < COLUMNS; c++)
                if (words[c]) model.input_data[4 * c + n] = words[c]->words[n];
        }
        model.clk = 0;
        return is_done;
    };
    model.start = 0;
    model.clk = 0;
    model.rst = 1;
    for (int n = 0; n < 4; n++) edge(false);
    model.rst = 0;
    uint32_t head[3], task[TASK_WORDS];
    while (std::fread(head, sizeof head, 1, stdin) == 1) {
        operands.resize(head[1]);
        inputs.resize(head[2]);
        if (std::fread(task, sizeof task, 1, stdin) != 1) return 1;
        if (std::fread(operands.data(), sizeof(Row), head[1], stdin) != head[1]) return 1;
        if (std::fread(inputs.data(), sizeof(Row), head[2], stdin) != head[2]) return 1;
        writes.clear();
        faults = cycles = 0;
        for (uint32_t n = 0; n < head[0]; n++) faults += edge(false);
        for (int n = 0; n < TASK_WORDS; n++) model.fields[n] = task[n];
        model.start = 1;
        for (bool is_done = false; !is_done && cycles < 1000000; cycles++) {
            is_done = edge(true);
            model.start = 0;
        }
        const uint32_t answer[3] = {cycles, faults, static_cast<uint32_t>(writes.size())};
        std::fwrite(answer, sizeof answer, 1, stdout);
        std::fwrite(writes.data(), sizeof(Write), writes.size(), stdout);
    }
    return 0;
}
"""


@dataclass(frozen=True)
class Task:
    """A task's fields, both memories (rows of four words), and how long the engine idles before it."""

    fields: dict[str, int]
    operands: Words
    inputs: Words
    idle: int


class _Top(wiring.Component):
    """The engine's ports, wide ones as arrays of 32 bits, and one that makes the builder think of a stream."""

    def __init__(self, engine: LookupEngine) -> None:
        self._engine = engine
        columns = engine.columns
        super().__init__(
            {
                "s_axis_tdata": In(8),
                "start": In(1),
                "fields": In(32 * TASK_WORDS),
                "done": Out(1),
                "operand_en": Out(1),
                "operand_row": Out(16),
                "operand_data": In(32 * WORDS),
                "input_en": Out(32),
                "input_row": Out(32 * max(columns, 3)),
                "input_data": In(32 * WORDS * columns),
                "result_en": Out(1),
                "result_row": Out(16),
                "result_data": Out(32 * WORDS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.engine = engine = self._engine
        me: Any = self
        m.d.comb += [
            engine.start.eq(me.start),
            engine.task.as_value().eq(me.fields),
            engine.operand_data.eq(me.operand_data),
            me.done.eq(engine.done),
            me.operand_en.eq(engine.operand_en),
            me.operand_row.eq(engine.operand_row),
            me.result_en.eq(engine.result_en),
            me.result_row.eq(engine.result_row),
            me.result_data.eq(engine.result_data),
        ]
        ports: Any = engine.inputs
        rows = []
        for column, port in enumerate(ports):
            wide = Signal(32, name=f"row_{column}")
            m.d.comb += [
                wide.eq(port.row),
                port.data.eq(me.input_data.word_select(column, 32 * WORDS)),
            ]
            rows.append(wide)
        m.d.comb += [me.input_en.eq(Cat(port.en for port in ports)), me.input_row.eq(Cat(rows))]
        return m


class LookupBench:
    """One engine of a configuration with words of four channels."""

    def __init__(self, config: LearnConfig, *, is_update: bool) -> None:
        engine = LookupEngine(config, is_update=is_update)
        sizes = ("-CFLAGS", f"-DCOLUMNS={engine.columns} -DTASK_WORDS={TASK_WORDS}")
        recipe = Recipe(_MAIN, "Vmodel", ("--x-assign", "fast", "--no-timing", *sizes))
        self._build = build(emit(_Top(engine), TOP), TOP, recipe)

    def run(self, tasks: Sequence[Task]) -> list[Done]:
        """Run tasks one after the other."""
        parts: list[bytes] = []
        for task in tasks:
            head = [task.idle, len(task.operands), len(task.inputs)]
            parts += [
                np.array(head, np.uint32).tobytes(),
                task_bytes(LOOKUP_FIELDS, task.fields),
                np.ascontiguousarray(task.operands, np.uint32).tobytes(),
                np.ascontiguousarray(task.inputs, np.uint32).tobytes(),
            ]
        run = subprocess.run(
            [str(self._build.program)], input=b"".join(parts), capture_output=True, check=False
        )
        assert run.returncode == 0, run.stderr
        return read_done(run.stdout, len(tasks))
