"""Learning engines in synthesis: names and modules lead to them, rows count as often as they stand, the preset fits."""

from __future__ import annotations

from math import fsum

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spikeloom.chip.config import load_config
from spikeloom.chip.formats import FP16
from spikeloom.chip.learn_carried import check_carried
from spikeloom.chip.learn_network import LearnNetwork, Recipe
from spikeloom.compiler.learn_commands import learn_commands
from spikeloom.compiler.learn_tasks import learn_tasks
from spikeloom.hw import fpga, gates
from spikeloom.hw.components import component_of, component_of_module
from spikeloom.hw.fp.adder import FloatAdder
from spikeloom.hw.fpga import PARTS
from spikeloom.hw.gates import component_gates, count_gates
from spikeloom.hw.memory import RAM_MODULE, ByName, Ram
from spikeloom.hw.verilog import CHIP_MODULE, chip_ports, emit
from spikeloom.hw.verilog_text import Netlist
from tests.support.learn_rtl import tiny_conv, tiny_mlp

CHIP = load_config("learn_ecp5")
BLOCK_RAMS = 208  # of an LFE5U-85F
ENGINES = {"forward", "backward", "update", "vector", "dma", "sequencer"}


@pytest.mark.parametrize(
    ("name", "component"),
    [
        ("forward.row_0.table.adder_1.x_LUT4_Z", "forward"),
        ("update.row_3.adder_0.result_TRELLIS_FF_Q_3", "update"),
        ("backward.row_1.masks.memory.0.0", "backward"),
        ("vector.pipe.multiplier_2.x", "vector"),
        ("dma.notes.x", "dma"),
        ("sequencer.queue_forward.x", "sequencer"),
        ("forward_inputs_3.memory.0.0", "buffers"),
        ("update_gradients.memory.0.0", "buffers"),
        ("vector_results.lane_31.memory.0.0", "buffers"),
        ("signature_memory.state_TRELLIS_FF_Q", "task signatures"),
        ("host.decoder.x", "host port"),
        ("overflow_TRELLIS_FF_Q", "top"),
        ("vector_results_LUT4_Z", "top"),
        ("engines.backward.places.x", "backward"),
        ("engines.host.x", "host port"),
        ("engines.vector_inputs.memory.0.0", "buffers"),
        ("engines.overflow_LUT4_Z", "top"),
        ("cores.mesh.tile_0_1.core.axon.left_TRELLIS_FF_Q_3", "axon"),
        ("cores.mesh.barrier.x", "barrier"),
        ("cores.host.x", "host port"),
        ("split.x", "top"),
    ],
)
def test_names_lead_to_engines(name, component):
    assert component_of(name).name == component


@pytest.mark.parametrize(
    ("module", "owner"),
    [
        ("spikeloom_chip_forward", "forward"),
        ("spikeloom_chip_forward_running_357", "forward"),
        ("spikeloom_chip_engines_backward", "backward"),
        ("spikeloom_chip_vector_pipe", "vector"),
        ("spikeloom_chip_vector_results", "buffers"),
        ("spikeloom_chip_engines_vector_results", "buffers"),
        ("spikeloom_chip_signature_memory_386", "task signatures"),
        ("spikeloom_chip_sequencer_queue_vector", "sequencer"),
        ("spikeloom_chip_engines_host", "host port"),
        ("spikeloom_chip_cores_host", "host port"),
        ("spikeloom_chip_cores_mesh_barrier", "barrier"),
        ("spikeloom_chip_engines", "top"),
        ("spikeloom_chip_split", "top"),
    ],
)
def test_modules_lead_to_engines(module, owner):
    assert gates._owner(module) == owner


def test_parts_of_an_engine_are_no_components():
    assert component_of_module("spikeloom_chip_forward_running_357") is None
    assert component_of_module("spikeloom_lookup_row_fp32_4x4_3") is None


