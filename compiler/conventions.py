"""What a .nir file does not say, as explicit options: defaults per producer, detection, refusal."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np

from .nir_file import NetworkError, NirGraph, NirNode

PRODUCERS = ("nir", "snntorch", "spikingjelly", "norse", "sinabs")
_CHOICES: dict[str, tuple[str, ...]] = {
    "reset": ("value", "zero", "subtract", "wipe"),
    "reset_timing": ("same", "next"),
    "compare": ("gt", "ge"),
    "if_gain": ("r*dt", "r"),
    "cuba_gain": ("w_in*dt/tau_syn", "w_in"),
    "leak": ("euler", "exponential"),
    "initial": ("zero", "v_leak", "v_reset"),
}
DT_EXPORTERS = 1e-4  # the step that snnTorch and SpikingJelly write their time constants with
_NORSE_BELOW = 9e-5  # the other exporters write no time constant below 1e-4
DT_NORSE = 1e-6  # Norse writes tau = dt / tau_inv with dt = 1 ms; read back with dt squared


@dataclass(frozen=True)
class Convention:
    """How the neurons of a file are to be read; every field changes results.

    Attributes
    ----------
    producer
        The framework whose conventions are the defaults.
    dt
        Length of a timestep in the file's unit of time (seconds; sinabs counts timesteps).
    reset
        ``value`` (to v_reset), ``zero``, ``subtract`` (the threshold) or ``wipe`` (the whole
        update is lost).
    reset_timing
        ``same`` timestep as the spike, or the ``next``, decided on the stored membrane.
    compare
        ``gt``: the membrane must exceed the threshold; ``ge``: it may equal it.
    recurrent_bias_at_start
        Whether the bias of a transform on a recurrent path acts in the first timestep.
    max_spikes, floor
        Spikes that a neuron may emit in a timestep; whether an IF's membrane is held at or above
        minus its threshold (sinabs).
    if_gain, cuba_gain, leak
        Input gain of IF and I; of the synaptic current; and whether a membrane decays by
        ``1 - dt/tau`` with gain ``r*dt/tau`` or by ``exp(-dt/tau)`` with gain ``r`` (sinabs).
    initial
        The membrane before the first timestep.
    """

    producer: str
    dt: float = DT_EXPORTERS
    reset: str = "value"
    reset_timing: str = "same"
    compare: str = "gt"
    recurrent_bias_at_start: bool = True
    max_spikes: int = 1
    floor: bool = False
    if_gain: str = "r*dt"
    cuba_gain: str = "w_in*dt/tau_syn"
    leak: str = "euler"
    initial: str = "zero"

    def __post_init__(self) -> None:
        for field, allowed in _CHOICES.items():
            if getattr(self, field) not in allowed:
                raise NetworkError(
                    f"{field} must be one of {', '.join(allowed)}, not {getattr(self, field)!r}."
                )
        if not (np.isfinite(self.dt) and self.dt > 0):
            raise NetworkError(f"dt must be a positive number of seconds, not {self.dt!r}.")
        if self.max_spikes < 1:
            raise NetworkError(f"max_spikes must be at least 1, not {self.max_spikes!r}.")
        if self.max_spikes > 1 and (self.reset, self.reset_timing) != ("subtract", "same"):
            raise NetworkError(
                "Several spikes in a timestep need reset=subtract and reset_timing=same, not "
                f"{self.reset} and {self.reset_timing}."
            )

    def as_text(self) -> dict[str, str]:
        """Return every option as text, for reports."""
        return {key: str(value) for key, value in asdict(self).items()}


DEFAULTS: dict[str, Convention] = {
    "nir": Convention("nir"),
    "snntorch": Convention("snntorch", reset="subtract", reset_timing="next"),
    "spikingjelly": Convention("spikingjelly", compare="ge", initial="v_reset"),
    "norse": Convention(
        "norse",
        dt=DT_NORSE,
        recurrent_bias_at_start=False,
        if_gain="r",
        cuba_gain="w_in",
        initial="v_leak",
    ),
    "sinabs": Convention(
        "sinabs",
        dt=1.0,
        reset="subtract",
        compare="ge",
        max_spikes=255,
        floor=True,
        if_gain="r",
        leak="exponential",
    ),
}
_ASSUMES = {
    "nir": "the NIR text: Euler with dt 1e-4 s, >, reset to v_reset in the same timestep",
    "snntorch": "dt 1e-4 s, >, threshold subtracted in the next timestep",
    "spikingjelly": "dt 1e-4 s, >=, reset to v_reset in the same timestep",
    "norse": "dt 1e-6 (its default export), >, reset to v_reset, w_in as the gain, "
    "no recurrent bias in the first timestep",
    "sinabs": "tau in timesteps, exponential leak, >=, several spikes a timestep, subtract, floor",
}


def resolve(
    graph: NirGraph, producer: str = "auto", **options: object
) -> tuple[Convention, tuple[str, ...]]:
    """Return the convention to read ``graph`` with, and notes on what was assumed.

    Parameters
    ----------
    producer
        One of ``PRODUCERS``, or ``auto`` to recognise it where the file gives it away.
    options
        Fields of `Convention` that replace the producer's default; None leaves the default.

    Raises
    ------
    NetworkError
        ``auto`` does not recognise the producer, or an option is not possible.
    """
    notes: list[str] = []
    if producer == "auto":
        producer, reason = detect(graph)
        notes.append(f"Read as written by {producer}: {reason}. State the producer to override.")
    elif producer not in PRODUCERS:
        raise NetworkError(
            f"producer must be auto or one of {', '.join(PRODUCERS)}, not {producer!r}."
        )
    default = DEFAULTS[producer]
    unknown = [key for key in options if key not in asdict(default) or key == "producer"]
    if unknown:
        raise NetworkError(f"There is no convention option {', '.join(unknown)}.")
    given = {key: value for key, value in options.items() if value is not None}
    resets = {f"{n.name}" for n in graph.nodes.values() if _nonzero(n, "v_reset")}
    if resets and "reset" not in given and default.reset != "value":
        given["reset"] = "value"
        notes.append(
            f"The file resets {', '.join(sorted(resets))} to a v_reset other than 0, so spikes "
            f"reset to a value although {producer} defaults to {default.reset}."
        )
    other_reset = given.get("reset", default.reset) != "subtract"
    if other_reset and default.max_spikes > 1 and "max_spikes" not in given:
        given["max_spikes"] = 1
        notes.append("One spike a timestep, since several need a reset by subtraction.")
    convention = replace(default, **given)  # pyright: ignore[reportArgumentType]
    assumed = [
        f"{key} {value}" for key, value in asdict(convention).items()
        if key in ("dt", "reset", "reset_timing", "compare", "max_spikes") and key not in given
    ]  # fmt: skip
    if assumed and graph.of_type("LIF", "IF", "CubaLIF"):
        notes.append(f"Not in the file, taken from {producer}'s defaults: {', '.join(assumed)}.")
    return convention, tuple(notes)


def detect(graph: NirGraph) -> tuple[str, str]:
    """Return the producer that the file gives away, and what gave it away.

    Only give-aways that no other known exporter shares are used; a choice that could be wrong is
    the user's.

    Raises
    ------
    NetworkError
        The file could come from several frameworks.
    """
    leaky = graph.of_type("LIF", "CubaLIF", "LI", "CubaLI")
    taus = _all(leaky, "tau", "tau_mem", "tau_syn")
    gains = _all(leaky, "r", "w_in")
    if taus.size and taus.min() >= 1e-6 and taus.max() < _NORSE_BELOW and (gains == 1).all():
        return "norse", (
            f"every time constant lies below {_NORSE_BELOW:g} ({taus.max():.3g} at most) and every r and w_in "
            "is 1, as when Norse writes dt/tau_inv"
        )
    spiking_if = graph.of_type("IF")
    if spiking_if and not leaky and np.isclose(_all(spiking_if, "r"), 1 / DT_EXPORTERS).all():
        return "spikingjelly", "every IF has r = 1/dt = 10000"
    if leaky and not spiking_if and _gains_are_steps(leaky):
        if all(_is_kind(n, "f4") for n in leaky):
            return "snntorch", "every r is tau/1e-4 (and w_in tau_syn/1e-4) in single precision"
        traced = all(n.startswith("_") for n in graph.nodes if graph.nodes[n].type in _NAMED)
        if traced and all(_is_kind(n, "f8") and "v_reset" in n.params for n in leaky):
            return (
                "spikingjelly",
                "every r is tau/1e-4 in double precision, nodes are called _0, _1",
            )
    choices = "\n".join(f"  {name}: {_ASSUMES[name]}" for name in PRODUCERS)
    raise NetworkError(
        "The file does not say which framework wrote it, and frameworks mean different neurons by "
        f"the same file. State the producer:\n{choices}\nSingle options may be changed as well."
    )


_NAMED = ("LIF", "CubaLIF", "Affine", "Linear", "Conv1d", "Conv2d")


def _nonzero(node: NirNode, field: str) -> bool:
    return field in node.params and bool(np.any(node.floats(field) != 0))


def _all(nodes: list[NirNode], *fields: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    found = [node.floats(f).ravel() for node in nodes for f in fields if f in node.params]
    return np.concatenate(found) if found else np.empty(0)


def _gains_are_steps(nodes: list[NirNode]) -> bool:
    """Return whether every r is tau/1e-4 and every w_in tau_syn/1e-4, with one other than 1."""
    seen_other = False
    for node in nodes:
        tau = node.floats("tau" if "tau" in node.params else "tau_mem")
        pairs = [("r", tau)]
        if "tau_syn" in node.params:
            pairs.append(("w_in", node.floats("tau_syn")))
        for field, time in pairs:
            gain = node.floats(field)
            if not np.isfinite(time).all() or not np.isfinite(gain).all():
                return False
            if gain.size != time.size or not np.allclose(
                gain.ravel(), time.ravel() / DT_EXPORTERS, rtol=1e-5, atol=0
            ):
                return False
            seen_other |= bool((np.abs(gain - 1) > 1e-3).any())
    return seen_other


def _is_kind(node: NirNode, kind: str) -> bool:
    field = "tau" if "tau" in node.params else "tau_mem"
    return node.params[field].dtype.str[1:] == kind and node.params["r"].dtype.str[1:] == kind
