"""The countable events: name, the unit that raises it, its exact meaning; the names of counters, costs and reports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """One kind of event: ``name``, ``unit`` that raises it, and what exactly is counted."""

    name: str
    unit: str
    meaning: str


# Counters of a core, in the order of the columns of a counter array.
CORE_EVENTS = (
    Event("updates", "core", "timesteps in which the core computed"),
    Event("compute_cycles", "core", "cycles from the first dendrite cycle to the last soma cycle"),
    Event("axon_writes", "axon", "flits added to an axon's value, of one timestep or held"),
    Event("active_axons", "axon", "axons read, one per timestep in which the axon has a value"),
    Event("weight_reads", "synapse", "words of lanes x weight_bits read from the weight memory"),
    Event("synops", "dendrite", "weights applied to a neuron in use, zero weights included"),
    Event("multiplies", "dendrite", "those of the synops whose axon value is not 1, so that the multiplier works"),
    Event("sum_writes", "dendrite", "flits added to a neuron's incoming sum"),
    Event("neuron_updates", "soma", "neurons updated"),
    Event("spikes", "soma", "neurons that emitted a spike, an activation, a sum or a membrane in a timestep"),
    Event("saturations", "soma", "neuron updates that leave a membrane or a synaptic current at its limit"),
    Event("flits_sent", "sender", "flits handed to the router, one per destination"),
    Event("send_stalls", "sender", "cycles in which a flit waited for the router's local input"),
)  # fmt: skip

# Counters of a router: flits forwarded by each output port, in the order of the router's ports.
PORTS = ("local", "north", "east", "south", "west")
ROUTER_EVENTS = tuple(
    Event(f"hops_{port}", "router", f"flits forwarded by the {port} output") for port in PORTS
)

# Counters of the whole chip.
CHIP_EVENTS = (
    Event("cycles", "chip", "clock cycles, from the start of a sample to its end"),
    Event("timesteps", "chip", "chip timesteps, the pipeline's fill included"),
    Event("host_flits_in", "host", "flits injected by the host"),
    Event("host_flits_out", "host", "flits received by the host"),
    Event("host_stalls", "host", "cycles in which an input flit waited for its router"),
    Event("overruns", "chip", "timesteps of fixed length whose work was not done in time"),
)

CORE_EVENT_INDEX = {event.name: index for index, event in enumerate(CORE_EVENTS)}
