"""The faults that `mutations.py` plants, one at a time: each changes one place, and tests must notice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """``new`` instead of ``old``, which stands in ``file`` exactly once; ``tests`` are the arguments of pytest."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def _rtl(unit: str, name: str, old: str, new: str, *tests: str) -> Fault:
    """Return a fault in a unit of the RTL, by default one that the unit's own tests must see."""
    return Fault(name, f"hw/cores/{unit}.py", old, new, tests or (f"tests/test_hw_{unit}.py",))


def _kernel(unit: str, name: str, old: str, new: str, *tests: str) -> Fault:
    """Return a fault in a kernel of the simulator; the test of the RTL's unit compares with it."""
    return Fault(name, f"sim/cores/{unit}.py", old, new, tests or (f"tests/test_hw_{unit}.py",))


AXON, DENDRITE, SOMA = "tests/test_hw_axon.py", "tests/test_hw_dendrite.py", "tests/test_hw_soma.py"
GOLDEN = "tests/test_sim_many_core.py"
CHIP = ("tests/test_cosim_chip.py", "-k", "square and every_event")

OF_RTL = (
    _rtl("axon", "values are signed whatever the register says",
         "Cat(total, total[-1] & self.is_signed)", "Cat(total, total[-1])"),
    _rtl("axon", "a held value is written where the walk reads",
         "Cat(axon, held.write_version)", "Cat(axon, ~held.write_version)"),
    _rtl("axon", "the second group's walk begins with the second word",
         "ahead.eq(Mux(ahead.any(), lowest(behind), first))", "ahead.eq(lowest(Mux(ahead.any(), behind, others)))"),
    _rtl("axon", "the second group's walk ends with its first word",
         "Mux(ahead.any(), behind & ~lowest(behind), others)", "behind & ~lowest(behind)"),
    _rtl("axon", "the slot that is left behind keeps its axons",
         "bits.empty.eq(self.start)", "bits.empty.eq(0)"),
    _rtl("axon", "a walk's first word is read a cycle before the last held value shows",
         "m.d.comb += moves.eq(advance | self.start)", "m.d.comb += moves.eq(advance | ~self.walking)"),
    _rtl("held_bits", "held values survive a sample",
         "with m.If(self.clear):", "with m.If(0):", AXON),
    _rtl("held_bits", "a walk sees what is written while it is on",
         "changed.eq(changed | at)", "changed.eq(changed)"),
    _rtl("held_bits", "what is written twice in a walk takes the place of what the walk reads",
         "self.write & ~has_changed", "self.write"),
    _rtl("held_bits", "a walk sees the words that are active now, not when it began",
         "Mux(self.walking, row_before, self.row)", "Mux(0, row_before, self.row)"),
    _rtl("held_bits", "a second write within a walk goes to the version that the walk reads",
         "Mux(has_changed, read(before, place).version, word.version)", "word.version"),
    _rtl("held_bits", "a word is active once more from bits of before the sample",
         "Mux(self.row.bit_select(place, 1), word.active & ~bit, 0)", "word.active & ~bit"),
    _rtl("valid_bits", "a bit that is set unsets its neighbours",
         "Mux(word_counts, word, 0) | (Const(1, CHUNK) << bit)", "Const(1, CHUNK) << bit"),
    _rtl("valid_bits", "a bit is set in a word that was read before the one before it was",
         "word.eq(Mux(goes_on, changed, found_word))", "word.eq(found_word)"),
    _rtl("valid_bits", "a sample does not empty the rows",
         "self.clear | (self.empty & (self.empty_slot == index))", "self.empty & (self.empty_slot == index)"),
    _rtl("accumulate", "an add continues a sum that was never stored",
         "follows_first.eq(read & (read_place == self.place))",
         "follows_first.eq(read_place == self.place)", AXON),
    _rtl("accumulate", "an add after an add to the same word reads what stood there before",
         "continues.eq(follows_first)", "continues.eq(0)", DENDRITE),
    _rtl("accumulate", "an add two after an add to the same word reads what stood there before",
         "Mux(follows_second, last_value,", "Mux(0, last_value,", AXON),
    _rtl("dendrite", "accumulators are a bit too narrow",
         "terms = index_bits(core.axons) - 1", "terms = index_bits(core.axons) - 2"),
    _rtl("dendrite", "2-bit weight -2 loses its carry",
         "is_negative.eq(weight[1])", "is_negative.eq(weight[1] & weight[0])"),
    _rtl("dendrite", "a spike counts as a multiplication",
         "works.eq(valid & ~is_one)", "works.eq(valid)"),
    _rtl("dendrite", "incoming sums survive a sample", "bits.clear.eq(self.clear)", "bits.clear.eq(0)"),
    _rtl("synapse", "the last lane of a mode gets nothing",
         "if (lane + 1) * bits <= self._layout.bits:", "if (lane + 1) * bits < self._layout.bits:", DENDRITE),
    _rtl("soma", "a wrong tap of the random register", "lfsr[5], lfsr[7])", "lfsr[5], lfsr[6])"),
    _rtl("soma", "a refractory neuron draws a random number",
         "s.valid & settings.has_membrane & ~waits & (", "s.valid & settings.has_membrane & ("),
    _rtl("soma", "a refractory time survives a sample",
         "waits = ~self.is_first & (s.stored_refractory_left != 0)", "waits = s.stored_refractory_left != 0"),
    _rtl("soma", "a neuron without routes goes to the outbox",
         "self.send.eq(self.fired & s.route_count.any())", "self.send.eq(self.fired)"),
    _rtl("soma_update", "the synaptic current is rounded half down",
         "Const(1 << (decay_bits - 1), decay_bits)", "Const((1 << (decay_bits - 1)) - 1, decay_bits)", SOMA),
    _rtl("soma_update", "a kind without a synaptic current has what another left there",
         "Mux(settings.current_based, pipe.stage(-1).i_syn, 0)", "Mux(1, pipe.stage(-1).i_syn, 0)", SOMA),
    _rtl("soma_update", "the synaptic current goes on through a refractory time",
         "settings.current_based & ~s.refractory, syn_next", "settings.current_based, syn_next", SOMA),
    _rtl("soma_update", "a random threshold beyond the membranes is reached by the highest",
         "threshold=saturate(s.full_threshold, bits + 1)", "threshold=saturate(s.full_threshold, bits)", SOMA),
    _rtl("soma_update", "a membrane below 0 is cut where several spikes are counted",
         "rest=Mux(is_negative, s.u, s.u & s.rest_mask)", "rest=s.u & s.rest_mask", SOMA),
    _rtl("soma_update", "a current at its limit is not counted",
         "at_limit(s.u) | (settings.current_based & at_limit(s.i_syn_next))", "at_limit(s.u)", SOMA),
    _rtl("soma_update", "a difference is not held at the floor",
         "Mux(subtracts, s.is_lowered, ~resets & s.is_below)", "Mux(subtracts, 0, ~resets & s.is_below)", SOMA),
    _rtl("soma_update", "the floor acts on what a reset leaves, too",
         "s.is_lowered, ~resets & s.is_below)", "s.is_lowered, s.is_below)", SOMA),
    _rtl("arithmetic", "a shift of a negative number by more than the width is not clipped",
         "fits = ~differs.any() & ~(only_zero & sign)", "fits = ~differs.any()"),
    _rtl("schedule", "a core computes more timesteps than the sample has",
         "(phase == 0) & (left != 0) & (r.neurons != 0)", "(phase == 0) & (r.neurons != 0)"),
    _rtl("schedule", "a group is the last once the group behind it is",
         "remaining <= lanes << 1", "remaining <= lanes"),
    _rtl("schedule", "a neuron too many is taken of each group",
         "is_any_left.eq(left != 1)", "is_any_left.eq(left != 0)"),
    _rtl("schedule", "neurons beyond those in use are fetched",
         "at_work & is_neuron", "at_work"),
    _rtl("schedule", "a group whose walk is as long as it has lanes waits a cycle",
         "walking & ~self.more & old_enough", "walking & ~self.more & ended"),
    _rtl("schedule", "a group counts a cycle wrongly until it is as old as its lanes",
         "old_enough.eq(age + 2 == lanes)", "old_enough.eq(age + 1 == lanes)"),
    _rtl("sender", "the outbox counts as sent while its last flit waits",
         "self.o.valid & self.o.ready & ~has_word", "self.o.valid & ~has_word"),
    _rtl("router", "turns survive a sample", "arbiter.restart.eq(self.sample)", "arbiter.restart.eq(0)"),
    _rtl("router", "an input can count as empty while a flit waits",
         "self.empty.eq(~Cat(fifo.o.valid for fifo in self.fifos.values()).any())",
         "self.empty.eq(~Cat(fifo.o.valid for fifo in self.fifos.values()).all())"),
    _rtl("arbiter", "the turn stays at the input that was served",
         "self.chosen[a:b].any()", "self.chosen[a + 1:b].any()", "tests/test_hw_router.py"),
    _rtl("fifo", "the ring has a place too many", "place == self.depth - 1", "place == self.depth"),
    _rtl("block_fifo", "a word on its way has no place",
         "out.level + is_coming < OUT_WORDS", "out.level < OUT_WORDS"),
    _rtl("barrier", "every fourth core is not waited for",
         "below[n * RADIX : (n + 1) * RADIX].all()", "below[n * RADIX : (n + 1) * RADIX - 1].all()"),
    _rtl("sequencer", "the root believes an answer from before the timestep",
         "cycle == config.start_cycles + stages - 1", "cycle == config.start_cycles + stages - 2"),
    _rtl("sequencer", "a timestep as long as its period is an overrun",
         "is_late.eq(is_full)", "is_late.eq(is_full | (cycle == period - 2))"),
    _rtl("host", "a timestep starts before its flits are there",
         "(queue.level >= command.counts[port])", "(queue.level != 0) | (command.counts[port] == 0)"),
    _rtl("host", "an output in the last cycle is not counted",
         "end.outputs.eq(outputs + sum(arrives))", "end.outputs.eq(outputs)"),
    _rtl("load_check", "a program whose frames were cut short is complete",
         "(data == crc) & ~is_spoiled", "data == crc", "tests/test_hw_host.py"),
    _rtl("load_node", "a row begins where an incomplete one has stopped",
         "[rows_left.eq(0), place.eq(0)]", "rows_left.eq(0)"),
    _rtl("load_node", "a read of no rows is answered",
         "& (header.op == HostOp.READ) & (header.count != 0)", "& (header.op == HostOp.READ)"),
    _rtl("host_encoder", "the end of a timestep is said once more",
         "            & ~self.end.ready\n", "", "tests/test_hw_host.py"),
    _rtl("counters", "the lanes that multiply count as one",
         '("synops", "multiplies")', '("synops",)'),
    _rtl("signatures", "a word is absorbed as it is a cycle later",
         "inputs = Cat(self.state, word)", "inputs = Cat(self.state, self.word)"),
    _rtl("core", "active axons are counted once a group",
         "schedule.step & (schedule.group == 0)", "schedule.step", *CHIP),
    _rtl("core", "a value is held for the walk only while axons take their turns",
         "axon.walking.eq(schedule.computing)", "axon.walking.eq(schedule.step)", *CHIP),
    _rtl("tile", "events are signed with the cycle before",
         "self._many_core.tree_stages + 1, cycle + 1", "self._many_core.tree_stages, cycle + 1", *CHIP),
)  # fmt: skip

