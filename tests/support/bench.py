"""A component in Amaranth's simulator, built once and run many times from reset: for tests that draw many stimuli."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from amaranth.lib import wiring
from amaranth.sim import Simulator

Dut = TypeVar("Dut", bound=wiring.Component)
Body = Callable[[Any], Awaitable[None]]


class Bench(Generic[Dut]):
    """``run`` resets the component and lets ``body`` drive it, from the middle of cycle 0 on."""

    def __init__(self, dut: Dut) -> None:
        self.dut = dut
        self._body: Body | None = None
        self._is_fresh = True
        self._sim = Simulator(dut)
        self._sim.add_clock(1e-6)
        self._sim.add_testbench(self._main)

    async def _main(self, ctx: Any) -> None:
        assert self._body is not None
        await self._body(ctx)

    def run(self, body: Body) -> None:
        self._body = body
        if not self._is_fresh:
            self._sim.reset()
        self._is_fresh = False
        self._sim.run()
