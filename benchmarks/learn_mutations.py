"""The checks of the learning half: plant a fault in RTL, kernels or commands, and see whether tests turn red.

Usage: python benchmarks/learn_mutations.py [--only WORD ...] [--list]

As mutations.py, with the faults below. The exit code is 1 if a fault is not caught.
"""

from __future__ import annotations

import sys

from mutations import main
from planted_faults import Fault

# Each as narrow as it can be: a test that is not needed is a model that is built in vain.
FP = ("tests/test_hw_fp.py", "-k", "sums_and_products or another_format or conversions or scaling")
TABLE = ("tests/test_hw_engines_lookup.py", "-k", "tables_follow")
FORWARD = ("tests/test_hw_engines_lookup.py", "-k", "words_and_cycles and machine0")
UPDATE = ("tests/test_hw_engines_lookup.py", "-k", "words_and_cycles and machine1")
BACKWARD = ("tests/test_hw_engines_backward.py", "-k", "small")
ROWS = ("tests/test_hw_engines_backward.py", "-k", "odd")
VECTOR = ("tests/test_hw_engines_vector.py", "-k", "equal_the_kernels or many_rows")
QUEUES = ("tests/test_hw_engines_queues.py", "-k", "start_and_end")
CHIP = ("tests/test_cosim_learn.py", "-k", "two_steps or overflow")
ERRORS = ("tests/test_cosim_learn.py", "-k", "frames_that or error_of or too_long")
CYCLES = ("tests/test_sim_learn_cycles.py",)
ROUNDED = ("tests/test_sim_learn_golden.py", "-k", "rounded_before")
MICROCODE = ("tests/test_chip_learn_microcode.py", "-k", "equal_the_kernels")


def _fp(unit: str, name: str, old: str, new: str) -> Fault:
    return Fault(name, f"hw/fp/{unit}.py", old, new, FP)


def _rtl(unit: str, name: str, old: str, new: str, tests: tuple[str, ...]) -> Fault:
    return Fault(name, f"hw/engines/{unit}.py", old, new, tests)


def _kernel(unit: str, name: str, old: str, new: str, tests: tuple[str, ...]) -> Fault:
    return Fault(name, f"sim/engines/{unit}.py", old, new, tests)


def _commands(name: str, old: str, new: str) -> Fault:
    return Fault(name, "compiler/learn_commands.py", old, new, CHIP)


OF_SIMULATOR = (
    _kernel("timeline", "the channel goes to the first queue that asks",
            "queue = (last_served + step) % _QUEUES", "queue = step % _QUEUES", CYCLES),
    _kernel("timeline", "a transfer is there a cycle late",
            "channel_free + latency", "channel_free + latency + 1", CYCLES),
    _kernel("timeline", "a command is there as soon as the one before is taken",
            "head[queue] += 1\n                fetched[queue] = now + fetch",
            "head[queue] += 1\n                fetched[queue] = now", CYCLES),
    _kernel("backward", "a block of weights waits for no half of the rows' memories",
            "announced = max(now, done_before)", "announced = now", CYCLES),
    _kernel("backward", "taps that no position lies under take no cycle",
            "now += 1  # to ask whether", "now += 0  # to ask whether", CYCLES),
    _kernel("backward", "padded output channels are not sent",
            "words = min(depth, outputs - block * depth)", "words = min(depth, out_channels - block * depth)", CYCLES),
    _kernel("vector", "membranes are compared before they are rounded",
            "value = rounded(value, form)\n                now[i] = value\n                fired[i] = _spikes(value,",
            "now[i] = rounded(value, form)\n                fired[i] = _spikes(value,", ROUNDED),
    _kernel("vector", "the exponentials' sum starts with the last class",
            "for c in range(classes):\n                gradient[c] = _exponential",
            "for c in range(classes - 1, -1, -1):\n                gradient[c] = _exponential", MICROCODE),
    _kernel("vector", "the gradient of a mean readout is that of a sum",
            "value = gradient[c] if is_membrane else gradient[c] * share", "value = gradient[c]", MICROCODE),
    Fault("a lookup task is a cycle longer than in RTL", "chip/learn_timing.py",
          "LOOKUP_STAGES = 10", "LOOKUP_STAGES = 11", ("tests/test_hw_engines_lookup.py", "-k", "by_hand")),
    Fault("a queue's register takes the cycle from which tokens count", "chip/learn_signature.py",
          "(cycle - 1 for cycle in end)", "(cycle for cycle in end)", CHIP),
)  # fmt: skip

