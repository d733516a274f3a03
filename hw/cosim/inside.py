"""The side of a cocotb bench that runs in the simulator's process: a transport over cocotbext-axi, and the one test."""

from __future__ import annotations

import importlib
import json
import os
import random
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.task import bridge, resume
from cocotb.triggers import ClockCycles, SimTimeoutError, with_timeout
from cocotbext.axi import AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

from .bench import ORDER_VARIABLE
from .errors import CosimError

PERIOD_NS = 10
RESET_CYCLES = 4


class AxiTransport:
    """A `Transport` of the host's driver over the AXI4-Stream models of cocotbext-axi, with random pauses.

    Its methods block, and so belong into a function that runs under `cocotb.task.bridge`.
    """

    def __init__(self, dut: Any, seed: int, pause_rate: float, most_cycles: int) -> None:
        self.most_cycles = most_cycles
        self._source = AxiStreamSource(
            AxiStreamBus.from_prefix(dut, "s_axis"), dut.clk, dut.rst, byte_lanes=1
        )
        self._sink = AxiStreamSink(
            AxiStreamBus.from_prefix(dut, "m_axis"), dut.clk, dut.rst, byte_lanes=1
        )
        if pause_rate:
            self._source.set_pause_generator(_pauses(2 * seed, pause_rate))
            self._sink.set_pause_generator(_pauses(2 * seed + 1, pause_rate))

    def send(self, frames: Sequence[Sequence[int]]) -> None:
        """Queue frames, each a sequence of beats."""
        resume(self._send)(frames)

    def receive(self) -> list[int]:
        """Return the next frame that comes out of the chip.

        Raises
        ------
        CosimError
            When none comes in time.
        """
        return resume(self._receive)()

    async def _send(self, frames: Sequence[Sequence[int]]) -> None:
        for frame in frames:
            beats = AxiStreamFrame()
            beats.tdata = list(frame)
            await self._source.send(beats)

    async def _receive(self) -> list[int]:
        try:
            frame = await with_timeout(self._sink.recv(), self.most_cycles * PERIOD_NS, "ns")
        except SimTimeoutError:
            raise CosimError(f"the chip gave no answer within {self.most_cycles} cycles") from None
        return [int(beat) for beat in frame.tdata]


def _pauses(seed: int, rate: float) -> Iterator[bool]:
    draw = random.Random(seed)
    while True:
        yield draw.random() < rate


@cocotb.test()
async def bench(dut: Any) -> None:
    """Reset the chip, run the function that was ordered, write what it returns or raises."""
    order = json.loads(Path(os.environ[ORDER_VARIABLE]).read_text(encoding="utf-8"))
    module, name = order["function"].split(":")
    dut.rst.value = 1
    Clock(dut.clk, PERIOD_NS, "ns").start()
    transport = AxiTransport(dut, order["seed"], order["pause_rate"], order["most_cycles"])
    await ClockCycles(dut.clk, RESET_CYCLES)
    dut.rst.value = 0

    def run() -> dict[str, Any]:
        function = getattr(importlib.import_module(module), name)
        return {"result": function(transport, *order["arguments"])}

    answer = Path(order["answer"])
    try:
        reply = await bridge(run)()
    except Exception as error:
        text = "".join(traceback.format_exception_only(error)).strip()
        answer.write_text(json.dumps({"error": text}), encoding="utf-8")
        raise
    answer.write_text(json.dumps(reply), encoding="utf-8")
