"""What runs beside the chip under cocotb: the driver with a sample or two, and a watch over both AXI4-Streams."""

from __future__ import annotations

from typing import Any

import cocotb
from cocotb.task import resume
from cocotb.triggers import RisingEdge

from spikeloom.hw.driver import HostDriver
from spikeloom.hw.transport import Transport

from .cosim_chips import chip
from .cosim_stimulus import draw

SIDES = ("s_axis", "m_axis")


class StreamWatch:
    """Look at both streams in every cycle: a beat that is offered stays, unchanged, until it is taken."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.beats: dict[str, int] = dict.fromkeys(SIDES, 0)
        self.waits: dict[str, int] = dict.fromkeys(
            SIDES, 0
        )  # cycles in which a beat was offered and not taken
        self.cycles = 0

    async def start(self) -> None:
        """Begin in the next cycle."""
        for side in SIDES:
            cocotb.start_soon(self._watch(cocotb.top, side))

    async def _watch(self, dut: Any, side: str) -> None:
        clk = dut.clk
        valid, ready, data, last = (
            getattr(dut, f"{side}_{name}") for name in ("tvalid", "tready", "tdata", "tlast")
        )
        waiting: tuple[int, int] | None = None
        while True:
            await RisingEdge(clk)
            self.cycles += side == SIDES[0]
            beat = (int(data.value), int(last.value)) if valid.value else None
            if waiting is not None and beat != waiting:
                self.faults.append(f"{side}, cycle {self.cycles}: {waiting} became {beat}")
            waiting = None if ready.value else beat
            self.waits[side] += waiting is not None
            self.beats[side] += beat is not None and waiting is None


def run_samples(transport: Transport, name: str, seed: int) -> dict[str, Any]:
    """Run a drawn program's samples on the chip ``name``; return what the chip said, and what was watched."""
    watch = StreamWatch()
    resume(watch.start)()
    simulated = draw(chip(name), seed)
    driver = HostDriver(chip(name), transport)
    driver.load(simulated.program, simulated.timesteps)
    samples = []
    for payload in simulated.payloads:
        signatures: list[list[list[int]]] = []
        driver.run_sample(
            payload,
            held=simulated.held,
            after_timestep=lambda _, found=signatures: found.append(
                driver.read_signatures().tolist()
            ),
        )
        record = driver.run_sample(payload, held=simulated.held)
        outputs = [[o.k, o.column, o.line, o.payload] for o in record.outputs]
        samples.append({"signatures": signatures, "lengths": record.lengths, "outputs": outputs})
        samples[-1]["waits"] = record.host_waits
    watched = {"faults": watch.faults[:5], "beats": watch.beats, "waits": watch.waits}
    return {"samples": samples, "cycles": watch.cycles, **watched}