OF_COMMANDS = (
    _commands("the forward engine's inputs are those of the first half",
              'self._base(f"{engine}_inputs")', 'self._base(f"{engine}_inputs", 0)'),
    _commands("weight gradients are not scaled by the image's",
              "unscale = scale / self._loss_scale", "unscale = 1.0 / self._loss_scale"),
    _commands("an image's sums are scaled as if it had one plane",
              "* 2.0 ** (network.planes(stage) - 1)", "* 1.0"),
    _commands("weights reach the backward engine as they lie",
              '_whole(of("weights", stage_index), pairs)', '_whole(of("weights", stage_index))'),
    _commands("spikes stand for masks",
              '_frames(of("masks", source), first, frames)', '_frames(of("spikes", source), first, frames)'),
    Fault("every task of the vector unit begins with the first sums", "compiler/learn_commands.py",
          "+ behind * words", "+ 0 * behind", ("tests/test_cosim_learn.py", "-k", "several_tasks")),
    Fault("the backward engine is given more weights than it can keep", "chip/learn_carried.py",
          "_weight_words(learn, stage) > _weight_depth(learn)", "False",
          ("tests/test_cosim_learn.py", "-k", "cannot_keep")),
)  # fmt: skip

OF_QUEUES = (
    _rtl("sequencer", "a task starts a token early",
         'done[of] >= header[f"wait_{of.name.lower()}"]', 'done[of] + 1 >= header[f"wait_{of.name.lower()}"]', QUEUES),
    _rtl("sequencer", "the queue served last is served again",
         "asks[n] & (n > last)", "asks[n] & (n >= last)", QUEUES),
    _rtl("sequencer", "tokens survive a step",
         "m.d.sync += done[queue].eq(0)", "m.d.sync += done[queue].eq(done[queue])", QUEUES),
    _rtl("sequencer", "a step is stuck while engines work",
         "~granted.any() & ~busy.any() & ~channel", "~granted.any() & ~channel", QUEUES),
    _rtl("command_queue", "a command is offered a word early",
         "with m.If(reads == 0):", "with m.If(reads == 1):", QUEUES),
    _rtl("dma", "a segment goes on at the row of the one before",
         "self.segment.eq(self.segment + 1), self.offset.eq(0)", "self.segment.eq(self.segment + 1)", QUEUES),
    _rtl("dma", "a segment has a row too many",
         'self.offset + 1 == self.of("rows")', 'self.offset == self.of("rows")', QUEUES),
    _rtl("dma", "a transfer ends with the answers to its first segment",
         "pushed.is_last.eq(asks.is_last)", "pushed.is_last.eq(asks.ends_segment)", QUEUES),
)  # fmt: skip

OF_LOOKUP = (
    _rtl("lookup_table", "entry 0 is the operand", "self.entries[0].eq(0)", "self.entries[0].eq(self.operand)", TABLE),
    _rtl("lookup_table", "a table serves a cycle early",
         "with m.If(load[schedule.length]):", "with m.If(load[schedule.length - 1]):", TABLE),
    _rtl("lookup_row", "sums go on from tile to tile", "Mux(self.first, 0, before)", "before", FORWARD),
    _rtl("lookup", "the lowest plane of a signed image subtracts",
         "task.signed & is_last_plane", "task.signed & (plane == 0)", FORWARD),
    _rtl("lookup", "the padding right of a frame is the next row",
         "(x < task.in_columns) & own.valid", "own.valid", FORWARD),
    _rtl("lookup", "a position's sums follow one another, whatever the output words",
         "now + task.out_words", "now + 1", FORWARD),
    _rtl("lookup_walk", "a frame begins at the row behind the one before",
         "place.y.eq(geometry.first_y),\n                        of_frame", "of_frame", FORWARD),
    _rtl("lookup", "a tile does not wait until the one before has left",
         "spare.eq(self.columns - 1)", "spare.eq(0)", FORWARD),
    _rtl("lookup", "every output word has a row of gradients",
         "row_of_word + (item.ends_word & odd)", "row_of_word + item.ends_word", UPDATE),
    _rtl("lookup", "a group's positions are turned a cycle late",
         "delayed(m, here.ends_plane, FETCH_STAGES)", "delayed(m, here.ends_plane, FETCH_STAGES + 1)", UPDATE),
)  # fmt: skip