class Toggle(wiring.Component):
    """A flip-flop and a gate, with a memory."""

    a: Signal
    y: Signal

    def __init__(self):
        super().__init__({"a": In(1), "y": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.rows = rows = Ram(3, 2)
        kept = Signal(reset_less=True)
        m.d.sync += kept.eq(self.a)
        m.d.comb += [
            rows.w_data.eq(self.a.replicate(3)),
            rows.w_en.eq(self.a),
            self.y.eq(~(kept & rows.r_data[0])),
        ]
        return m


class Engine(wiring.Component):
    """Some parts by name."""

    a: Signal
    y: Signal

    def __init__(self, parts):
        super().__init__({"a": In(1), "y": Out(4)})
        self.parts = parts

    def elaborate(self, platform):
        m = Module()
        for number in range(self.parts):
            m.submodules[f"row_{number}"] = ByName(part := Toggle(), "spikeloom_toggle")
            m.d.comb += [part.a.eq(self.a), self.y[number].eq(part.y)]
        return m


class Chip(wiring.Component):
    """Two engines that share a kind of row, and a buffer of their own."""

    a: Signal
    y: Signal

    def __init__(self):
        super().__init__({"a": In(1), "y": Out(9)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.forward = forward = Engine(3)
        m.submodules.update = update = Engine(1)
        m.submodules.update_inputs_0 = buffer = Ram(8, 4)
        m.d.comb += [
            forward.a.eq(self.a),
            update.a.eq(self.a),
            buffer.w_en.eq(self.a),
            self.y.eq(forward.y | update.y ^ buffer.r_data),
        ]
        return m


def test_a_row_by_name_counts_as_often_as_it_stands():
    texts = emit(Chip(), CHIP_MODULE)
    parts = {part.component: part for part in gates._components(texts, 0, lambda _: None)}
    assert parts["forward"].flip_flops == 3
    assert parts["update"].flip_flops == 1
    assert parts["forward"].gate_equivalents == 3 * parts["update"].gate_equivalents
    assert [(r.width, r.depth, r.count) for r in parts["forward"].rams] == [(3, 2, 3)]
    assert [(r.width, r.depth, r.count) for r in parts["update"].rams] == [(3, 2, 1)]
    assert [(r.width, r.depth, r.count) for r in parts["buffers"].rams] == [(8, 4, 1)]


def test_a_component_by_itself():
    alone = component_gates(Toggle(), "spikeloom_toggle")
    assert component_gates(Engine(3), "spikeloom_engine") == 3 * alone
    assert component_gates(FloatAdder(FP16, 1), "spikeloom_adder") > 500


@pytest.mark.parametrize("network", [tiny_mlp(), tiny_mlp(4, constant=False), tiny_conv()])
def test_the_preset_holds_tiny_networks(network: LearnNetwork):
    program = learn_tasks(CHIP, network, Recipe(timesteps=3, batch=2))
    assert sum(map(len, learn_commands(program).values())) > 40


@pytest.mark.slow
def test_the_preset_has_no_more_memories_than_the_device():
    texts = fpga.emit_chip(CHIP)
    found, _ = fpga._synthesise(
        CHIP, texts, chip_ports(CHIP), PARTS["85k"], CHIP.clock_hz / 1e6, lambda _: None
    )
    uses = {item.name: item.used for item in found.resources}
    assert 0.8 * BLOCK_RAMS < uses["block RAM"] <= BLOCK_RAMS
    by_component = {part.component: part.uses for part in found.components}
    assert ENGINES | {"buffers", "host port"} <= set(by_component)
    for name, used in uses.items():
        assert sum(part[name] for part in by_component.values()) == used


@pytest.mark.slow
def test_engines_by_their_gates(tmp_path):
    config = load_config("h2learn_small")
    check_carried(config)
    result = count_gates(config, cache=tmp_path)
    parts = {part.component: part for part in result.components}
    assert ENGINES | {"buffers", "task signatures", "host port", "top"} == set(parts)
    assert result.cores == 0
    assert result.gate_equivalents == pytest.approx(
        fsum(part.gate_equivalents for part in result.components)
    )
    netlist = Netlist(fpga.emit_chip(config))
    memories = sum(ram.count for part in parts.values() for ram in part.rams)
    assert memories == netlist.count(RAM_MODULE, CHIP_MODULE)
