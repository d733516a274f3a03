"""A tile: a router, the core behind it, their signatures, and the node through which the host loads and reads them."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ...chip.config import ManyCoreConfig
from ...chip.events import PORTS
from ...chip.host_link import HostLink
from ...chip.memory_map import SIGNATURE_UNITS, Memory
from ...chip.packet import FlitLayout
from ...chip.signature import CYCLE_BITS, STATE_BITS
from ..memory import EmitPlatform
from ..monitor import TIMESTEP_BITS, Monitor
from .core import Core
from .host_layouts import chain_struct
from .load_node import LoadNode
from .router import Router
from .signatures import Signature

__all__ = ["SIDES", "Tile"]

SIDES = PORTS[1:]  # north, east, south, west

Event = tuple[Value, Value]  # valid, word


class Tile(wiring.Component):
    """One place of the mesh. Tiles are equal: nothing inside says where it stands.

    Timing
    ------
    A flit that is handed to an input in a cycle may leave by an output in the next.

    Members
    -------
    <side>_in, <side>_out : In, Out
        Flits from and to the neighbour; `Router` says how its links shake hands.
    chain_in, chain_out : In, Out
        The load chain.
    start, sample : In
        From the start tree: a timestep, a sample starts.
    quiet : Out
        Nothing computes, waits or travels here.
    """

    chain_in: stream.Interface
    chain_out: stream.Interface
    start: Signal
    sample: Signal
    quiet: Signal

    def __init__(self, config: ManyCoreConfig) -> None:
        self._many_core = config
        self._flit = FlitLayout.of(config)
        flits = stream.Signature(self._flit.bits)
        chain = stream.Signature(chain_struct(HostLink(config)))
        super().__init__(
            {f"{side}_in": In(flits) for side in SIDES}
            | {f"{side}_out": Out(flits) for side in SIDES}
            | {
                "chain_in": In(chain),
                "chain_out": Out(chain),
                "start": In(1),
                "sample": In(1),
                "quiet": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Wire router, core and load node together."""
        m = Module()
        m.submodules.router = router = Router(self._many_core)
        m.submodules.core = core = Core(self._many_core)
        m.submodules.load_node = node = LoadNode(self._many_core)
        for side in SIDES:
            for end in ("in", "out"):
                port = f"{side}_{end}"
                wiring.connect(m, wiring.flipped(getattr(self, port)), getattr(router, port))
        wiring.connect(m, router.local_out, core.i)
        wiring.connect(m, core.o, router.local_in)
        wiring.connect(m, wiring.flipped(self.chain_in), node.chain_in)
        wiring.connect(m, wiring.flipped(self.chain_out), node.chain_out)
        outputs = [getattr(router, f"{port}_out") for port in PORTS]
        m.d.comb += [
            router.sample.eq(self.sample),
            core.sample.eq(self.sample),
            core.start.eq(self.start),
            core.hops.eq(Cat(output.valid & output.ready for output in outputs)),
            core.w_en.eq(node.w_en),
            core.w_memory.eq(node.w_memory),
            core.w_row.eq(node.w_row),
            core.w_data.eq(node.w_data),
            core.r_en.eq(node.r_en),
            core.r_memory.eq(node.r_memory),
            core.r_row.eq(node.r_row),
        ]
        m.d.comb += [self.quiet.eq(router.empty & ~core.busy), node.r_data.eq(core.r_data)]
        cycle = Signal(CYCLE_BITS)  # within the timestep; `start` comes in cycle tree_stages
        m.d.sync += cycle.eq(Mux(self.start, self._many_core.tree_stages + 1, cycle + 1))
        events = self._events(core, outputs)
        if self._many_core.signatures:
            self._sign(m, events, cycle, node)
        if isinstance(platform, EmitPlatform) and platform.trace:
            self._watch(m, events, cycle)
        return m

    def _events(self, core: Core, outputs: list[stream.Interface]) -> dict[str, Event]:
        """Return what each unit of chip/signature.py absorbs: when, and which word behind the cycle."""
        neuron = Cat(core.retire_neuron, Const(0, self._flit.target_bits))[: self._flit.target_bits]
        words = [Cat(neuron, core.retire_output, core.retire_v_mem)]
        words += [Value.cast(output.payload) for output in outputs]
        valids = [core.retire, *(output.valid & output.ready for output in outputs)]
        return dict(zip(SIGNATURE_UNITS, zip(valids, words, strict=True), strict=True))

    def _sign(self, m: Module, events: dict[str, Event], cycle: Signal, node: LoadNode) -> None:
        """Build the signature registers; a read gives the one asked for, two cycles later."""
        units = []
        for name, (valid, word) in events.items():
            m.submodules[f"{name}_signature"] = unit = Signature(CYCLE_BITS + len(word))
            m.d.comb += [
                unit.valid.eq(valid),
                unit.word.eq(Cat(cycle, word)),
                unit.clear.eq(self.sample),
            ]
            units.append(unit.state)
        index, read, is_asked = Signal(range(len(units))), Signal(STATE_BITS), Signal()
        m.d.sync += [
            index.eq(node.r_row),
            is_asked.eq(node.r_memory == Memory.SIGNATURES),
            read.eq(Array(units)[index]),
        ]
        with m.If(is_asked):
            m.d.comb += node.r_data.eq(read)

    def _watch(self, m: Module, events: dict[str, Event], cycle: Signal) -> None:
        """Build the monitors of a verification build."""
        timestep, comes = Signal(TIMESTEP_BITS), Signal(TIMESTEP_BITS)  # of the sample
        with m.If(self.start):
            m.d.sync += [timestep.eq(comes), comes.eq(comes + 1)]
        with m.If(self.sample):
            m.d.sync += comes.eq(0)
        for name, (valid, word) in events.items():
            m.submodules[f"{name}_monitor"] = monitor = Monitor(name, len(word))
            m.d.comb += [
                monitor.valid.eq(valid),
                monitor.data.eq(word),
                monitor.cycle.eq(cycle),
                monitor.timestep.eq(timestep),
            ]