OF_BACKWARD = (
    _rtl("backward_row", "a context's sums are read while they are added to",
         "spacing = sizes.adder_stages + 2", "spacing = sizes.adder_stages + 1", BACKWARD),
    _rtl("backward_row", "the list of wanted channels knows one part only",
         "entry.eq(number * part + n)", "entry.eq(n)", BACKWARD),
    _rtl("backward_row", "positions of every column phase lie under a tap",
         "                & (place.phase_x == self.tap.phase_x)\n", "", BACKWARD),
    _rtl("backward_row", "gradients of 0 are worked on",
         "~is_zero(rows.r_data.word_select(n, sizes.form.bits), sizes.form) & is_of_tap", "is_of_tap", BACKWARD),
    _rtl("backward_row", "a position without gradients has the sums of one before",
         "is_wanted & touched.bit_select(context, 1)", "is_wanted", BACKWARD),
    _rtl("backward_words", "weights are always those of the first half",
         "ram.r_addr.eq(address + Mux(self.task.weight_half, sizes.weight_rows, 0))", "ram.r_addr.eq(address)",
         BACKWARD),
    _rtl("backward", "weights are sent as soon as one row has room",
         "words.room.eq(Cat(row.has_room for row in rows).all())",
         "words.room.eq(Cat(row.has_room for row in rows).any())", ROWS),
    _rtl("backward_places", "masks are those of the first frame",
         "now.mask + task.mask_frame_rows", "now.mask", BACKWARD),
)  # fmt: skip

OF_VECTOR = (
    _rtl("vector", "a predicate is never inverted", "held[k] ^ product.inverted", "held[k]", VECTOR),
    _rtl("vector", "membranes are compared before they are rounded",
         "written.post == Post.ROUND", "Const(0)", VECTOR),
    _rtl("vector", "the first lane is the one that all get",
         "first.word_select(operands.lane, BITS)", "first[:BITS]", VECTOR),
    _rtl("vector", "one lane of padding is written", "channel + k < task.channels", "channel + k <= task.channels",
         VECTOR),
    _rtl("vector", "an instruction has a slot less", "slot == self.slots - 1", "slot == self.slots - 2", VECTOR),
    _rtl("vector", "neurons run from the last timestep to the first",
         "ascending = (task.timesteps - 1 - stage.time)[: len(stage.time)]", "ascending = stage.time", VECTOR),
    _rtl("vector", "weights move although gradients overflowed",
         "held.eq(self.skip.replicate(self.width))", "held.eq(0)", VECTOR),
)  # fmt: skip

OF_NUMBERS = (
    _fp("adder", "what is shifted out is lost", "Cat(lost, near)", "Cat(Const(0, 1), near)"),
    _fp("adder", "a difference of 0 has the first operand's sign",
        "s.sign & ~(s.is_empty & s.subtracts)", "s.sign"),
    _fp("parts", "ties go up", "up = units[0] & (sticky | units[1])", "up = units[0]"),
    _fp("parts", "subnormal numbers have an exponent of their own",
        "Cat(exponent[0] | ~is_normal, exponent[1:])", "exponent"),
    _fp("multiplier", "0 times infinity is infinite", " | (a.is_zero & b.is_special)", ""),
)  # fmt: skip

OF_CHIP = (
    _rtl("dma", "a tap has an input word more than it has",
         'inner + 1 == asks.of("inner")', 'inner == asks.of("inner")', CHIP),
    _rtl("chip", "a register takes ends for starts",
         "Cat(sequencer.cycle, starts, stops)", "Cat(sequencer.cycle, stops, starts)", CHIP),
    _rtl("dma", "an error of the memory is not seen",
         "self.response_valid & self.response.error", "self.response_valid & 0", ERRORS),
    _rtl("host", "rows that do not come are not missed", "with m.If(left != 1):", "with m.If(0):", ERRORS),
    _rtl("host", "a status within a step is answered as its end",
         "op.eq(LearnHostOp.STATUS)", "op.eq(LearnHostOp.RUN)", ERRORS),
)  # fmt: skip

FAULTS = (
    *OF_SIMULATOR, *OF_COMMANDS, *OF_QUEUES, *OF_LOOKUP, *OF_BACKWARD, *OF_VECTOR, *OF_NUMBERS, *OF_CHIP,
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(main(FAULTS, __doc__))
