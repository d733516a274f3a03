"""What a many-core loads: memories, registers, and the host's tables of inputs and outputs; checked as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arithmetic import NeuronKind, ResetMode, ResetTiming
from .config import ChipConfig
from .packet import FlitKind, FlitLayout

Ints = NDArray[np.int64]

# Registers of a core, in the order of the columns of `ManyCoreProgram.registers`: (name, lowest, highest).
CORE_REGISTERS = (
    ("x", 0, 63),  # column of the core
    ("y", 0, 63),  # row of the core
    ("kind", 0, 6),  # arithmetic.NeuronKind
    ("neurons", 0, 4096),  # neurons in use, 0 .. neurons - 1
    ("weight_mode_bits", 2, 32),  # bits of a packed weight
    ("axon_signed", 0, 1),  # axon values are two's complement
    ("i_shift", 0, 31),  # the sum enters the soma shifted left by this; RELU and TABLE: at most 7
    ("requant_shift", 0, 62),  # RELU and TABLE: right shift after the factor
    ("reset_mode", 0, 3),  # arithmetic.ResetMode
    ("reset_timing", 0, 1),  # arithmetic.ResetTiming
    ("compare", 0, 1),  # arithmetic.Compare
    ("max_output", 1, 1 << 24),  # largest output of LIF kinds (spikes a timestep) and of RELU
    ("floor", 0, 1),  # clamp the membrane at minus the threshold
    ("depth", 0, 1 << 20),  # chip timestep of the core's first update in a sample
    ("refractory", 0, 255),  # timesteps that a neuron is silent after a spike
    ("random_mask", 0, (1 << 31) - 1),  # bits of the LFSR added to the threshold
    ("random_seed", 0, (1 << 32) - 1),  # its state at the start of a sample
)
REGISTER_INDEX = {name: index for index, (name, _, _) in enumerate(CORE_REGISTERS)}

# Memories of one word a neuron, (cores, neurons) int64 each.
NEURON_MEMORIES = (
    "v_threshold", "v_reset", "v_init", "i_init", "bias", "decay_mem", "decay_syn", "route_base", "route_count",
)  # fmt: skip


class ProgramError(ValueError):
    """A program that cannot be loaded; the message is a sentence for the user."""


@dataclass(frozen=True)
class LayerInfo:
    """One population on the chip, for probes and reports.

    ``cores`` lists its cores, the partial-sum cores included. ``scale`` says what one unit of its output is worth:
    1 for spikes.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    spiking: bool
    depth: int
    cores: tuple[int, ...]
    partial_cores: tuple[int, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class InputInfo:
    """One input of the network: ``payload = round(value / scale)``, clipped to 0 or -max_payload .. max_payload."""

    name: str
    shape: tuple[int, ...]
    scale: float
    signed: bool
    max_payload: int


@dataclass(frozen=True)
class ManyCoreProgram:
    """Everything that the host loads and must know to run samples.

    Arrays over the ``C`` cores in use, with the chip's ``A`` axons and ``N`` neurons:

    registers : (C, registers) int64, see `CORE_REGISTERS`
    weights : (C, A, N) of the narrowest signed type that holds ``weight_bits``
    the memories of `NEURON_MEMORIES` : (C, N) int64
    table : (C, 256) int32, the activation of TABLE cores, addressed by the unsigned byte; (0, 256) if there is none
    route_offset : (C + 1,) first route of each core in the arrays below; a neuron's ``route_base`` counts from there
    routes : (R, 5) int32: kind, dx, dy, target, delay
    neuron_index : (C, N) int32, the neuron's place in its layer, -1 where unused or in a partial-sum core
    neuron_scale : (C, N) float64, what one unit of the membrane is worth in the units of the network
    input_offset : (I + 1,) and input_routes (F, 5) int32: host row (its place in ``host_rows``), dx, dy, axon,
    delay of the flits of
        input ``i``, all inputs flattened and concatenated
    output_lines : (O, 4) int32: host column (its place in ``host_columns``), line, output index, layer index
    output_scale : (outputs,) float64, what one unit of an output is worth; 1 for spikes
    """

    config: ChipConfig
    registers: Ints
    weights: NDArray[Any]
    v_threshold: Ints
    v_reset: Ints
    v_init: Ints
    i_init: Ints
    bias: Ints
    decay_mem: Ints
    decay_syn: Ints
    route_base: Ints
    route_count: Ints
    table: NDArray[np.int32]
    route_offset: Ints
    routes: NDArray[np.int32]
    core_layer: NDArray[np.int32]
    neuron_index: NDArray[np.int32]
    neuron_scale: NDArray[np.float64]
    input_offset: Ints
    input_routes: NDArray[np.int32]
    output_lines: NDArray[np.int32]
    output_scale: NDArray[np.float64]
    inputs: tuple[InputInfo, ...]
    layers: tuple[LayerInfo, ...]
    outputs: tuple[str, ...]
    steps_per_timestep: int = 1
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def core_count(self) -> int:
        """Cores in use."""
        return len(self.registers)

    @property
    def output_size(self) -> int:
        """Output values."""
        return len(self.output_scale)

    @property
    def input_size(self) -> int:
        """Input values, all inputs flattened and concatenated."""
        return len(self.input_offset) - 1

    @property
    def output_spiking(self) -> bool:
        """Whether every output is a spike (or an activation), rather than a membrane."""
        return all(self.layer(name).spiking for name in self.outputs)

    def layer(self, name: str) -> LayerInfo:
        """Return the layer called ``name``; KeyError if there is none."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)

    def register(self, name: str) -> Ints:
        """Return one register of every core, (C,) int64."""
        return self.registers[:, REGISTER_INDEX[name]]

    @property
    def depth(self) -> int:
        """Chip timesteps that the last layer is behind the host: the pipeline's fill."""
        return int(self.register("depth").max(initial=0))

    def chip_timesteps(self, timesteps: int) -> int:
        """Chip timesteps of a sample of ``timesteps`` network timesteps, fill included."""
        return self.steps_per_timestep * (timesteps - 1) + self.depth + 1


def weight_dtype(weight_bits: int) -> type[np.signedinteger[Any]]:
    """Return the narrowest signed NumPy type that holds a weight."""
    return np.int8 if weight_bits <= 8 else np.int16 if weight_bits <= 16 else np.int32


def _within(name: str, values: NDArray[Any], low: int, high: int) -> None:
    if values.size and (int(values.min()) < low or int(values.max()) > high):
        at = np.unravel_index(int(np.argmax((values < low) | (values > high))), values.shape)
        place = ", ".join(str(int(i)) for i in at)
        raise ProgramError(
            f"{name}[{place}] must be within {low}..{high}, not {int(values[at])}; compile the network again"
        )


def _shape(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ProgramError(
            f"{name} must have shape {shape}, not {array.shape}; compile the network again"
        )


def check_program(program: ManyCoreProgram) -> None:
    """Check every index and value of a program against its configuration, so that no machine can run astray.

    Raises
    ------
    ProgramError
        Naming the first array, place and value that does not fit.
    """
    chip = program.config.many_core
    core, mesh = chip.core, chip.network
    layout = FlitLayout.of(chip)
    count, axons, neurons = program.core_count, core.axons, core.neurons
    _shape("registers", program.registers, (count, len(CORE_REGISTERS)))
    _shape("weights", program.weights, (count, axons, neurons))
    for name in (*NEURON_MEMORIES, "neuron_index", "neuron_scale"):
        _shape(name, getattr(program, name), (count, neurons))
    for name, low, high in CORE_REGISTERS:
        _within(name, program.register(name), low, high)
    _within("neurons", program.register("neurons"), 0, neurons)
    _within("x", program.register("x"), 0, mesh.columns - 1)
    _within("y", program.register("y"), 0, mesh.rows - 1)
    place = program.register("y") * mesh.columns + program.register("x")
    if len(np.unique(place)) != count:
        raise ProgramError(
            "two cores of the program have the same place; compile the network again"
        )
    modes = program.register("weight_mode_bits")
    for mode in np.unique(modes):
        if int(mode) not in (core.weight_bits, 4, 2) or core.weight_bits % int(mode):
            raise ProgramError(
                f"weight_mode_bits must be {core.weight_bits}, 4 or 2, not {int(mode)}"
            )
        half = 1 << (int(mode) - 1)
        _within("weights", program.weights[modes == mode], -half, half - 1)
    _check_somas(program)
    has_table = bool(np.any(program.register("kind") == NeuronKind.TABLE))
    _shape("table", program.table, (count if has_table else 0, 256))
    _within(
        "table", program.table, -(1 << (core.activation_bits - 1)), (1 << core.activation_bits) - 1
    )
    _check_routes(program, layout)
    _check_host(program, layout)


def _check_somas(program: ManyCoreProgram) -> None:
    core = program.config.many_core.core
    top = (1 << (core.membrane_bits - 1)) - 1
    for name in ("v_reset", "v_init", "i_init", "bias"):
        _within(name, getattr(program, name), -top - 1, top)
    _within("v_threshold", program.v_threshold, -top, top)  # the floor is its negative
    _within("decay_mem", program.decay_mem, 0, 1 << core.decay_bits)
    _within("decay_syn", program.decay_syn, 0, 1 << core.decay_bits)
    _within("max_output", program.register("max_output"), 1, (1 << core.activation_bits) - 1)
    kind = program.register("kind")
    _within(
        "accumulator_bits + i_shift", core.accumulator_bits + program.register("i_shift"), 0, 62
    )
    activates = (kind == NeuronKind.RELU) | (kind == NeuronKind.TABLE)
    _within("i_shift of a RELU or TABLE core", program.register("i_shift")[activates], 0, 7)
    factor_bits = np.frexp(program.decay_mem[activates].astype(np.float64))[1]
    _within(
        "requant_shift + bits of decay_mem of a RELU or TABLE core",
        program.register("requant_shift")[activates, None] + factor_bits, 0, 62,
    )  # fmt: skip
    fires = kind <= NeuronKind.CUBA_LIF
    multi = fires & (program.register("max_output") > 1)
    thresholds = program.v_threshold[multi]
    used = np.arange(core.neurons)[None, :] < program.register("neurons")[multi, None]
    if np.any(((thresholds < 1) | (thresholds & (thresholds - 1) != 0)) & used):
        raise ProgramError(
            "a neuron of several spikes a timestep needs a threshold that is a power of two"
        )
    random = fires & (program.register("random_mask") > 0)
    if np.any(multi & random):
        raise ProgramError(
            "a neuron of several spikes a timestep cannot have a random threshold: it would be no power of two"
        )
    if np.any((multi | random) & (program.register("reset_timing") == ResetTiming.NEXT)) or np.any(
        multi & (program.register("reset_mode") != ResetMode.SUBTRACT)
    ):
        raise ProgramError(
            "several spikes a timestep need a subtracting reset; they and a random threshold need a reset "
            "in the same timestep"
        )


def _check_routes(program: ManyCoreProgram, layout: FlitLayout) -> None:
    chip = program.config.many_core
    core, mesh = chip.core, chip.network
    count = program.core_count
    _shape("route_offset", program.route_offset, (count + 1,))
    sizes = np.diff(program.route_offset)
    if (
        program.route_offset[0] != 0
        or program.route_offset[-1] != len(program.routes)
        or np.any(sizes < 0)
    ):
        raise ProgramError("route_offset does not divide the routes; compile the network again")
    _within("routes of a core", sizes, 0, core.route_entries)
    _within("route_base", program.route_base, 0, core.route_entries)
    _within("route_count", program.route_count, 0, core.route_entries)
    _within("route_base + route_count - routes", program.route_base + program.route_count - sizes[:, None],
            -core.route_entries, 0)  # fmt: skip
    if program.routes.ndim != 2 or program.routes.shape[1:] != (5,):
        raise ProgramError("routes must have five columns; compile the network again")
    kind, dx, dy, target, delay = program.routes.astype(np.int64).T
    source = np.repeat(np.arange(count), sizes)
    x = program.register("x")[source] + dx
    y = program.register("y")[source] + dy
    _within("route kind", kind, 0, 2)
    to_host = y == -1
    _within("route destination column", x, 0, mesh.columns - 1)
    _within("route destination row", y, -1, mesh.rows - 1)
    if not np.all(np.isin(x[to_host], mesh.host_columns)):
        raise ProgramError(
            "a route leaves the mesh at a column without a host port; compile the network again"
        )
    here = ~to_host
    _within("route delay", delay[here], 1, core.delay_slots - 1)
    _within("route delay", delay[to_host], 0, (1 << layout.delay_bits) - 1)
    _within("route target", target[to_host], 0, (1 << layout.target_bits) - 1)
    _within("axon of a route", target[here & (kind != FlitKind.SUM)], 0, core.axons - 1)
    _within("neuron of a route", target[here & (kind == FlitKind.SUM)], 0, core.neurons - 1)


def _check_host(program: ManyCoreProgram, layout: FlitLayout) -> None:
    chip = program.config.many_core
    core, mesh = chip.core, chip.network
    offset = program.input_offset
    if offset.ndim != 1 or len(offset) != sum(int(np.prod(i.shape)) for i in program.inputs) + 1:
        raise ProgramError(
            "input_offset does not match the inputs' shapes; compile the network again"
        )
    if offset[0] != 0 or offset[-1] != len(program.input_routes) or np.any(np.diff(offset) < 0):
        raise ProgramError(
            "input_offset does not divide the input routes; compile the network again"
        )
    if program.input_routes.ndim != 2 or program.input_routes.shape[1:] != (5,):
        raise ProgramError("input_routes must have five columns; compile the network again")
    port, dx, dy, axon, delay = program.input_routes.astype(np.int64).T
    _within("input port", port, 0, len(mesh.host_rows) - 1)
    _within("input destination column", dx, 0, mesh.columns - 1)
    _within("input destination row", np.asarray(mesh.host_rows)[port] + dy, 0, mesh.rows - 1)
    _within("input axon", axon, 0, core.axons - 1)
    _within("input delay", delay, 1, core.delay_slots - 1)
    if program.output_lines.ndim != 2 or program.output_lines.shape[1:] != (4,):
        raise ProgramError("output_lines must have four columns; compile the network again")
    column, line, index, layer = program.output_lines.astype(np.int64).T
    _within("output column", column, 0, len(mesh.host_columns) - 1)
    _within("output line", line, 0, layout.output_lines - 1)
    _within("output index", index, 0, program.output_size - 1)
    _within("output layer", layer, 0, len(program.layers) - 1)
    if len(np.unique(column * layout.output_lines + line)) != len(line):
        raise ProgramError("two outputs share a line of one host port; compile the network again")
    _shape("core_layer", program.core_layer, (program.core_count,))
    _within("core_layer", program.core_layer, 0, len(program.layers) - 1)
    for layer_info in program.layers:
        _within(
            f"cores of {layer_info.name}",
            np.array(layer_info.cores, dtype=np.int64),
            0,
            program.core_count - 1,
        )
        size = int(np.prod(layer_info.shape))
        _within(
            f"neuron_index of {layer_info.name}",
            program.neuron_index[list(layer_info.cores)],
            -1,
            size - 1,
        )
    for name in program.outputs:
        if name not in [layer_info.name for layer_info in program.layers]:
            raise ProgramError(
                f"output {name!r} is no layer of the program; compile the network again"
            )
    if not 1 <= program.steps_per_timestep <= 1 << 16:
        raise ProgramError(
            f"steps_per_timestep must be within 1..65536, not {program.steps_per_timestep}"
        )


PROGRAM_ARRAYS: dict[str, type[np.generic] | None] = {
    "registers": np.int64, "weights": None, **dict.fromkeys(NEURON_MEMORIES, np.int64), "table": np.int32,
    "route_offset": np.int64, "routes": np.int32, "core_layer": np.int32, "neuron_index": np.int32,
    "neuron_scale": np.float64, "input_offset": np.int64, "input_routes": np.int32, "output_lines": np.int32,
    "output_scale": np.float64,
}  # fmt: skip

assert set(PROGRAM_ARRAYS) <= {f.name for f in fields(ManyCoreProgram)}