OF_SIMULATOR = (
    _kernel("axon", "an axon held at 0 is active", "active = 1 if value != 0 else 0", "active = 1"),
    _kernel("axon", "a held value is not added to the slot's",
            "axon_value_of(value + s.held_value[c, a], bits, is_signed)", "axon_value_of(value, bits, is_signed)"),
    _kernel("dendrite", "a spike counts as a multiplication", "if value == 1:", "if value == 0:"),
    _kernel("soma", "kinds that do not spike are reset",
            "timing = r[RESET_TIMING] if spiking else 0", "timing = r[RESET_TIMING]"),
    _kernel("soma", "the floor is the threshold", "max(v_next, -threshold)", "max(v_next, threshold)"),
    _kernel("soma", "a neuron of which both states are at a limit counts twice",
            "limited += at_limit | _at_limit(u, membrane_bits)", "limited += at_limit + _at_limit(u, membrane_bits)"),
    _kernel("router", "the turn stays at the input that was served",
            "turn[r, output] = port + 1 if port < 4 else 0", "turn[r, output] = port"),
    _kernel("router", "a FIFO takes a flit in the cycle in which it is full",
            "ready = fill[r + 1, WEST] < depth", "ready = fill[r + 1, WEST] <= depth"),
    _kernel("sender", "all routes are those of the core's first neuron",
            "g.offset[c] + g.base[c, n] + s.route[c]", "g.offset[c] + s.route[c]"),
    _kernel("timing", "a group waits for no lanes", "max(active + 1, lanes)", "(active + 1)", GOLDEN),
    _kernel("timestep", "a core that sends nothing is not waited for",
            "quiet = max(quiet, sender.cycle[c])", "quiet = max(quiet, 0)", GOLDEN),
    _kernel("timestep", "a timestep as long as its period is an overrun",
            "if length > p.fixed_period:", "if length >= p.fixed_period:", "tests/test_sim_run.py"),
    _kernel("timestep", "turns survive a sample", "s.router.turn[:] = 0", "s.router.turn[:] += 0", GOLDEN),
    _kernel("observe", "a flit that leaves east is signed as it came", "dx -= 1", "dx -= 0",
            "tests/test_sim_signature.py"),
    _kernel("observe", "a router takes a flit from its sender a cycle late in waves and traces",
            "row[0], row[1], row[2] = k, cycle, sender", "row[0], row[1], row[2] = k, cycle + 1, sender",
            "tests/test_cosim_waves.py"),
    _kernel("timestep", "outputs of a neuron are those of the next one",
            "of_all[s.sender.neuron[c, i]] += 1", "of_all[s.sender.neuron[c, i] - 1] += 1",
            "tests/test_reports_neurobench.py"),
)  # fmt: skip

