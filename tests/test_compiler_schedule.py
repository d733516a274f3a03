"""Schedule: depths, skip connections, loops that need several chip timesteps, delays beyond the slots."""

from __future__ import annotations

import numpy as np
import pytest

from spikeloom.chip.config import load_config
from spikeloom.compiler.fit import DoesNotFit
from spikeloom.compiler.partition import partition
from spikeloom.compiler.schedule import schedule
from spikeloom.compiler.verify import check_schedule

from .support.quantised_builder import QuantisedBuilder


def run(edges, *, sizes=None, slots=8, axons=16, inputs=("in",)):
    """Schedule a network given as "source -> target" edges with delays; all populations have 4 neurons if not said."""
    names = dict.fromkeys(name for source, target, _ in edges for name in (source, target))
    sizes = dict.fromkeys(names, 4) | (sizes or {})
    b = QuantisedBuilder()
    for name in inputs:
        b.input(name, (sizes[name],))
    for name in [n for n in names if n not in inputs]:
        b.population(name, (sizes[name],))
    rng = np.random.default_rng(0)
    for source, target, delay in edges:
        b.connect(source, target, rng.integers(1, 99, (sizes[target], sizes[source])), delay)
    config = load_config("tiny").replace(
        core={"delay_slots": slots, "axons": axons}, network={"columns": 8, "rows": 8}
    )
    plan = partition(b.build(list(names)[-1]), config)
    times = schedule(plan, config)
    check_schedule(plan, times, config)
    return times, dict(zip(plan.nodes, times.depth, strict=True))


def test_a_chain_has_depths_one_two_three():
    times, depth = run([("in", "a", 0), ("a", "b", 0), ("b", "c", 0)])
    assert times.steps == 1
    assert depth == {"in": 0, "a": 1, "b": 2, "c": 3}
    assert times.explanation == ""


def test_a_skip_connection_waits():
    times, depth = run([("in", "a", 0), ("a", "b", 0), ("b", "c", 0), ("a", "c", 0)])
    assert depth == {"in": 0, "a": 1, "b": 2, "c": 3}
    skip = next(e for e in times.edges if e.source == 1 and e.target == 3)
    assert skip.flit_delay(times.depth, times.steps) == 2


def test_partial_cores_take_one_more():
    _, depth = run([("in", "a", 0), ("a", "b", 0)], sizes={"in": 20})
    assert depth == {"in": 0, "a": 2, "b": 3}


def test_a_self_loop_needs_one_step():
    times, depth = run([("in", "a", 0), ("a", "a", 1)])
    assert (times.steps, depth["a"]) == (1, 1)


def test_a_loop_over_two_populations_needs_two_steps():
    times, depth = run([("in", "a", 0), ("a", "b", 0), ("b", "a", 1)])
    assert (times.steps, depth["a"], depth["b"]) == (2, 1, 2)
    assert times.explanation.startswith("2 chip timesteps a network timestep: the loop ")
    assert "a" in times.explanation
    assert "b" in times.explanation


def test_a_loop_with_delay_two_needs_one_step():
    times, _ = run([("in", "a", 0), ("a", "b", 0), ("b", "a", 2)])
    assert times.steps == 1


def test_a_recurrent_fan_in_beyond_one_core_needs_two_steps():
    times, _ = run([("in", "a", 0), ("a", "a", 1)], sizes={"a": 20})
    assert times.steps == 2


def test_depths_move_so_that_delays_fit_the_slots():
    # Longest paths alone would put s at depth 1 and its flit at a delay of 4.
    edges = [
        ("in", "a", 0),
        ("a", "b", 0),
        ("b", "c", 0),
        ("c", "d", 0),
        ("in", "s", 0),
        ("s", "d", 0),
    ]
    _, depth = run(edges, slots=3)
    assert depth["s"] == 2
    assert depth["d"] == 4


def test_a_delay_beyond_the_slots_does_not_fit():
    edges = [("in", "a", 0), ("a", "b", 7)]
    with pytest.raises(DoesNotFit) as caught:
        run(edges, slots=4)
    error = caught.value
    # The 8 chip timesteps from the input to b divide over two flits of 4 at best.
    assert (error.resource, error.where, error.available) == ("delay_slots", "the path a -> b", 4)
    assert error.asked == 5
    assert str(error).endswith(
        "needs 5 delay slots, the chip has 4; it would fit with delay_slots of at least 5, or a shorter delay, "
        "or fewer layers beside a skip connection"
    )
    _, depth = run(edges, slots=5)
    assert (depth["a"], depth["b"]) == (4, 1)


def test_a_loop_without_delay_is_named():
    with pytest.raises(ValueError, match=r"^the loop (a -> b -> a|b -> a -> b) has no delay"):
        run([("in", "a", 0), ("a", "b", 0), ("b", "a", 0)])
