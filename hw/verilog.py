"""Verilog of the chip: each distinct module converted once by Amaranth, instances by name, memories as a fixed text."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from importlib import resources

from amaranth.back import verilog
from amaranth.hdl import ClockDomain, Fragment, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from ..chip.config import ChipConfig
from .memory import EmitPlatform, FlatPort, flat_ports, mark_used
from .verilog_text import Netlist, tidy

__all__ = ["CHIP_MODULE", "chip_ports", "chip_top", "emit", "emit_chip"]

CHIP_MODULE = "spikeloom_chip"
FIXED = ("spikeloom_ram", "spikeloom_monitor")  # modules whose text is in hw/rtl


def emit_chip(config: ChipConfig, *, trace: bool = False) -> dict[str, str]:
    """Return the Verilog-2005 of the chip that ``config`` describes: file name -> text, the top `CHIP_MODULE` first.

    With ``trace`` every tile has monitors, which print events in simulation: for verification, not for synthesis.
    """
    title = f"{config.name}, configuration {config.config_hash}"
    return emit(chip_top(config), CHIP_MODULE, title, trace=trace)


def chip_top(config: ChipConfig) -> wiring.Component:
    """Return the top of a chip: of its many-core, of its learning engines, or of both.

    Raises
    ------
    ConfigError
        If the RTL cannot carry the configuration.
    """
    if config.learn_half is None:
        from .cores.chip import Chip

        return Chip(config)
    if config.many_core_half is None:
        from .engines.chip import LearnChip

        return LearnChip(config)
    from .fusion import FusionChip

    return FusionChip(config)


def chip_ports(config: ChipConfig) -> list[FlatPort]:
    """Return the ports of the chip's top, clock and reset first."""
    chip = chip_top(config)
    clocked = _Clocked(chip)
    mark_used(chip)
    mark_used(clocked)
    return flat_ports(clocked)


def emit(
    component: wiring.Component, name: str, title: str = "", *, trace: bool = False
) -> dict[str, str]:
    """Return the Verilog of ``component`` as the module ``name``: file name -> text, one file per module by name.

    Parts that stand in `ByName` have their own file; the other modules of a component follow it in its file, their
    names being the path from it. Fixed modules are added where they are instantiated. Top first, then as met.
    """
    platform = EmitPlatform(trace=trace)
    platform.add(name, component)
    modules: dict[str, str] = {}
    with _no_garbage_collection():
        while waiting := [module for module in platform.modules if module not in modules]:
            for module in waiting:
                text = _convert(platform.modules[module], module, platform)
                heading = f"// {module}, by spikeloom{f': {title}' if title else ''}"
                modules[module] = f"{heading}\n\n{text}"
    used = Netlist(modules).users
    modules |= {module: fixed_text(module) for module in FIXED if module in used}
    return {f"{module}.v": text for module, text in modules.items()}


def fixed_text(module: str) -> str:
    """Return the Verilog of one of the modules that are written by hand."""
    return (resources.files(__name__.rpartition(".")[0]) / "rtl" / f"{module}.v").read_text(
        encoding="utf-8"
    )


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Halve the time: Amaranth makes millions of small objects, and none of them is garbage before the end."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _convert(component: wiring.Component, name: str, platform: EmitPlatform) -> str:
    text = verilog.convert(
        _Clocked(component), name=name, platform=platform, emit_src=False, strip_internal_attrs=True
    )
    return tidy(text)


class _Clocked(wiring.Component):
    """A component with clock and reset as ports, which it has even if nothing inside needs them."""

    clk: Signal
    rst: Signal

    def __init__(self, component: wiring.Component) -> None:
        members = dict(component.signature.members.items())
        super().__init__({"clk": In(1), "rst": In(1)} | members)
        self.component = component
        for name in members:
            setattr(self, name, getattr(component, name))

    def elaborate(self, platform: object) -> Fragment:
        domain = ClockDomain("sync")
        vars(domain).update(clk=self.clk, rst=self.rst)
        fragment = Fragment.get(self.component, platform)
        fragment.add_domains(domain)
        return fragment