# What only one of the machines uses: the other has an implementation of its own.
OF_CONTRACT = (
    Fault("membranes are rounded half down", "chip/arithmetic.py",
          "(low * factor + (1 << (shift - 1))) >> shift", "(low * factor + (1 << (shift - 1)) - 1) >> shift", (SOMA,)),
    Fault("a wrong tap of the random register", "chip/arithmetic.py",
          "(state >> 7)) & 1", "(state >> 6)) & 1", (SOMA,)),
    Fault("a table's address wraps", "chip/arithmetic.py",
          "saturate(scale_round(value, factor, shift), 8) & 255", "scale_round(value, factor, shift) & 255", (SOMA,)),
    Fault("the closed form lacks the soma's rhythm", "chip/config.py",
          "group * max(dendrite, lanes)", "group * dendrite", ("tests/test_hw_schedule.py",)),
    Fault("the driver sends held inputs a timestep late", "hw/inputs.py",
          "program.input_routes[:, 4] == k + 1", "program.input_routes[:, 4] == k", ("tests/test_hw_driver.py",)),
    Fault("a memory's output does not hold", "hw/rtl/spikeloom_ram.v",
          "if (r_en) r_data <=", "r_data <=", ("tests/test_hw_memory.py", "-k", "both_forms")),
)  # fmt: skip

FAULTS = OF_RTL + OF_SIMULATOR + OF_CONTRACT
