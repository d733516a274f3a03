"""The one memory of the RTL: `amaranth.lib.memory` in Amaranth's simulator, an instance by name in emitted Verilog."""

from __future__ import annotations

from typing import Any, NamedTuple

from amaranth.hdl import ClockSignal, Elaboratable, Instance, Module, ResetSignal, Signal, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ByName", "EmitPlatform", "FlatPort", "Ram", "flat_ports", "mark_used"]

RAM_MODULE = "spikeloom_ram"  # its text: hw/rtl/spikeloom_ram.v


class EmitPlatform:
    """What `elaborate` is given when Verilog is emitted: parts become instances of modules, kept here by name.

    Parameters
    ----------
    trace
        Whether monitors are emitted (hw/monitor.py).

    Attributes
    ----------
    modules
        Name of a module -> a component to convert, filled while components elaborate. Memories are not among them.
    """

    def __init__(self, *, trace: bool = False) -> None:
        self.trace = trace
        self.modules: dict[str, wiring.Component] = {}

    def add(self, name: str, component: wiring.Component) -> None:
        """Keep ``component`` as the body of the module ``name``; the first one stands for all.

        Raises
        ------
        ValueError
            When another kind of component, or one with other ports, has the name.
        """
        known = self.modules.setdefault(name, component)
        if type(known) is not type(component) or known.signature != component.signature:
            raise ValueError(
                f"module {name!r} must mean one component, not {type(known).__name__} and then "
                f"{type(component).__name__} with other ports or inside"
            )


class ByName(Elaboratable):
    """A component that is emitted once as the module ``name`` and instantiated by that name wherever it stands.

    Use it as the submodule, and the component itself for its ports. All components of a name must be equal inside,
    which nothing checks beyond their class and ports. In simulation it is the component::

        m.submodules.tile_0_0 = ByName(tile, "spikeloom_tile")
        m.d.comb += tile.start.eq(start)

    Raises
    ------
    ValueError
        When Verilog is emitted and the name means something else already (`EmitPlatform.add`).
    """

    def __init__(self, component: wiring.Component, name: str) -> None:
        self.component = component
        self.name = name

    def elaborate(self, platform: object) -> Any:  # the type stubs know no part that is an instance
        """Return the component, or the instance when Verilog is emitted."""
        if not isinstance(platform, EmitPlatform):
            return self.component
        mark_used(self.component)  # it elaborates only if it is the first of its name
        platform.add(self.name, self.component)
        ports = {
            f"{'i' if port.is_input else 'o'}_{port.name}": port.value
            for port in flat_ports(self.component)
        }
        return Instance(self.name, i_clk=ClockSignal(), i_rst=ResetSignal(), **ports)


def mark_used(component: wiring.Component) -> None:
    """Keep Amaranth from warning that ``component`` never elaborated."""
    vars(component)["_MustUse__used"] = True


class FlatPort(NamedTuple):
    """A port of a component as Verilog has it: a name, the signal, the direction."""

    name: str
    value: Value
    is_input: bool


def flat_ports(component: wiring.Component) -> list[FlatPort]:
    """Return the ports of a component, members of interfaces joined by two underscores."""
    return [
        FlatPort("__".join(map(str, path)), Value.cast(value), member.flow == In)
        for path, member, value in component.signature.flatten(component)
    ]


class Ram(wiring.Component):
    """A memory with one write port and one synchronous read port.

    In Verilog it is an instance of ``spikeloom_ram``, from which Yosys infers block RAM and where an ASIC has a macro.

    Timing
    ------
    One write and one read a cycle. ``r_data`` shows the row in the cycle after ``r_en`` and holds it while ``r_en`` is
    low. A row written in cycle c can be read from cycle c + 1 on (``r_data`` in c + 2). Reading a row in the very cycle
    in which it is written gives an undefined row: users must not, or must forward::

        cycle    0    1    2    3    4
        w_en     1    0    0    0    0
        r_en     0    1    0    1    0
        r_addr   -    A    -    B    -
        r_data   -    -   [A]  [A]  [B]

    Reset
    -----
    The rows and ``r_data`` keep their values. At power-up both are 0 in simulation and in an FPGA, on an ASIC anything,
    so nothing may rely on it.

    Parameters
    ----------
    width
        Bits of a row, at least 1.
    depth
        Rows, at least 1; need not be a power of two. Addresses are below it.

    Members
    -------
    w_en, w_addr, w_data
        In. Write ``w_data`` to row ``w_addr``.
    r_en, r_addr
        In. Read row ``r_addr``.
    r_data
        Out. The row read last.

    Raises
    ------
    ValueError
        When width or depth is not at least 1.
    """

    w_en: Signal
    w_addr: Signal
    w_data: Signal
    r_en: Signal
    r_addr: Signal
    r_data: Signal

    def __init__(self, width: int, depth: int) -> None:
        if width < 1:
            raise ValueError(f"the width of a memory must be at least 1 bit, not {width!r}")
        if depth < 1:
            raise ValueError(f"the depth of a memory must be at least 1 row, not {depth!r}")
        self.width = width
        self.depth = depth
        self.addr_bits = max((depth - 1).bit_length(), 1)
        super().__init__(
            {
                "w_en": In(1),
                "w_addr": In(self.addr_bits),
                "w_data": In(width),
                "r_en": In(1),
                "r_addr": In(self.addr_bits),
                "r_data": Out(width),
            }
        )

    def elaborate(self, platform: object) -> Module | Instance:
        """Return the memory in the form that ``platform`` asks for."""
        if isinstance(platform, EmitPlatform):
            return Instance(
                RAM_MODULE,
                p_WIDTH=self.width,
                p_DEPTH=self.depth,
                p_ADDR_BITS=self.addr_bits,
                i_clk=ClockSignal(),
                i_w_en=self.w_en,
                i_w_addr=self.w_addr,
                i_w_data=self.w_data,
                i_r_en=self.r_en,
                i_r_addr=self.r_addr,
                o_r_data=self.r_data,
            )
        m = Module()
        m.submodules.rows = rows = memory.Memory(shape=self.width, depth=self.depth, init=[])
        w_port, r_port = rows.write_port(), rows.read_port()
        m.d.comb += [
            w_port.en.eq(self.w_en),
            w_port.addr.eq(self.w_addr),
            w_port.data.eq(self.w_data),
            r_port.en.eq(self.r_en),
            r_port.addr.eq(self.r_addr),
            self.r_data.eq(r_port.data),
        ]
        return m
