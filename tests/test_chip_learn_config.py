"""Configurations of the learning engines: what follows from their sizes, and what is refused."""

from __future__ import annotations

import pytest

from spikeloom.chip.config import ConfigError, load_config
from spikeloom.chip.formats import BF16, FP16, FP32
from spikeloom.chip.learn_config import BufferConfig, LearnConfig, LookupConfig
from tests.support.learn_networks import learn_chip


@pytest.mark.parametrize("preset", ["h2learn", "h2learn_small"])
def test_presets_are_chips_that_learn(preset):
    chip = load_config(preset)
    assert chip.many_core_half is None
    assert chip.learn.operand_format == FP16
    assert chip.learn.accumulator_format == FP32
    assert chip.learn.forward.group == chip.learn.update.group == 4
    assert load_config(preset).replace(learn={"operands": "bf16"}).learn.operand_format == BF16
    with pytest.raises(ConfigError, match="has no many-core, only learning engines"):
        _ = chip.many_core


def test_a_many_core_does_not_learn():
    with pytest.raises(
        ConfigError, match="has no learning engines; choose a chip that has, such as h2learn"
    ):
        _ = load_config("tiny").learn


@pytest.mark.parametrize(
    ("group", "interleave", "adds", "adders"),
    [(1, 4, 0, 0), (2, 4, 1, 1), (3, 4, 4, 1), (4, 4, 11, 3), (5, 4, 26, 7), (8, 4, 247, 62),
     (4, 11, 11, 1), (4, 12, 11, 1)],
)  # fmt: skip
def test_tables(group, interleave, adds, adders):
    engine = LookupConfig(rows=3, columns=5, group=group, interleave=interleave)
    assert engine.table_adds == adds
    assert engine.build_adders == adders
    assert engine.build_adders * interleave >= adds  # one table is built while another serves
    assert engine.outputs == 5 * interleave
    assert engine.lanes == 15


def test_buffers_count_twice():
    sizes = {name: 100 + 10 * i for i, name in enumerate(BufferConfig.model_fields)}
    assert BufferConfig(**sizes).total == 2 * sum(sizes.values())
    assert len(sizes) == 11


@pytest.mark.parametrize("engine", ["forward", "update"])
def test_accumulators_that_are_not_ready(engine):
    with pytest.raises(ConfigError) as caught:
        learn_chip(adder_stages=5, **{engine: {"interleave": 4}}, **{
            other: {"interleave": 5} for other in ("forward", "update") if other != engine
        })  # fmt: skip
    assert (
        f"{engine}.interleave must be at least adder_stages (5), not 4: "
        f"an accumulator's sum is ready for the next table only then"
    ) in str(caught.value)
    assert learn_chip(adder_stages=4).learn.adder_stages == 4


@pytest.mark.parametrize(
    ("sections", "place"),
    [
        ({"forward": {"group": 9}}, "learn.forward.group"),
        ({"backward": {"lanes": 0}}, "learn.backward.lanes"),
        ({"backward": {"width": 4}}, "learn.backward.width"),
        ({"operands": "fp8"}, "learn.operands"),
        ({"accumulators": "int32"}, "learn.accumulators"),
        ({"buffers": {"forward_weights": 8}}, "learn.buffers.forward_weights"),
    ],
)
def test_wrong_fields_are_named(sections, place):
    with pytest.raises(ConfigError, match=place.replace(".", r"\.")):
        learn_chip(**sections)


def test_defaults_are_a_machine():
    assert LearnConfig().forward.interleave >= LearnConfig().adder_stages
    assert learn_chip().replace(learn={"operands": "fp32"}).learn.operand_format == FP32
