"""Our counting of operations against SATA's published model, faults included: h2learn_facts, section 4.1."""

from __future__ import annotations

import pytest

from spikeloom.reports.sata import sata_counts, sata_energy, vgg5


def test_dense_operations_are_those_of_our_network():
    network = vgg5()
    counts = sata_counts(network, 8, 8, 0.0, 0.0)
    macs = 8 * sum(stage.macs for stage in network.stages[:-1])
    assert counts.lif == counts.gradients == 1_056_768
    assert counts.backward == counts.update == macs == 534_249_472


def test_sparse_operations_once_the_dense_layer_is_sparse_too():
    macs = 8 * sum(stage.macs for stage in vgg5().stages[:-1])
    assert macs * 0.3 == pytest.approx(160_274_842, abs=1)
    assert macs * 0.1 == pytest.approx(53_424_947, abs=1)


@pytest.mark.parametrize(
    ("timesteps", "bits", "zeros", "total"),
    [
        (4, 2, (0.9, 0.7), 4_798_986_139.142863),
        (8, 8, (0.9, 0.7), 6_459_673_627.307),
        (8, 8, (0.0, 0.0), 6_846_723_911.002),
        (8, 16, (0.9, 0.7), 7_501_254_532.409),
    ],
)
def test_totals_are_the_published_ones(timesteps, bits, zeros, total):
    counts = sata_counts(vgg5(), timesteps, bits, *zeros)
    assert sata_energy(counts, bits)["total"] == pytest.approx(total, rel=1e-12)


def test_the_default_forward_pass():
    energy = sata_energy(sata_counts(vgg5(), 4, 2, 0.9, 0.7), 2)
    assert energy["forward"] == pytest.approx(250_572_776.972, rel=1e-11)
    assert energy["forward compute"] == pytest.approx(625_845.287, rel=1e-9)
