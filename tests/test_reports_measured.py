"""Steps measured on real machines: kept as files, read back, refused if they are something else."""

from __future__ import annotations

import pytest

from spikeloom.reports.measured import MEASURED_FOLDER, Measurement, load_measurements

ONE = Measurement(
    network="mnist_mlp", norm="none", batch=64, timesteps=4, framework="PyTorch 2", device="A Processor (R) 9",
    threads=2, step_s=0.004, simulated_s=0.003, repeats=5, date="2026-01-01",
    command="python benchmarks/training_speed.py",
)  # fmt: skip


def test_a_measurement_comes_back_under_a_plain_name(tmp_path):
    path = ONE.save(tmp_path)
    assert path.name == "a_processor__r__9-mnist_mlp-none.json"
    assert load_measurements(folder=tmp_path) == (ONE,)
    assert load_measurements("mnist_mlp", tmp_path) == (ONE,)
    assert load_measurements("another", tmp_path) == ()


def test_another_file_is_refused_by_name(tmp_path):
    (tmp_path / "x.json").write_text('{"network": "mnist_mlp"}')
    with pytest.raises(ValueError, match=r"x\.json is no measurement"):
        load_measurements(folder=tmp_path)


def test_the_shipped_measurements_can_be_read():
    shipped = load_measurements()
    assert len(shipped) == len(list(MEASURED_FOLDER.glob("*.json")))
    assert all(item.step_s > 0 and item.command for item in shipped)
