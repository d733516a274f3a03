"""The passes from a network to a program, in order, each checked after; what each did stands in its record."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from numpy.typing import NDArray

from ..chip.config import ChipConfig
from ..chip.program import ManyCoreProgram, check_program
from .emit import emit
from .fit import Resources, tally
from .graph import Network
from .partition import Partition, partition
from .place import Placement, place
from .quantise import quantise
from .quantised import QuantisedNetwork
from .records import (
    Description,
    PassRecord,
    describe_partition,
    describe_placement,
    describe_program,
    describe_quantised,
    describe_routing,
    describe_schedule,
    plain,
)
from .route import Routing, route
from .schedule import Schedule, schedule
from .verify import check_partition, check_placement, check_quantised, check_routing, check_schedule

COMPILER_VERSION = "spikeloom-compiler 1"

_log = logging.getLogger(__name__)
_Some = TypeVar("_Some")


@dataclass(frozen=True)
class Compiled:
    """A program, the integers that it holds, the records of the passes and the resources that it takes."""

    program: ManyCoreProgram
    quantised: QuantisedNetwork
    records: tuple[PassRecord, ...]
    resources: Resources


@dataclass(frozen=True)
class Work:
    """What the passes have made so far; each pass adds its result and changes nothing else."""

    config: ChipConfig
    seed: int
    activity: Mapping[str, float]
    calibration: NDArray[Any] | None = None
    weight_bits: int | None = None
    ternary: bool = False
    network: Network | None = None
    quantised: QuantisedNetwork | None = None
    plan: Partition | None = None
    times: Schedule | None = None
    placement: Placement | None = None
    routing: Routing | None = None
    program: ManyCoreProgram | None = None
    records: tuple[PassRecord, ...] = ()


@dataclass(frozen=True)
class Pass:
    """A named step: ``run`` adds a result, ``check`` raises if it is wrong, ``describe`` gives summary and details."""

    name: str
    run: Callable[[Work], Work]
    check: Callable[[Work], None]
    describe: Callable[[Work], Description]


def _made(value: _Some | None) -> _Some:
    """Return what an earlier pass made."""
    assert value is not None, "a pass ran before those whose results it needs"
    return value


def _quantise(work: Work) -> Work:
    made = quantise(
        _made(work.network),
        work.config,
        calibration=work.calibration,
        weight_bits=work.weight_bits,
        ternary=work.ternary,
    )
    return replace(work, quantised=made)


def _partition(work: Work) -> Work:
    return replace(work, plan=partition(_made(work.quantised), work.config))


def _schedule(work: Work) -> Work:
    return replace(work, times=schedule(_made(work.plan), work.config))


def _place(work: Work) -> Work:
    made = place(
        _made(work.quantised), _made(work.plan), work.config, seed=work.seed, activity=work.activity
    )
    return replace(work, placement=made)


def _route(work: Work) -> Work:
    made = route(
        _made(work.quantised),
        _made(work.plan),
        _made(work.times),
        _made(work.placement),
        work.config,
    )
    return replace(work, routing=made)


def _emit(work: Work) -> Work:
    network, placement = _made(work.quantised), _made(work.placement)
    resources = tally(
        network, _made(work.plan), _made(work.times), _made(work.routing), work.config
    )
    meta: dict[str, Any] = {
        "compiler": COMPILER_VERSION,
        "seed": work.seed,
        "convention": dict(network.network.convention),
        "notes": [*network.network.notes, *network.notes],
        "losses": [plain(vars(loss)) for loss in network.losses],
        "placement": {
            "naive_cost": placement.naive_cost,
            "start_cost": placement.start_cost,
            "final_cost": placement.final_cost,
            "saved_percent": placement.saved_percent,
            "unit": "flit hops a network timestep, estimated",
        },
        "passes": [{"name": record.name, "summary": record.summary} for record in work.records],
        "resources": resources.to_list(),
    }
    program = emit(
        network,
        _made(work.plan),
        _made(work.times),
        placement,
        _made(work.routing),
        work.config,
        meta,
    )
    return replace(work, program=program)


PASSES = (
    Pass(
        "quantise",
        _quantise,
        lambda w: check_quantised(_made(w.quantised), w.config),
        lambda w: describe_quantised(_made(w.quantised)),
    ),
    Pass(
        "partition",
        _partition,
        lambda w: check_partition(_made(w.quantised), _made(w.plan), w.config),
        lambda w: describe_partition(_made(w.quantised), _made(w.plan)),
    ),
    Pass(
        "schedule",
        _schedule,
        lambda w: check_schedule(_made(w.plan), _made(w.times), w.config),
        lambda w: describe_schedule(_made(w.plan), _made(w.times)),
    ),
    Pass(
        "place",
        _place,
        lambda w: check_placement(_made(w.plan), _made(w.placement), w.config),
        lambda w: describe_placement(_made(w.placement)),
    ),
    Pass(
        "route",
        _route,
        lambda w: check_routing(
            _made(w.quantised), _made(w.plan), _made(w.placement), _made(w.routing), w.config
        ),
        lambda w: describe_routing(_made(w.routing)),
    ),
    Pass(
        "emit",
        _emit,
        lambda w: check_program(_made(w.program)),
        lambda w: describe_program(_made(w.program)),
    ),
)


def compile_network(
    network: Network,
    config: ChipConfig,
    *,
    calibration: NDArray[Any] | None = None,
    weight_bits: int | None = None,
    ternary: bool = False,
    seed: int = 0,
    activity: Mapping[str, float] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Compiled:
    """Compile a network for a chip.

    Parameters
    ----------
    network
        From the front end.
    config
        The chip.
    calibration
        Samples on which quantisation chooses its scales, as `quantise` takes them.
    weight_bits, ternary
        Width of the weights; the core's if not given.
    seed
        Of the placement; the same arguments give the same program.
    activity
        Expected flits a neuron and timestep of inputs and populations, for the placement; 0.1 where absent.
    progress
        Called with the name of each pass before it runs.

    Raises
    ------
    DoesNotFit
        If a resource of the chip does not suffice: which, how much was asked, what would make it fit.
    """
    work = Work(
        config,
        seed,
        dict(activity or {}),
        calibration=calibration,
        weight_bits=weight_bits,
        ternary=ternary,
        network=network,
    )
    return _run(work, PASSES, progress)


def compile_quantised(
    quantised: QuantisedNetwork,
    config: ChipConfig,
    *,
    seed: int = 0,
    activity: Mapping[str, float] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Compiled:
    """Compile a network that is in integers already: all passes but the first; see `compile_network`."""
    work = Work(
        config,
        seed,
        dict(activity or {}),
        network=quantised.network,
        quantised=quantised,
    )
    PASSES[0].check(work)
    return _run(work, PASSES[1:], progress)


def _run(work: Work, passes: tuple[Pass, ...], progress: Callable[[str], None] | None) -> Compiled:
    for step in passes:
        if progress is not None:
            progress(step.name)
        work = step.run(work)
        step.check(work)
        summary, details = step.describe(work)
        _log.info("%s: %s", step.name, summary)
        work = replace(work, records=(*work.records, PassRecord(step.name, summary, details)))
    quantised = _made(work.quantised)
    resources = tally(
        quantised, _made(work.plan), _made(work.times), _made(work.routing), work.config
    )
    return Compiled(_made(work.program), quantised, work.records, resources)
