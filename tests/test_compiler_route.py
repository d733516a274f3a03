"""Routes and output lines: nearest ports, line numbers, ports that fill up, the check of the routing pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spikeloom.chip.config import load_config
from spikeloom.chip.packet import FlitLayout
from spikeloom.compiler.fit import DoesNotFit
from spikeloom.compiler.partition import partition
from spikeloom.compiler.pipeline import compile_quantised
from spikeloom.compiler.place import place
from spikeloom.compiler.route import route
from spikeloom.compiler.schedule import schedule
from spikeloom.compiler.verify import CompilerError, check_routing

from .support.program_weights import assert_holds
from .support.quantised_builder import QuantisedBuilder


def wide_output(outputs):
    b = QuantisedBuilder()
    b.input("in", (4,))
    b.population("p", (outputs,))
    b.connect("in", "p", np.random.default_rng(0).integers(1, 99, (outputs, 4)))
    return b.build("p")


def chip(**network):
    return load_config("tiny").replace(
        core={"axons": 4, "neurons": 4, "delay_slots": 2, "route_entries": 16}, network=network
    )


def test_outputs_are_numbered_through_target_and_delay():
    config = chip(columns=3, rows=3, host_columns=[0, 2])
    assert FlitLayout.of(config.many_core).output_lines == 8
    network = wide_output(15)
    program = compile_quantised(network, config).program
    assert_holds(program, network)
    per_port = np.bincount(program.output_lines[:, 0])
    assert per_port.tolist() in (
        [8, 7],
        [7, 8],
    )  # the nearer one is full, the rest leave at the other
    outgoing = program.routes[
        program.register("y")[np.repeat(np.arange(4), np.diff(program.route_offset))]
        + program.routes[:, 2]
        == -1
    ]
    assert len(outgoing) == 15
    assert set(outgoing[:, 4].tolist()) == {0, 1}


def test_too_many_outputs_do_not_fit():
    config = chip(columns=3, rows=3, host_columns=[1])
    with pytest.raises(
        DoesNotFit,
        match=r"^the network needs 9 output lines, the chip has 8; it would fit with more host_columns",
    ):
        compile_quantised(wide_output(9), config)
    assert len(compile_quantised(wide_output(8), config).program.output_lines) == 8


def test_inputs_enter_at_the_nearest_row():
    config = chip(columns=2, rows=6, host_rows=[0, 4], host_columns=[0, 1])
    program = compile_quantised(wide_output(16), config).program
    rows = np.array([0, 4])[program.input_routes[:, 0]] + program.input_routes[:, 2]
    np.testing.assert_array_equal(program.input_routes[:, 2], rows - np.where(rows > 2, 4, 0))
    assert sorted(
        set(zip(program.input_routes[:, 1].tolist(), rows.tolist(), strict=True))
    ) == sorted(zip(program.register("x").tolist(), program.register("y").tolist(), strict=True))


def test_routing_is_checked():
    network, config = wide_output(8), chip(columns=3, rows=3)
    plan = partition(network, config)
    placement = place(network, plan, config)
    good = route(network, plan, schedule(plan, config), placement, config)
    check_routing(network, plan, placement, good, config)
    with pytest.raises(
        CompilerError, match="after pass route, p: must have one route for each copy"
    ):
        check_routing(
            network, plan, placement, replace(good, route_count=good.route_count + 1), config
        )
    with pytest.raises(
        CompilerError, match="after pass route, the inputs: must have one route for each axon"
    ):
        check_routing(
            network, plan, placement, replace(good, input_offset=good.input_offset[::-1]), config
        )
    astray = good.routes.copy()
    astray[:, 2] += 3  # to row 2 instead of -1, where no core is
    with pytest.raises(CompilerError, match=r"^after pass route, (place|core) \(\d, 2\)"):
        check_routing(network, plan, placement, replace(good, routes=astray), config)
