"""The chip's configuration: frozen models, YAML in and out, JSON schema, hash; every derived width in one place."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, Field, ValidationError, model_validator

from .frozen import FrozenModel
from .learn_config import LearnConfig

PRESETS_FOLDER = Path(__file__).parent / "presets"

# Cycles from a neuron's sum in the soma to its retirement, both included. One neuron a cycle enters; two products of
# membrane width (synaptic current, membrane), their rounding, saturation, the compare and the table read stand in a
# row, and none of them shares a cycle with another: docs/decisions/008-soma-pipeline.md.
SOMA_STAGES = 8


class ConfigError(ValueError):
    """A configuration that cannot be read or built; the message is a sentence for the user."""


class CoreConfig(FrozenModel):
    """One hybrid core: its sizes and widths."""

    axons: int = Field(default=16, ge=1, le=4096, description="inputs of a core")
    neurons: int = Field(default=16, ge=1, le=4096, description="neurons of a core")
    lanes: int = Field(default=4, ge=1, le=256, description="weights of full width read a cycle")
    delay_slots: int = Field(
        default=4,
        ge=2,
        le=64,
        description="timesteps that the axon and sum rings hold; delays reach slots - 1",
    )
    weight_bits: int = Field(
        default=8, ge=2, le=32, description="bits of a signed weight, unpacked"
    )
    activation_bits: int = Field(default=8, ge=2, le=24, description="bits of an axon's value")
    accumulator_bits: int = Field(default=24, ge=8, le=60, description="bits of a sum of products")
    membrane_bits: int = Field(
        default=24, ge=8, le=60, description="bits of membrane and synaptic current"
    )
    decay_bits: int = Field(
        default=12, ge=4, le=30, description="fractional bits of a decay factor"
    )
    route_entries: int = Field(
        default=64, ge=1, le=1 << 20, description="words of the routing memory"
    )
    pipeline_stages: int = Field(
        default=4,
        ge=4,
        le=16,
        description="cycles from a weight's address to its product in the accumulator",
    )

    @model_validator(mode="after")
    def _check(self) -> CoreConfig:
        if self.lanes > self.neurons:
            raise ValueError(f"lanes must be at most neurons ({self.neurons}), not {self.lanes}")
        if self.accumulator_bits <= self.weight_bits:
            raise ValueError(
                f"accumulator_bits must exceed weight_bits ({self.weight_bits}), not {self.accumulator_bits}"
            )
        if self.accumulator_bits <= self.activation_bits:
            raise ValueError(
                f"accumulator_bits must exceed activation_bits ({self.activation_bits}), "
                f"not {self.accumulator_bits}"
            )
        return self


class NetworkOnChipConfig(FrozenModel):
    """The mesh of routers, and where the host is attached to it."""

    columns: int = Field(default=2, ge=1, le=64, description="cores in x")
    rows: int = Field(default=2, ge=1, le=64, description="cores in y")
    fifo_depth: int = Field(default=4, ge=1, le=64, description="flits that a router input holds")
    host_rows: tuple[int, ...] = Field(
        default=(0,), description="rows whose western edge takes flits from the host"
    )
    host_columns: tuple[int, ...] = Field(
        default=(0,), description="columns whose northern edge gives flits to the host"
    )
    host_queue_flits: int = Field(
        default=512, ge=2, le=1 << 16, description="flits that each host port holds, each way"
    )

    @model_validator(mode="after")
    def _check(self) -> NetworkOnChipConfig:
        for name, ports, size in (
            ("host_rows", self.host_rows, self.rows),
            ("host_columns", self.host_columns, self.columns),
        ):
            if (
                not ports
                or sorted(set(ports)) != list(ports)
                or not 0 <= ports[0] <= ports[-1] < size
            ):
                raise ValueError(
                    f"{name} must be ascending, without repetition, within 0..{size - 1}, not {list(ports)}"
                )
        return self


class TimestepConfig(FrozenModel):
    """How a timestep ends: adaptive (when all is quiet) or after a fixed period."""

    mode: Literal["adaptive", "fixed"] = "adaptive"
    period_cycles: int = Field(default=5050, ge=1, description="length of a timestep in fixed mode")


class ManyCoreConfig(FrozenModel):
    """A mesh of identical cores."""

    core: CoreConfig = CoreConfig()
    network: NetworkOnChipConfig = NetworkOnChipConfig()
    timestep: TimestepConfig = TimestepConfig()
    signatures: bool = Field(
        default=True, description="registers that absorb every transfer into a CRC"
    )

    @property
    def core_count(self) -> int:
        """Cores on the mesh."""
        return self.network.columns * self.network.rows

    @cached_property
    def tree_stages(self) -> int:
        """Registers from the root to a core in the start and barrier trees of radix 4: ceil(log4 cores), at least 2.

        Up to four cores have two registers each way, too: a core prepares its walk in the cycles that the trees take.
        """
        stages = 2
        while 4**stages < self.core_count:
            stages += 1
        return stages

    @property
    def start_cycles(self) -> int:
        """Cycles from the start of a timestep to a core's first compute cycle: start tree, then the swap."""
        return self.tree_stages + 2

    @property
    def host_start_cycles(self) -> int:
        """Cycles from the start of a timestep to the host's first flit, which asks while the cores swap."""
        return self.tree_stages + 1

    @property
    def send_latency_cycles(self) -> int:
        """Cycles from the end of compute to the sender's first flit: outbox read, routing memory read."""
        return 2

    @property
    def barrier_cycles(self) -> int:
        """Cycles from quiet to the next start: barrier tree, then the root's register."""
        return self.tree_stages + 1

    @property
    def sample_reset_cycles(self) -> int:
        """Cycles of the command that starts a sample from rest: start tree, then one to clear the valid bits."""
        return self.tree_stages + 2

    def effective_lanes(self, weight_mode_bits: int) -> int:
        """Weights read a cycle when weights are packed to ``weight_mode_bits`` bits each."""
        return self.core.lanes * (self.core.weight_bits // weight_mode_bits)

    def compute_cycles(self, active_axons: int, neurons: int, weight_mode_bits: int) -> int:
        """Cycles of dendrite and soma for ``active_axons`` axons and ``neurons`` neurons in use.

        With ``S`` active axons, ``L`` effective lanes, ``G = ceil(neurons / L)`` groups and ``p`` pipeline stages:
        ``p + (S + 1) + (G - 1) max(S + 1, L) + L + SOMA_STAGES - 1``. A core without neurons takes none.
        """
        if neurons == 0:
            return 0
        lanes = self.effective_lanes(weight_mode_bits)
        last = -(-neurons // lanes) * lanes - 1
        return self.retire_cycle(last, active_axons, weight_mode_bits) + 1 - self.start_cycles

    def retire_cycle(self, neuron: int, active_axons: int, weight_mode_bits: int) -> int:
        """Cycle of the timestep in which a neuron's output and membrane are written.

        Neuron ``g L + j`` retires in cycle ``start_cycles + p + (S + 1) + g max(S + 1, L) + j + SOMA_STAGES - 1``,
        with the names of `compute_cycles`.
        """
        lanes = self.effective_lanes(weight_mode_bits)
        group, place = divmod(neuron, lanes)
        dendrite = active_axons + 1
        first = self.start_cycles + self.core.pipeline_stages + dendrite
        return first + group * max(dendrite, lanes) + place + SOMA_STAGES - 1


class ChipConfig(FrozenModel):
    """A chip: its name, clock, technology and halves. One that names no half is a many-core of default sizes."""

    model_config = ConfigDict(validate_by_name=False, serialize_by_alias=True)

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")
    clock_hz: float = Field(gt=0, le=1e11, description="cycles a second")
    node_nm: int = Field(
        default=28, ge=3, le=250, description="technology node that energy and area refer to"
    )
    many_core_half: ManyCoreConfig | None = Field(
        default=None, alias="many_core", description="cores for inference"
    )
    learn_half: LearnConfig | None = Field(
        default=None, alias="learn", description="engines for training"
    )

    @model_validator(mode="after")
    def _has_a_half(self) -> ChipConfig:
        if self.many_core_half is None and self.learn_half is None:
            object.__setattr__(self, "many_core_half", ManyCoreConfig())
        return self

    @property
    def many_core(self) -> ManyCoreConfig:
        """The many-core; ConfigError if the chip has none."""
        if self.many_core_half is None:
            raise ConfigError(
                f"chip {self.name!r} has no many-core, only learning engines; choose a chip with cores, "
                f"such as tiny or tianjic"
            )
        return self.many_core_half

    @property
    def learn(self) -> LearnConfig:
        """The learning engines; ConfigError if the chip has none."""
        if self.learn_half is None:
            raise ConfigError(
                f"chip {self.name!r} has no learning engines; choose a chip that has, such as h2learn"
            )
        return self.learn_half

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, dicts, numbers and strings, as in the YAML file; a half that is missing is left out."""
        fields = self.model_dump(mode="json")
        return {key: value for key, value in fields.items() if value is not None}

    def to_yaml(self) -> str:
        """Return the YAML text of the configuration, all fields written out."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False)

    @cached_property
    def config_hash(self) -> str:
        """Sixteen hexadecimal digits that identify everything but the name: SHA-256 of the sorted JSON."""
        fields = self.to_dict()
        del fields["name"]
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def replace(self, **sections: dict[str, Any]) -> ChipConfig:
        """Return a validated copy with fields changed: ``config.replace(core={"axons": 8}, network={"rows": 1})``.

        Sections are ``chip`` (name, clock_hz, node_nm), ``core``, ``network``, ``timestep`` and ``many_core``; of a
        chip with learning engines also ``learn``, ``forward``, ``backward``, ``update``, ``vector``, ``buffers`` and
        ``dram``.
        """
        fields = self.to_dict()
        places = {"chip": fields}
        for half in ("many_core", "learn"):
            if half in fields:
                places[half] = fields[half]
                places |= {
                    key: value for key, value in fields[half].items() if isinstance(value, dict)
                }
        for section, changes in sections.items():
            if section not in places:
                raise ConfigError(f"section must be one of {', '.join(places)}, not {section!r}")
            places[section].update(changes)
        return config_from_dict(fields, where="the changed configuration")


def config_from_dict(fields: Any, where: str) -> ChipConfig:
    """Validate ``fields`` into a configuration; ``where`` names their origin in messages.

    Raises
    ------
    ConfigError
        One line per wrong field: its place, what must hold, what was given.
    """
    if not isinstance(fields, dict):
        raise ConfigError(f"{where} must hold a mapping of fields, not {type(fields).__name__}")
    try:
        return ChipConfig.model_validate_json(json.dumps(fields))
    except (ValidationError, TypeError, ValueError) as error:
        if not isinstance(error, ValidationError):
            raise ConfigError(
                f"{where} holds a value that is no number, text, list or mapping: {error}"
            ) from None
        lines = []
        for item in error.errors():
            place = ".".join(str(part) for part in item["loc"]) or "chip"
            message = item["msg"].removeprefix("Value error, ")
            given = item["input"]
            tail = "" if isinstance(given, dict) else f" (given: {given!r})"
            if item["type"] == "extra_forbidden":
                message, tail = "is no field of a chip configuration", ""
            lines.append(f"{place}: {message}{tail}")
        raise ConfigError(
            f"{where} is not a valid chip configuration:\n  " + "\n  ".join(lines)
        ) from None


def preset_names() -> tuple[str, ...]:
    """Return the names of the presets, sorted."""
    return tuple(sorted(path.stem for path in PRESETS_FOLDER.glob("*.yaml")))


def load_config(name_or_path: str | Path) -> ChipConfig:
    """Load a preset by name, or a configuration from a YAML file.

    Raises
    ------
    ConfigError
        If it is neither, the file is not YAML, or a field is unknown or out of range.
    """
    text = str(name_or_path)
    path = PRESETS_FOLDER / f"{text}.yaml"
    if text not in preset_names():
        path = Path(name_or_path)
        if not path.is_file():
            raise ConfigError(
                f"{text!r} is neither a preset ({', '.join(preset_names())}) nor a YAML file"
            )
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not a YAML file: {' '.join(str(error).split())}") from None
    return config_from_dict(fields, where=str(path))


def config_schema() -> dict[str, Any]:
    """Return the JSON schema of a configuration file."""
    return ChipConfig.model_json_schema()
