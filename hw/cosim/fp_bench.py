"""Arrays of operands through floating-point units under Verilator: millions of them in seconds."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from amaranth.hdl import Array, Cat, ClockDomain, ClockSignal, DomainRenamer, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray

from ..cores.pipeline import delayed
from ..verilog import emit
from .build import Recipe, build
from .errors import CosimError

__all__ = ["FpBench", "Results"]

TOP = "fp_bench"
WORD_BITS = 32

# Arguments: the unit's number, and whether it is serial. Words of 64 bits in, of 32 bits out; last the lowest and
# highest number of cycles that a result took. While a serial unit works, its operands change.
_MAIN = """
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "Vmodel.h"
#include "verilated.h"

int main(int count, char** arguments) {
    if (count != 3) return 2;
    const unsigned unit = std::atoi(arguments[1]);
    const bool is_serial = std::atoi(arguments[2]);
    std::vector<uint64_t> beats;
    uint64_t block[4096];
    while (const size_t got = std::fread(block, sizeof *block, 4096, stdin))
        beats.insert(beats.end(), block, block + got);

    Vmodel model;
    std::vector<uint32_t> results;
    results.reserve(beats.size() + 2);
    model.clocks = 0;
    model.unit = unit;
    model.eval();  // else the first edge is none
    auto cycle = [&](uint64_t beat, bool valid) {
        model.s_axis_tdata = beat;
        model.s_axis_tvalid = valid;
        model.clocks = uint64_t{1} << unit;
        model.eval();
        model.clocks = 0;
        model.eval();
        if (model.m_axis_tvalid) results.push_back(model.m_axis_tdata);
        return model.m_axis_tvalid;
    };
    uint32_t least = ~0u, most = 0;
    for (const uint64_t beat : beats) {
        uint32_t cycles = 0;
        bool is_done = cycle(beat, true);
        for (; is_serial && !is_done && cycles < 1000; cycles++) is_done = cycle(beat * 0x9E3779B97F4A7C15, false);
        if (cycles < least) least = cycles;
        if (cycles > most) most = cycles;
    }
    for (int idle = 0; idle < 64; idle++) cycle(0, false);
    results.push_back(least);
    results.push_back(most);
    std::fwrite(results.data(), sizeof results[0], results.size(), stdout);
    return 0;
}
"""


@dataclass(frozen=True)
class Results:
    """What a unit made of its operands: a word for each, and the cycles that each took, if they were all alike."""

    words: NDArray[np.uint32]
    cycles: int | None


class FpBench:
    """Units in one Verilated model, each in a clock domain of its own, so that only the one in use takes time.

    Parameters
    ----------
    units : mapping of str to component
        By name, at most 64, with words of at most 32 bits: ports ``a``, ``result`` and perhaps ``b``, and either the
        attribute ``stages``, the cycles from operands to result, or ports ``start`` and ``done``.

    Raises
    ------
    ToolError, CosimError
        When the model cannot be built.
    """

    def __init__(self, units: Mapping[str, Any]) -> None:
        self._units = dict(units)
        recipe = Recipe(_MAIN, "Vmodel", ("--x-assign", "fast", "--no-timing"), is_flat=True)
        self.build = build(emit(_Top(list(self._units.values())), TOP), TOP, recipe)

    def run(self, name: str, *operands: NDArray[np.uint32]) -> Results:
        """Return what the unit ``name`` makes of its operands, one after the other.

        A pipelined unit gets an operand each cycle; its results are read where ``stages`` says, right or not.

        Raises
        ------
        CosimError
            When the model fails, or a result is missing or left over.
        """
        unit = self._units[name]
        beats = operands[0].astype(np.uint64)
        if len(operands) > 1:
            beats |= operands[1].astype(np.uint64) << np.uint64(WORD_BITS)
        number = str(list(self._units).index(name))
        is_serial = "start" in unit.signature.members
        run = subprocess.run(
            [str(self.build.program), number, str(int(is_serial))],
            input=beats.tobytes(),
            capture_output=True,
            check=False,
        )
        if run.returncode:
            raise CosimError(f"the model of {name} ended with {run.returncode}: {run.stderr!r}")
        words = np.frombuffer(run.stdout, np.uint32)
        *_, least, most = (int(word) for word in words[-2:])
        if len(words) != len(beats) + 2:
            raise CosimError(f"{name} gave {len(words) - 2} results for {len(beats)} operands")
        cycles = least if is_serial else unit.stages
        return Results(words[:-2], cycles if least == most else None)


class _Top(wiring.Component):
    """All units behind one pair of ports; ``clocks`` has a clock for each, ``unit`` is the one that is looked at."""

    clocks: Signal
    unit: Signal
    s_axis_tdata: Signal
    s_axis_tvalid: Signal
    m_axis_tdata: Signal
    m_axis_tvalid: Signal

    def __init__(self, units: list[Any]) -> None:
        if len(units) > 64:
            raise ValueError(f"a bench can have at most 64 units, not {len(units)}")
        self._units = units
        super().__init__(
            {
                "clocks": In(64),
                "unit": In(6),
                "s_axis_tdata": In(2 * WORD_BITS),
                "s_axis_tvalid": In(1),
                "m_axis_tdata": Out(WORD_BITS),
                "m_axis_tvalid": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words: list[Signal] = []
        valid: list[Signal] = []
        for number, unit in enumerate(self._units):
            name = f"unit_{number}"
            m.domains += ClockDomain(name, reset_less=True)
            m.d.comb += ClockSignal(name).eq(self.clocks[number])
            place = _Place(unit)
            m.submodules[name] = DomainRenamer(name)(place)
            m.d.comb += [place.beat.eq(self.s_axis_tdata), place.offered.eq(self.s_axis_tvalid)]
            words.append(place.word)
            valid.append(place.valid)
        m.d.comb += [
            self.m_axis_tdata.eq(Array(words)[self.unit]),
            self.m_axis_tvalid.eq(Cat(valid).bit_select(self.unit, 1)),
        ]
        return m


class _Place(wiring.Component):
    """A unit behind registers, and a bit that says when its result is there."""

    beat: Signal
    offered: Signal
    word: Signal
    valid: Signal

    def __init__(self, unit: Any) -> None:
        self._unit = unit
        super().__init__(
            {
                "beat": In(2 * WORD_BITS),
                "offered": In(1),
                "word": Out(WORD_BITS),
                "valid": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.unit = unit = self._unit
        ports = unit.signature.members
        beat, offered = delayed(m, self.beat, 1), delayed(m, self.offered, 1)
        m.d.comb += [unit.a.eq(beat), self.word.eq(unit.result)]
        if "b" in ports:
            m.d.comb += unit.b.eq(beat[WORD_BITS:])
        if "start" in ports:
            m.d.comb += [unit.start.eq(offered), self.valid.eq(unit.done)]
        else:
            m.d.comb += self.valid.eq(delayed(m, offered, unit.stages))
        return m
