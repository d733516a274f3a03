"""A probe of verification builds: prints an event a line in simulations of the Verilog, nothing in Amaranth's."""

from __future__ import annotations

from amaranth.hdl import ClockSignal, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from ..chip.signature import CYCLE_BITS
from .memory import EmitPlatform

__all__ = ["Monitor"]

MONITOR_MODULE = "spikeloom_monitor"  # its text: hw/rtl/spikeloom_monitor.v
TIMESTEP_BITS = 32


class Monitor(wiring.Component):
    """Print a line for each cycle in which ``valid`` is high, with the values of that cycle.

    The line and the plusargs that switch it on are in ``hw/rtl/spikeloom_monitor.v``; `spikeloom.hw.cosim.events`
    reads it. A unit is traced by an instance inside it, so its path says whose event it is.

    Parameters
    ----------
    name
        What is watched, a word: ``core``, ``local``, ``north``...
    width
        Bits of ``data``.

    Members
    -------
    valid, data
        In. An event and what it carries.
    cycle
        In, 16 bits. The cycle within the timestep.
    timestep
        In, 32 bits. The timestep, by which a window is chosen.
    """

    valid: Signal
    data: Signal
    cycle: Signal
    timestep: Signal

    def __init__(self, name: str, width: int) -> None:
        if not name.isidentifier():
            raise ValueError(f"the name of a monitor must be a word, not {name!r}")
        self.name = name
        self.width = width
        super().__init__(
            {
                "valid": In(1),
                "data": In(width),
                "cycle": In(CYCLE_BITS),
                "timestep": In(TIMESTEP_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module | Instance:
        """Return the instance when Verilog is emitted with a trace, else nothing."""
        if not (isinstance(platform, EmitPlatform) and platform.trace):
            return Module()
        return Instance(
            MONITOR_MODULE,
            p_WIDTH=self.width,
            p_CYCLE_BITS=CYCLE_BITS,
            p_TIMESTEP_BITS=TIMESTEP_BITS,
            p_NAME=self.name,
            i_clk=ClockSignal(),
            i_valid=self.valid,
            i_data=self.data,
            i_cycle=self.cycle,
            i_timestep=self.timestep,
        )
