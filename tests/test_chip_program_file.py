"""The program file: round trip, sameness, and everything that is refused."""

from __future__ import annotations

import json
import pickle
import zipfile
from dataclasses import fields, replace

import numpy as np
import pytest

from spikeloom.chip.config import load_config
from spikeloom.chip.program import PROGRAM_ARRAYS, ManyCoreProgram, ProgramError, check_program
from spikeloom.chip.program_file import load_program, save_program

from .support.random_program import random_program


@pytest.fixture
def program():
    return random_program(np.random.default_rng(3))


@pytest.fixture
def path(program, tmp_path):
    path = tmp_path / "net.chip"
    save_program(program, path)
    return path


def test_round_trip(program, path):
    loaded = load_program(path, program.config)
    for field in fields(ManyCoreProgram):
        one, other = getattr(program, field.name), getattr(loaded, field.name)
        if field.name in PROGRAM_ARRAYS:
            assert one.dtype == other.dtype
            assert np.array_equal(one, other)
        else:
            assert one == other, field.name


def test_the_same_program_gives_the_same_bytes(program, path, tmp_path):
    save_program(program, tmp_path / "again.chip")
    assert path.read_bytes() == (tmp_path / "again.chip").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.chip", "net.chip"]


def test_a_foreign_chip_is_refused(path):
    with pytest.raises(ProgramError, match=r"was compiled for chip 'tiny' .* not for 'tianjic'"):
        load_program(path, load_config("tianjic"))


def test_every_truncation_is_refused(path):
    whole = path.read_bytes()
    for size in [0, 1, 10, *range(100, len(whole), len(whole) // 40)]:
        path.write_bytes(whole[:size])
        with pytest.raises(ProgramError):
            load_program(path)


def test_flipped_bytes_are_refused_or_harmless(program, path):
    whole = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.integers(0, len(whole), 150):
        changed = bytearray(whole)
        changed[place] ^= 0x55
        path.write_bytes(changed)
        try:
            loaded = load_program(path)
            assert np.array_equal(loaded.weights, program.weights)
        except ProgramError:
            refused += 1
    assert refused > 100


def test_files_of_another_kind_are_refused(tmp_path):
    path = tmp_path / "x.chip"
    with pytest.raises(ProgramError, match="does not exist"):
        load_program(path)
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ProgramError, match="is not a whole program file"):
        load_program(path)
    with pytest.raises(ProgramError, match="folder"):
        load_program(tmp_path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other.txt", "x")
    with pytest.raises(ProgramError, match=r"holds no manifest\.json"):
        load_program(path)


def edit(path, change):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members["manifest.json"])
    change(manifest, members)
    members["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, blob in members.items():
            archive.writestr(name, blob)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, _: m.update(version=99), "format version 99"),
        (lambda m, _: m.update(format="x"), "is not a many-core program"),
        (lambda m, _: m["config"].update(clock_hz=5.0), "does not have the hash"),
        (lambda m, _: m["config"].update(clock_hz=-5.0), "not a valid chip configuration"),
        (
            lambda m, _: m["arrays"]["weights"].update(shape=[1 << 20, 1 << 20, 1 << 10]),
            "too large",
        ),
        (lambda m, _: m["arrays"]["weights"].update(shape=[1, 1, 1]), "does not have the size"),
        (lambda m, _: m["arrays"]["weights"].update(dtype="object"), "must be of int8"),
        (lambda m, _: m.pop("layers"), "malformed manifest"),
        (lambda m, _: m["layers"][0].update(cores=[999]), "cores of core0"),
        (lambda m, _: m.update(steps_per_timestep=0), "steps_per_timestep"),
        (
            lambda m, b: b.update({"weights.bin": b["weights.bin"][:-1] + b"\x07"}),
            "does not match its checksum",
        ),
    ],
)
def test_altered_manifests_are_refused(path, change, message):
    edit(path, change)
    with pytest.raises(ProgramError, match=message):
        load_program(path)


@pytest.mark.parametrize(
    ("name", "column", "value", "message"),
    [
        ("routes", 1, 99, "route destination column"),
        ("routes", 3, 999, "route target|axon of a route|neuron of a route"),
        ("routes", 4, 77, "route delay"),
        ("input_routes", 3, 999, "input axon"),
        ("input_routes", 4, 0, "input delay"),
        ("registers", 0, 60, "x"),
        ("registers", 2, 9, "kind"),
        ("output_lines", 2, 999, "output index"),
    ],
)
def test_no_index_may_run_astray(program, name, column, value, message):
    array = getattr(program, name).copy()
    array[-1, column] = value
    with pytest.raises(ProgramError, match=message):
        check_program(replace(program, **{name: array}))


def test_nothing_is_left_when_the_folder_cannot_be_written(program, tmp_path):
    with pytest.raises(OSError, match="No such file"):
        save_program(program, tmp_path / "no" / "net.chip")
    broken = replace(program, weights=program.weights[:, :, :-1])
    with pytest.raises(ProgramError, match="weights must have shape"):
        save_program(broken, tmp_path / "net.chip")
    assert list(tmp_path.iterdir()) == []
