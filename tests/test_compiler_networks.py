"""Networks trained in their frameworks: the float replay gives each framework's own spikes.

The files are looked for in tests/data, then in the folders that the variable SPIKELOOM_NETWORKS names.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeloom.compiler.frontend import load_network, load_with_records
from spikeloom.compiler.graph import Network
from spikeloom.compiler.nir_file import NetworkError
from spikeloom.compiler.reference_float import run_float

TESTS = Path(__file__).parent
FOLDERS = [
    TESTS / "data",
    *(Path(name) for name in os.environ.get("SPIKELOOM_NETWORKS", "").split(os.pathsep) if name),
]
# The published Braille networks were run by Norse on a file that snnTorch wrote.
BRAILLE = {
    "producer": "snntorch",
    "reset_timing": "same",
    "recurrent_bias_at_start": False,
}
# name: convention, samples
CASES: dict[str, tuple[dict[str, Any], int]] = {
    "snntorch_mlp_mnist": ({}, 200),
    "snntorch_synaptic_digits": ({}, 200),
    "norse_mlp_lifbox_li_mnist": ({}, 100),
    "sj_conv_stbp_fashion": ({}, 20),
    "sj_sew_resnet_mnist": ({"producer": "spikingjelly"}, 100),
    "thirdparty_braille_noDelay_bias_zero": ({**BRAILLE, "reset": "zero"}, 50),
    "thirdparty_braille_noDelay_noBias_subtract": (BRAILLE, 50),
    "thirdparty_sinabs_cnn_nmnist": ({"producer": "sinabs"}, 2),
}


def files(name: str) -> tuple[Path, dict[str, np.ndarray]]:
    """Return the .nir file and the stored arrays of a network; skip where it is not at hand."""
    for folder in FOLDERS:
        if (folder / f"{name}.nir").exists() and (folder / f"{name}.npz").exists():
            with np.load(folder / f"{name}.npz") as stored:
                return folder / f"{name}.nir", dict(stored)
    pytest.skip(f"{name} is not in tests/data; name its folder in SPIKELOOM_NETWORKS")


def inputs(stored: dict[str, np.ndarray], samples: int) -> np.ndarray:
    """Return the stored inputs as (samples, timesteps, values)."""
    if "x" in stored:
        return stored["x"][:, :samples].swapaxes(0, 1).astype(float)
    timesteps = int(stored["T"])
    if "x_const" in stored:
        frame = stored["x_const"][:samples].astype(float)
        return np.repeat(frame.reshape(len(frame), 1, -1), timesteps, axis=1)
    starts = stored["event_offsets"]
    x = np.zeros((samples, timesteps, 2, 34, 34))
    for sample in range(samples):
        t, column, row, polarity = stored["events_tms_x_y_p"][
            starts[sample] : starts[sample + 1]
        ].T.astype(int)
        np.add.at(x[sample], (t, polarity, row, column), 1)
    return x.reshape(samples, timesteps, -1)


def hidden_totals(
    network: Network, stored: dict[str, np.ndarray], samples: int
) -> dict[str, np.ndarray]:
    """Return the framework's spikes per timestep and sample of each spiking population."""
    found = {}
    for population in network.populations:
        for name in (
            population.name,
            population.name.lstrip("_"),
            population.name.replace(".", "_"),
        ):
            key = f"hid_{name}_step_totals"
            if key in stored and population.spiking:
                found[population.name] = stored[key][:, :samples].T
    return found


@pytest.mark.parametrize("name", CASES)
def test_the_replay_gives_the_framework_s_spikes(name: str) -> None:
    options, samples = CASES[name]
    path, stored = files(name)
    network = load_network(path, **options)
    totals = hidden_totals(network, stored, samples)
    assert totals
    run = run_float(network, inputs(stored, samples), record=list(totals))
    if "out_spikes" in stored:
        wanted = stored["out_spikes"][:, :samples].swapaxes(0, 1)
        assert wanted.any()
        assert np.count_nonzero(run.spikes != wanted) == 0
    else:  # a readout that does not spike
        wanted = stored["out_v"][:, :samples].swapaxes(0, 1)
        np.testing.assert_allclose(run.spikes, wanted, atol=2e-6)
    for population, total in totals.items():
        # the frameworks compute in single precision: a rare hidden spike comes a timestep apart
        apart = np.abs(run.recorded[population].sum(axis=2) - total).sum()
        assert apart <= 2e-5 * total.sum(), population
    if "pred" in stored:
        np.testing.assert_array_equal(run.predictions, stored["pred"][:samples])


@pytest.mark.parametrize(
    ("name", "producer"),
    [
        ("snntorch_mlp_mnist", "snntorch"),
        ("snntorch_synaptic_digits", "snntorch"),
        ("norse_mlp_lifbox_li_mnist", "norse"),
        ("sj_conv_stbp_fashion", "spikingjelly"),
    ],
)
def test_auto_recognises_the_exporter(name: str, producer: str) -> None:
    loaded = load_with_records(files(name)[0])
    assert loaded.network.convention["producer"] == producer
    assert f"Read as written by {producer}" in loaded.network.notes[0]


@pytest.mark.parametrize(
    "name",
    [
        "sj_sew_resnet_mnist",
        "thirdparty_braille_noDelay_bias_zero",
        "thirdparty_sinabs_cnn_nmnist",
    ],
)
def test_auto_refuses_what_it_cannot_tell(name: str) -> None:
    with pytest.raises(NetworkError, match="State the producer"):
        load_network(files(name)[0])


def test_a_literal_reading_is_wrong_and_not_taken() -> None:
    path, stored = files("snntorch_mlp_mnist")
    run = run_float(load_network(path, "nir"), inputs(stored, 200))
    wrong = np.count_nonzero(run.spikes != stored["out_spikes"].swapaxes(0, 1))
    assert wrong > 100
    with pytest.raises(NetworkError, match="Norse writes tau = dt/tau_inv"):
        load_network(files("norse_mlp_lifbox_li_mnist")[0], "nir", dt=1e-3)


def test_the_residual_network_keeps_its_two_paths() -> None:
    network = load_network(files("sj_sew_resnet_mnist")[0], "spikingjelly")
    assert {p.source for p in network.into("n3")} == {"n0", "r1_n2"}
    assert {p.source for p in network.into("out")} == {"n3", "r2_n2"}
    assert all(projection.delay == 0 for projection in network.projections)
