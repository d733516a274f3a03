"""The chip of both halves in RTL: what the engines learn is quantised and runs on the cores, over one host port."""

from __future__ import annotations

import numpy as np
import pytest

from spikeloom.chip.config import load_config
from spikeloom.chip.learn_memory import MemoryMap, unpack_weights
from spikeloom.chip.learn_network import (
    INPUT,
    InputFormat,
    LearnNetwork,
    Neuron,
    Parameters,
    Recipe,
    Stage,
)
from spikeloom.comparing import Case, compare_driven
from spikeloom.compiler.learn_nir import save_learn_network
from spikeloom.compiler.learn_tasks import learn_tasks
from spikeloom.compiling import compile_nir
from spikeloom.data import input_shapes, shape_samples, to_payloads
from spikeloom.hw.cosim.verilated import VerilatedTransport
from spikeloom.hw.driver import HostDriver
from spikeloom.hw.fusion_link import FusionLink
from spikeloom.hw.learn_driver import LearnDriver
from spikeloom.hw.transport import HostLinkError
from spikeloom.learn_comparing import Stalls, StepComparison
from spikeloom.learn_verifying import build_learn_bench
from spikeloom.sim.run import run_many_core
from tests.support.learn_rtl import batches, start

CHIP = load_config("fusion_tiny")
NETWORK = LearnNetwork(
    InputFormat((1, 1, 12), bits=1, scale=1.0, constant=False),
    (
        Stage("hidden", (1, 1, 12), (1, 1, 16), (INPUT,), neuron=Neuron()),
        Stage("readout", (1, 1, 16), (1, 1, 3), (0,)),
    ),
    "learnt",
)
RECIPE = Recipe(timesteps=4, batch=4)


@pytest.fixture(scope="module")
def build():
    return build_learn_bench(CHIP)


def test_what_is_learnt_runs_on_the_cores(build, tmp_path):
    program = learn_tasks(CHIP, NETWORK, RECIPE)
    parameters = start(NETWORK, 3)
    memory = MemoryMap(CHIP.learn, NETWORK, RECIPE, RECIPE.batch)
    with VerilatedTransport(build) as transport:
        training = StepComparison(program, parameters, transport, Stalls(9, 40))
        assert training.run(batches(NETWORK, 3, 4, 4, seed=1)) is None
        learnt = []
        for index, stage in enumerate(NETWORK.stages):
            array = memory.of("masters", index)
            words = unpack_weights(
                training.driver.read(array.row, array.rows),
                (stage.taps, stage.in_channels, stage.out_channels), np.uint32, CHIP.learn.vector.width,
                memory.layout,
            )  # fmt: skip
            learnt.append(words.view(np.float32)[None])
            assert np.array_equal(learnt[-1], parameters.weights[index])
        assert not np.array_equal(learnt[0], start(NETWORK, 3).weights[0])

        path = tmp_path / "learnt.nir"
        save_learn_network(NETWORK, Parameters(learnt, [{}, {}]), path)
        (inputs, _) = batches(NETWORK, 1, 6, 4, seed=2)[0]
        data = {"inputs": inputs.reshape(6, 4, 12)}
        cores = compile_nir(path, CHIP, convention="nir", calibrate=data, timesteps=4).program
        shaped = shape_samples(data, input_shapes(cores.inputs), timesteps=4, where="the test")
        payloads, _ = to_payloads(cores, shaped)
        case = Case(cores, payloads, shaped.timesteps)
        simulated = run_many_core(cores, payloads, 4, signatures=True, record_outputs=True)
        assert simulated.output_record.any()
        link = FusionLink(transport)
        assert compare_driven(case, simulated, HostDriver(CHIP, link.cores)) is None
        # The engines are as they were.
        assert LearnDriver(CHIP, link.engines).identify().errors == 0


def test_each_half_answers_for_itself(build):
    """Wrong frames of one half are no matter to the other."""
    with VerilatedTransport(build) as transport:
        link = FusionLink(transport)
        cores, engines = HostDriver(CHIP, link.cores), LearnDriver(CHIP, link.engines)
        link.engines.send([[0]])
        assert engines.status().errors
        assert not cores.status().errors
        link.cores.send([[11]])
        assert cores.status().errors
        assert not engines.status().errors
        engines.write(3, np.arange(16, dtype=np.uint8))
        assert engines.read(3, 1).tolist() == [list(range(16))]
        with pytest.raises(HostLinkError, match="out of range"):
            engines.write(CHIP.learn.dram.rows, np.zeros(16, np.uint8))
