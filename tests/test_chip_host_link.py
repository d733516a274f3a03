"""The host's link in plain integers: headers, rows in beats, outputs, ends, status, errors."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.chip.config import load_config
from spikeloom.chip.host_link import (
    ERROR_BITS,
    ERROR_SENTENCES,
    HEADER_FIELDS,
    OUTPUT_SHIFT,
    Header,
    HostError,
    HostLink,
    HostOp,
    Output,
    Status,
    StepEnd,
    op_of,
)
from spikeloom.chip.memory_map import Memory
from spikeloom.chip.signature import absorb

from .support.presets import MANY_CORE_PRESETS

TINY = load_config("tiny")
WIDE = TINY.replace(core={"membrane_bits": 60})


@given(st.tuples(*(st.integers(0, (1 << bits) - 1) for _, bits in HEADER_FIELDS)))
def test_headers_survive_a_round_trip(values):
    header = Header(*values)
    assert header.pack() < 1 << 64
    assert Header.unpack(header.pack() | 5 << 64) == header
    assert op_of([header.pack()]) == header.op


def test_a_field_that_does_not_fit_is_named():
    with pytest.raises(
        ValueError, match=r"^row of a header must be within 0..16777215, not 16777216$"
    ):
        Header(HostOp.READ, row=1 << 24).pack()
    with pytest.raises(ValueError, match=r"^hops of a header must be within 0..4095, not -1$"):
        Header(HostOp.READ, hops=-1).pack()


def test_the_header_addresses_the_largest_chip():
    bits = dict(HEADER_FIELDS)
    link = HostLink(
        TINY.replace(
            core={"axons": 4096, "neurons": 4096, "lanes": 1},
            network={"columns": 64, "rows": 64, "host_columns": list(range(64))},
        ).many_core
    )
    rows = {memory: layout.rows for memory, layout in link.memories.layouts.items()}
    assert max(rows.values()) == rows[Memory.WEIGHTS] == 1 << bits["row"]
    assert link.config.core_count == 1 << bits["hops"]
    assert max(Memory) < 1 << bits["memory"]
    output = link.unpack_output(link.pack_output(Output(0, 63, 0, 0)))
    assert output.column == 63


@pytest.mark.parametrize("name", MANY_CORE_PRESETS)
def test_beats_of_the_presets_hold_a_flit_and_an_output(name):
    link = HostLink(load_config(name).many_core)
    assert link.beat_bits == 64
    assert link.beat_bytes == 8
    assert max(link.flit.bits, link.output_bits) <= 64


def test_a_beat_is_wider_where_flit_or_output_ask_for_it():
    assert HostLink(WIDE.many_core).beat_bits == 128
    widths = {}
    for membrane in range(24, 61):
        link = HostLink(TINY.replace(core={"membrane_bits": membrane}).many_core)
        widths[max(link.flit.bits, link.output_bits)] = link.beat_bits
    assert {widths[64], widths[65]} == {64, 128}


@pytest.mark.parametrize("config", [TINY, WIDE], ids=["64", "128"])
@pytest.mark.parametrize("memory", list(Memory))
def test_rows_survive_a_round_trip(config, memory):
    link, rng = HostLink(config.many_core), Random(memory)
    layout = link.memories.layouts[memory]
    rows = [layout.unpack(rng.getrandbits(layout.bits)) for _ in range(5)]
    image = layout.image({f.name: [row[f.name] for row in rows] for f in layout.fields})
    beats = link.row_beats(memory, image)
    assert len(beats) == 5 * link.beats_per_row(memory)
    assert max(beats) < 1 << link.beat_bits
    assert link.rows(memory, beats) == rows
    assert link.row_beats(memory, np.zeros((0, layout.words), dtype=np.uint64)) == []


@pytest.mark.parametrize("config", [TINY, WIDE], ids=["64", "128"])
def test_the_load_crc_absorbs_whole_beats(config):
    link, rng = HostLink(config.many_core), Random(1)
    beats = [rng.getrandbits(link.beat_bits) for _ in range(6)]
    state = 0
    for beat in beats:
        state = absorb(state, beat, link.beat_bits)
    assert link.crc(link.crc(0, beats[:2]), beats[2:]) == state


@given(st.data())
@pytest.mark.parametrize("config", [TINY, WIDE], ids=["64", "128"])
def test_outputs_survive_a_round_trip(config, data):
    link = HostLink(config.many_core)
    half = 1 << (link.flit.payload_bits - 1)
    output = Output(
        k=data.draw(st.integers(0, 1000)),
        column=data.draw(st.integers(0, 63)),
        line=data.draw(st.integers(0, link.flit.output_lines - 1)),
        payload=data.draw(st.integers(-half, half - 1)),
    )
    beat = link.pack_output(output)
    assert op_of([beat]) == HostOp.OUTPUT
    assert link.unpack_output(beat) == Output(
        output.k % 64, output.column, output.line, output.payload
    )


def test_line_and_payload_of_an_output_are_the_upper_fields_of_its_flit():
    link = HostLink(TINY.many_core)
    flit = link.flit.pack(kind=0, dx=1, dy=-1, target=5, delay=3, payload=-77)
    line = 3 << link.flit.target_bits | 5
    below = link.flit.kind_bits + link.flit.dx_bits + link.flit.dy_bits
    assert link.pack_output(Output(0, 0, line, -77)) >> OUTPUT_SHIFT == flit >> below


@given(*(st.integers(0, (1 << bits) - 1) for bits in (6, 32, 32, 32, 32)))
def test_ends_survive_a_round_trip(tag, outputs, start, length, waits):
    end = StepEnd(tag, outputs, start, length, waits)
    frame = end.pack()
    assert max(frame) < 1 << 64
    assert op_of(frame) == HostOp.STEP_END
    assert StepEnd.unpack(frame) == end


@given(
    st.integers(0, (1 << 64) - 1),
    st.integers(0, (1 << 64) - 1),
    st.integers(0, (1 << ERROR_BITS) - 1),
    st.booleans(),
    st.booleans(),
)
def test_status_survives_a_round_trip(identity, config_hash, errors, is_loaded, is_running):
    status = Status(identity, config_hash, HostError(errors), is_loaded, is_running)
    assert Status.unpack(status.pack()) == status


def test_every_error_has_a_bit_and_a_sentence():
    assert list(ERROR_SENTENCES) == list(HostError)
    assert [int(error) for error in HostError] == [1 << bit for bit in range(ERROR_BITS)]
    both = HostError.OVERLONG | HostError.BUSY
    assert both.sentences == [ERROR_SENTENCES[HostError.OVERLONG], ERROR_SENTENCES[HostError.BUSY]]
    assert HostError(0).sentences == []


def test_the_protocol_is_documented():
    text = (Path(__file__).resolve().parent.parent / "docs/host_protocol.md").read_text(
        encoding="utf-8"
    )
    fields = re.findall(r"^\| `(\w+)` \| (\d+) \|", text, flags=re.MULTILINE)
    assert [(name, int(bits)) for name, bits in fields] == list(HEADER_FIELDS)
    rows = re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", text, flags=re.MULTILINE)
    ops = {(str(int(op)), op.name) for op in HostOp}
    bits = {(str(bit), error.name) for bit, error in enumerate(HostError)}
    assert set(rows) == ops | bits
