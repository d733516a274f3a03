"""The host port: programs, samples and timesteps over the link, and every error, with a model of the chip around it."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from spikeloom.chip.host_link import IDENTITY, Header, HostError, HostLink, HostOp, Status, op_of
from spikeloom.chip.memory_map import READABLE, WRITABLE, Memory

from .support.host_bench import (
    SAMPLE,
    Bench,
    Frame,
    Host,
    Plan,
    flits,
    host_config,
    rows_of,
    step,
    write,
)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("busy", [0.0, 0.4])
def test_a_program_arrives_and_rows_are_read_back(wide, busy):
    bench = Bench(host_config(wide=wide))
    link, rng = bench.link, Random(3)
    assert link.beat_bits == (128 if wide else 64)
    expected: dict[tuple[int, int, int], int] = {}
    frames = []
    for memory in WRITABLE:
        layout = link.memories.layouts[memory]
        for tile, to_all in ((0, 0), (5, 0), (0, 1)):
            first = rng.randrange(layout.rows)
            count = min(layout.rows - first, 3)
            rows = [rng.getrandbits(layout.bits) for _ in range(count)]
            frames.append(write(link, memory, tile, first, rows, to_all))
            for i in range(6) if to_all else [tile]:
                expected |= {(i, memory, first + j): row for j, row in enumerate(rows)}

    async def dialogue(host: Host) -> None:
        assert await host.status() == Status(
            IDENTITY, int(bench.config.config_hash, 16), HostError(0), False, False
        )
        await host.load(*frames)
        assert await host.status() == Status(
            IDENTITY, int(bench.config.config_hash, 16), HostError(0), True, False
        )
        assert bench.memory == expected
        for memory in READABLE:
            layout = link.memories.layouts[memory]
            for tile in range(6):
                for row in range(layout.rows):
                    bench.memory[tile, memory, row] = rng.getrandbits(layout.bits)
            for tile, to_all in ((0, False), (5, False), (0, True)):
                first = rng.randrange(layout.rows)
                count = layout.rows - first
                frame = await host.read(memory, tile, first, count, to_all)
                header = Header(HostOp.READ, int(to_all), tile, memory, first, count)
                rows = [
                    bench.memory[i, memory, row]
                    for i in (range(6) if to_all else [tile])
                    for row in range(first, layout.rows)
                ]
                assert frame == [header.pack(), *rows_of(link, memory, rows)]
        assert await host.read(Memory.STATE, 1, 3, 0) == [
            Header(HostOp.READ, 0, 1, Memory.STATE, 3, 0).pack()
        ]
        assert (await host.status()).errors == 0

    bench.run(dialogue, busy=busy, reading=busy)
    assert bench.memory


@pytest.mark.parametrize("mesh", [(1, 1), (3, 2)])
def test_steps_that_are_there_in_time_take_exactly_what_the_rule_says(mesh):
    columns, rows = mesh
    plans = [
        Plan(60),
        Plan(30, [(20, 0, 5, -3), (20, 1, 6, 9), (21, 0, 7, 2)]),
        Plan(),
        Plan(40),
        Plan(25),
    ]
    for plan in plans:
        plan.outputs = [output for output in plan.outputs if output[1] < columns]
    bench = Bench(host_config(columns=columns, rows=rows, queue=8), plans)
    chip = bench.config.many_core
    counts = [numbers[:rows] for numbers in ((3, 0), (2, 4), (0, 0), (0, 1), (8, 8))]

    async def dialogue(host: Host) -> None:
        await host.load()
        await host.send(SAMPLE)
        for k, numbers in enumerate(counts):
            await host.send(step(*numbers))
            for port, count in enumerate(numbers):
                await host.send(flits(port, *(100 * k + 10 * port + i for i in range(count))))
        starts, lengths = [], []
        for k in range(len(counts)):
            outputs, end = await host.step_end()
            assert end.tag == k
            assert end.length == bench.length_of(k)
            assert end.host_waits == 0
            assert [
                (o.column, o.line, o.payload) for o in sorted(outputs, key=lambda o: o.line)
            ] == [tuple(output[1:]) for output in plans[k].outputs]
            starts.append(end.start_cycle)
            lengths.append(end.length)
        assert [b - a for a, b in pairwise(starts)] == lengths[:-1]
        assert [s - starts[0] for s in starts] == [
            s.start - bench.steps[0].start for s in bench.steps
        ]
        assert not host.came

    bench.run(dialogue)
    assert bench.steps[0].start - bench.samples[0] >= chip.sample_reset_cycles
    for k, numbers in enumerate(counts):  # a flit a cycle and port, from host_start_cycles on
        first = chip.host_start_cycles
        assert sorted(bench.steps[k].flits) == sorted(
            (first + i, port, 100 * k + 10 * port + i)
            for port, count in enumerate(numbers)
            for i in range(count)
        )


def test_timing_of_the_docstring():
    bench = Bench(host_config(columns=2), [Plan(5, [(4, 0, 1, 1)])])
    chip = bench.config.many_core
    assert (chip.tree_stages, chip.host_start_cycles) == (2, 3)

    async def dialogue(host: Host) -> None:
        await host.load()
        await host.send(step(1, 0), flits(0, 5))
        _, end = await host.step_end()
        assert end.length == 8
        start = bench.steps[0].start
        assert [cycle - start for cycle in host.cycles] == [8, 10, 11, 12]

    bench.run(dialogue)
    assert bench.steps[0].flits == [(3, 0, 5)]
    assert bench.steps[0].outputs == [4]


def test_a_sample_whose_step_waits_takes_exactly_its_reset():
    bench = Bench(host_config(), [Plan(), Plan(40), Plan()])
    chip = bench.config.many_core

    async def dialogue(host: Host) -> None:
        await host.load()
        await host.send(step(0, 0), step(0, 0), SAMPLE, step(1, 0), flits(0, 77))
        tags = [(await host.step_end())[1].tag for _ in range(3)]
        assert tags == [0, 1, 0]

    bench.run(dialogue)
    assert bench.steps[2].start - bench.samples[0] == chip.sample_reset_cycles
    # The sample waits for what belongs to the one before: here three beats and the ways.
    assert 0 < bench.samples[0] - bench.steps[1].start - bench.length_of(1) < 10


@pytest.mark.parametrize("seed", range(4))
def test_random_traffic_through_queues_that_are_too_small(seed):
    rng = Random(seed)
    config = host_config(rows=1 + seed % 3, queue=rng.choice([2, 3, 5]), wide=seed == 2)
    link = HostLink(config.many_core)
    lines = link.flit.output_lines
    plans = [
        Plan(
            rng.randrange(40),
            sorted(
                (
                    rng.randrange(4, 40),
                    rng.randrange(link.columns),
                    rng.randrange(lines),
                    rng.randrange(-99, 99),
                )
                for _ in range(rng.choice([0, 0, 3, 25]))
            ),
        )
        for _ in range(12)
    ]
    bench = Bench(config, plans, seed)
    traffic = [
        [
            [rng.getrandbits(link.flit.bits) for _ in range(rng.choice([0, 1, 2, 13]))]
            for _ in range(link.ports)
        ]
        for _ in plans
    ]

    async def dialogue(host: Host) -> None:
        await host.load()
        await host.send(SAMPLE)
        ends = 0
        for words in traffic:
            await host.send(step(*map(len, words)))
            size = link.queue_flits
            for port, own in enumerate(words):
                await host.send(flits(port, *own[:size]))
            for place in range(size, 13, 2):
                for port, own in enumerate(words):
                    if own[place : place + 2]:
                        await host.send(flits(port, *own[place : place + 2]))
            while len(host.came) > 20:
                await check(host, ends)
                ends += 1
        for k in range(ends, len(plans)):
            await check(host, k)
        assert (await host.status()).errors == 0
        assert not host.came

    async def check(host: Host, k: int) -> None:
        outputs, end = await host.step_end()
        assert end.tag == k
        assert end.length == bench.length_of(k)
        for column in range(link.columns):
            assert [(o.line, o.payload) for o in outputs if o.column == column] == [
                output[2:] for output in plans[k].outputs if output[1] == column
            ]

    bench.run(dialogue, busy=0.2, reading=0.3, mesh_busy=0.2)
    assert len(bench.steps) == len(plans)
    for seen, words in zip(bench.steps, traffic, strict=True):
        for port, own in enumerate(words):
            assert [word for _, to, word in seen.flits if to == port] == own
        assert all(cycle >= config.many_core.host_start_cycles for cycle, _, _ in seen.flits)


def test_waits_of_a_slow_host_are_counted():
    # Ten outputs a column, queues of four, nobody reads; then flits that come late.
    plans = [Plan(5, [(6, column, i, i) for i in range(10) for column in (0, 1)]), Plan(5), Plan(5)]
    bench = Bench(host_config(queue=4), plans)

    async def dialogue(host: Host) -> None:
        await host.load()
        host.reads = False
        await host.send(step(0, 0))
        for _ in range(100):
            await host.ctx.tick()
        host.reads = True
        outputs, end = await host.step_end()
        assert len(outputs) == 20
        assert end.host_waits > 70
        assert end.length == bench.length_of(0)

        await host.send(step(6, 0), flits(0, 1, 2, 3, 4))
        for _ in range(50):
            await host.ctx.tick()
        await host.send(flits(0, 5, 6))
        _, end = await host.step_end()
        assert 40 < end.host_waits < 60
        assert end.length == bench.length_of(1)

        await host.send(step(4, 0), flits(0, 7, 8, 9, 10))
        _, end = await host.step_end()
        assert end.host_waits == 0

    bench.run(dialogue)
    assert [word for seen in bench.steps for _, _, word in seen.flits] == list(range(1, 11))


def test_a_step_waits_for_its_first_flits_and_no_longer():
    bench = Bench(host_config(queue=4))

    async def dialogue(host: Host) -> None:
        await host.load()
        await host.send(step(6, 1), flits(0, 1, 2, 3))
        await host.send(flits(1, 9))
        for _ in range(40):
            await host.ctx.tick()
        assert not bench.steps
        await host.send(flits(0, 4))  # the queue is full
        for _ in range(40):
            await host.ctx.tick()
        assert len(bench.steps) == 1
        await host.send(flits(0, 5, 6))
        assert (await host.step_end())[1].outputs == 0

    bench.run(dialogue)


def bad_frames(link: HostLink) -> list[tuple[str, HostError, list[Frame]]]:
    """Frames that are refused while a program is loaded and nothing runs."""
    tiles, rows = link.config.core_count, link.memories.layouts
    wrong_hash = [Header(HostOp.BEGIN).pack(), 12345]
    return [
        ("op 0", HostError.BAD_OP, [[0]]),
        ("op 15, long", HostError.BAD_OP, [[15, step(0, 0)[0], *step(0, 0)]]),
        ("op of the chip", HostError.BAD_OP, [[int(HostOp.OUTPUT), 1, 2, 3]]),
        ("read: tile", HostError.BAD_ADDRESS, [[Header(HostOp.READ, 0, tiles, Memory.STATE, 0, 1).pack()]]),
        ("read: rows", HostError.BAD_ADDRESS,
         [[Header(HostOp.READ, 0, 0, Memory.STATE, 1, rows[Memory.STATE].rows).pack()]]),
        ("read: memory", HostError.BAD_ADDRESS, [[Header(HostOp.READ, 0, 0, Memory.WEIGHTS, 0, 1).pack()]]),
        ("read: long", HostError.OVERLONG, [[Header(HostOp.READ, 0, 0, Memory.STATE, 0, 1).pack(), 0, 0]]),
        ("write: after commit", HostError.WRONG_CHIP, [write(link, Memory.TABLE, 0, 0, [1, 2])]),
        ("commit: twice", HostError.WRONG_CHIP, [[Header(HostOp.COMMIT).pack(), 0]]),
        ("begin: short", HostError.TRUNCATED, [[Header(HostOp.BEGIN).pack()]]),
        ("begin: long", HostError.OVERLONG, [[*wrong_hash, 1, 2]]),
        ("sample: long", HostError.OVERLONG, [[*SAMPLE, *SAMPLE, *SAMPLE]]),
        ("status: long", HostError.OVERLONG, [[Header(HostOp.STATUS).pack(), *step(0, 0)]]),
        ("step: short", HostError.TRUNCATED, [step(0, 0)[:1], step(0, 0)[:2]]),
        ("step: long", HostError.OVERLONG, [[*step(0, 0), *step(0, 0)]]),
        ("step: number", HostError.BAD_ADDRESS, [step(0, 1 << 24), step(1 << 40, 0)]),
        ("flits: port", HostError.BAD_ADDRESS, [flits(2, 4), flits(4095, 4)]),
        ("flits: unasked", HostError.UNASKED, [flits(0, 5), flits(1, 5, 6)]),
        ("flits: long", HostError.OVERLONG, [[*flits(0), 3, 4]]),
    ]  # fmt: skip


CASES = bad_frames(HostLink(host_config().many_core))


def test_frames_in_error_set_their_bit_and_harm_nothing():
    bench = Bench(host_config())
    good = write(bench.link, Memory.TABLE, 4, 3, [7])

    async def works(host: Host) -> None:
        await host.send(step(1, 2), flits(0, 1), flits(1, 2, 3))
        _, end = await host.step_end()
        assert end.host_waits == 0

    async def dialogue(host: Host) -> None:
        await host.load(good)
        assert (await host.status()).errors == 0
        for name, error, frames in CASES:
            for frame in frames:
                await host.send(frame)
                if op_of(frame) in (HostOp.READ, HostOp.STATUS):
                    answer = await host.receive()
                    assert op_of(answer) == op_of(frame)
                    if op_of(frame) == HostOp.READ:  # without rows
                        assert [Header.unpack(beat).count for beat in answer] == [0], name
                status = await host.status(clear=False)
                assert status.errors == error, name
                assert status.is_loaded, name
                assert (await host.status(clear=True)).errors == error
                assert (await host.status()).errors == 0
                await works(host)
                assert not host.came
        assert bench.memory == {(4, Memory.TABLE, 3): 7}
        assert not bench.samples

    bench.run(dialogue, busy=0.1)
    assert len(bench.steps) == sum(len(frames) for _, _, frames in CASES)


def test_commit_and_read_wait_for_all_rows_before_them():
    bench = Bench(host_config())
    program = [write(bench.link, Memory.TABLE, tile, 0, [7, 8]) for tile in range(6)]

    async def hold(host: Host) -> None:
        host.ctx.set(bench.holds_ring, 1)
        for _ in range(60):
            await host.ctx.tick()
        assert not host.came
        host.ctx.set(bench.holds_ring, 0)

    async def dialogue(host: Host) -> None:
        host.ctx.set(bench.holds_ring, 1)
        await host.send(*host.program(program[5])[:2])
        await host.send(*host.program(program[5])[2:])
        await host.send([Header(HostOp.STATUS).pack()])
        await hold(host)
        assert Status.unpack(await host.receive()).is_loaded
        host.ctx.set(bench.holds_ring, 1)
        await host.send(*host.program(program[5])[:2])
        header = Header(HostOp.READ, 0, 3, Memory.STATE, 0, 1).pack()
        await host.send([header])
        await hold(host)
        assert await host.receive() == [header, *rows_of(bench.link, Memory.STATE, [0])]

    bench.run(dialogue)


def test_timesteps_wait_for_a_place_for_their_ends():
    bench = Bench(host_config())

    async def dialogue(host: Host) -> None:
        await host.load()
        host.reads = False
        await host.send(*(step(0, 0) for _ in range(6)))
        for _ in range(100):
            await host.ctx.tick()
        assert len(bench.steps) == 4
        host.reads = True
        assert [(await host.step_end())[1].tag for _ in range(6)] == list(range(6))

    bench.run(dialogue)


def test_a_damaged_program_is_not_loaded():
    bench = Bench(host_config())
    link = bench.link
    begin = [Header(HostOp.BEGIN).pack(), int(bench.config.config_hash, 16)]
    good = write(link, Memory.NEURONS, 1, 2, [5, 6])
    last = link.memories.layouts[Memory.ROUTES].rows - 1

    def commit(*frames: Frame) -> Frame:
        return [
            Header(HostOp.COMMIT).pack(),
            link.crc(0, [beat for frame in frames for beat in frame]),
        ]

    cases: list[tuple[HostError, list[Frame]]] = [
        (HostError.BAD_PROGRAM, [begin, good, commit(good, [1])]),
        (HostError.BAD_PROGRAM, [begin, good, [good[0], good[1] ^ 1, *good[2:]], commit(good, good)]),
        (HostError.BAD_PROGRAM | HostError.TRUNCATED, [begin, good[:-1], commit(good[:-1])]),
        (HostError.BAD_PROGRAM | HostError.TRUNCATED, [begin, good[:1], commit(good[:1])]),
        (HostError.BAD_PROGRAM | HostError.OVERLONG, [begin, [*good, 3, 4], commit(good)]),
        (HostError.BAD_PROGRAM | HostError.OVERLONG,
         [begin, [write(link, Memory.TABLE, 0, 0, [])[0], 9], commit()]),
        (HostError.BAD_PROGRAM | HostError.BAD_ADDRESS, [begin, write(link, Memory.ROUTES, 0, last, [1, 2]), commit()]),
        (HostError.BAD_PROGRAM | HostError.BAD_ADDRESS, [begin, write(link, Memory.TABLE, 6, 0, [1]), commit()]),
        (HostError.BAD_PROGRAM | HostError.BAD_ADDRESS, [begin, write(link, Memory.STATE, 0, 0, [1]), commit()]),
        (HostError.TRUNCATED, [begin, commit()[:1]]),
        (HostError.OVERLONG, [begin, [*commit(), 1]]),
        (HostError.WRONG_CHIP, [[begin[0], begin[1] ^ 1 << 63], good, commit(good)]),
        (HostError.WRONG_CHIP, [good, commit(good)]),
    ]  # fmt: skip

    async def dialogue(host: Host) -> None:
        for frame in (SAMPLE, step(0, 0), flits(0, 1)):
            await host.send(frame)
            assert (await host.status()).errors == HostError.NOT_LOADED
        for error, frames in cases:
            await host.load(good)
            status = await host.status()
            assert (status.errors, status.is_loaded) == (0, True)
            if frames[-1] == commit(good) and frames[0] == good:
                await host.send(begin, commit()[:1])  # loading, but never complete
                await host.send([begin[0], 1])
                assert (await host.status()).errors == HostError.WRONG_CHIP | HostError.TRUNCATED
            await host.send(*frames)
            status = await host.status()
            assert (status.errors, status.is_loaded) == (error, False), frames
            await host.send(step(0, 0))
            assert (await host.status()).errors == HostError.NOT_LOADED

    bench.run(dialogue)
    assert not bench.steps
    # Rows that had arrived are written, those behind an error are not.
    assert {place[:2] for place in bench.memory} == {(1, Memory.NEURONS)}


def test_programs_cannot_change_or_be_read_while_timesteps_run_or_wait():
    bench = Bench(host_config(), [Plan(), Plan(200)])
    good = write(bench.link, Memory.TABLE, 0, 0, [1])
    other = write(bench.link, Memory.TABLE, 0, 0, [2])

    async def refused(host: Host) -> None:
        for frame in (*host.program(other), other):
            await host.send(frame)
            status = await host.status()
            assert status.errors == HostError.BUSY
            assert status.is_loaded
            assert status.is_running
        frame = await host.read(Memory.STATE, 0, 0, 3)
        assert frame == [Header(HostOp.READ, 0, 0, Memory.STATE, 0, 0).pack()]
        assert (await host.status()).errors == HostError.BUSY

    async def dialogue(host: Host) -> None:
        await host.load(good)
        await host.send(SAMPLE, step(1, 0))  # waits for its flit
        await refused(host)
        await host.send(flits(0, 5))
        await host.step_end()
        await host.send(step(0, 0))
        await refused(host)
        await host.step_end()
        assert not (await host.status()).is_running
        assert bench.memory == {(0, Memory.TABLE, 0): 1}
        await host.load(other)
        assert (await host.status()).errors == 0
        assert bench.memory == {(0, Memory.TABLE, 0): 2}

    bench.run(dialogue)


def test_flits_cut_short_can_be_sent_again():
    bench = Bench(host_config())

    async def dialogue(host: Host) -> None:
        await host.load()
        await host.send(step(3, 0), flits(0, 1, 2, 3)[:2])
        assert (await host.status()).errors == HostError.TRUNCATED
        await host.send([*flits(0, 2, 3), 4, 5])
        assert (await host.status()).errors == HostError.OVERLONG
        await host.step_end()
        await host.send(flits(0, 4))
        assert (await host.status()).errors == HostError.UNASKED
        await host.send([Header(HostOp.FLITS, count=1).pack()])
        assert (await host.status()).errors == HostError.UNASKED
        await host.send(step(1, 0), [Header(HostOp.FLITS, count=1).pack()])
        assert (await host.status()).errors == HostError.TRUNCATED
        await host.send(flits(0, 4))
        await host.step_end()

    bench.run(dialogue)
    assert [word for seen in bench.steps for _, _, word in seen.flits] == [1, 2, 3, 4]


def test_overruns_and_flits_off_the_mesh_are_reported():
    bench = Bench(host_config(period=30), [Plan(), Plan(50), Plan(off_mesh=True)])

    async def dialogue(host: Host) -> None:
        await host.load()
        for length, error in ((30, 0), (bench.config.many_core.barrier_cycles + 50, HostError.OVERRUN),
                              (30, HostError.OFF_MESH)):  # fmt: skip
            await host.send(step(0, 0))
            _, end = await host.step_end()
            assert end.length == length
            assert (await host.status()).errors == error

    bench.run(dialogue)


@pytest.mark.parametrize("seed", range(3))
def test_any_rubbish_is_survived(seed):
    rng = Random(seed)
    bench = Bench(host_config(), seed=seed)
    good = write(bench.link, Memory.TABLE, 0, 0, [1])
    rubbish = [
        [Header(op=rng.randrange(16), broadcast=rng.randrange(2), hops=rng.choice([0, 1, 9]),
                memory=rng.randrange(8), row=rng.randrange(3), count=rng.randrange(4)).pack()
         if rng.random() < 0.8 else rng.getrandbits(64), *(rng.getrandbits(64) for _ in range(rng.randrange(6)))]
        for _ in range(150)
    ]  # fmt: skip

    async def dialogue(host: Host) -> None:
        await host.send(*rubbish)
        host.came.clear()
        for _ in range(100):
            await host.ctx.tick()
        host.came.clear()
        assert (await host.status()).errors & HostError.BAD_OP
        await host.load(good)
        await host.send(SAMPLE, step(2, 0), flits(0, 3, 4))
        await host.step_end()
        status = await host.status()
        assert (status.errors, status.is_loaded) == (0, True)

    bench.run(dialogue, busy=0.1, reading=0.1)
    assert [word for _, _, word in bench.steps[0].flits] == [3, 4]
