"""The results file: a transaction a point, of one space alone; foreign, old and full ones are refused and kept."""

from __future__ import annotations

import sqlite3

import pytest

from spikeloom.errors import InputError
from spikeloom.sweeping.store import STORE_VERSION, open_store
from spikeloom.sweeping.units import Outcome

from .support.sweep_spaces import TRAINING, space_of

DONE = Outcome("done", "", {"seconds": 1.0, "energy_j.total": None}, {"config_hash": "00"}, 0.5)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.sqlite"


def points(space):
    return [space.point(i, (i, 0)) for i in range(3)]


def filled(path, space):
    with open_store(path, space) as store:
        store.begin("a command", "here")
        for point, outcome in zip(
            points(space),
            (DONE, Outcome("refused", "too wide"), Outcome("failed", "died")),
            strict=True,
        ):
            store.add(point, outcome)
        store.end()


def test_records_come_back(path):
    space = space_of(TRAINING)
    filled(path, space)
    with open_store(path, space) as store:
        records = store.records()
    assert [(r.number, r.status, r.reason) for r in records] == [
        (0, "done", ""),
        (1, "refused", "too wide"),
        (2, "failed", "died"),
    ]
    assert records[0].measures == {"seconds": 1.0, "energy_j.total": None}
    assert records[0].parameters == points(space)[0].values
    assert records[0].provenance == {"config_hash": "00"}


def test_other_programs_find_a_table(path):
    filled(path, space_of(TRAINING))
    with sqlite3.connect(path) as db:
        found = db.execute(
            'SELECT number, status, "learn.forward.columns", seconds FROM results'
        ).fetchall()
        starts = db.execute(
            "SELECT command, workers, ended IS NOT NULL, versions FROM starts"
        ).fetchone()
        facts = dict(db.execute("SELECT name, value FROM sweep"))
    db.close()
    assert found == [(0, "done", 32, 1.0), (1, "refused", 64, None), (2, "failed", 128, None)]
    assert starts[:3] == ("a command", "here", 1)
    assert "numba" in starts[3]
    assert set(facts) == {"created", "kind", "space", "space_hash"}


def test_nothing_is_made_before_the_sweep_begins(path):
    with open_store(path, space_of(TRAINING)) as store:
        assert store.records() == []
        assert store.forget_failed() == 0
    assert not path.exists()


def test_a_point_cannot_be_recorded_twice(path):
    space = space_of(TRAINING)
    filled(path, space)
    with open_store(path, space) as store, pytest.raises(InputError, match="another sweep writes"):
        store.add(points(space)[0], DONE)
    with open_store(path, space) as store:
        assert len(store.records()) == 3


def test_failed_points_are_taken_out_on_request(path):
    space = space_of(TRAINING)
    filled(path, space)
    with open_store(path, space) as store:
        assert store.forget_failed() == 1
        assert [r.status for r in store.records()] == ["done", "refused"]


def test_another_space_is_refused(path):
    filled(path, space_of(TRAINING))
    before = path.read_bytes()
    vary = TRAINING["vary"] | {"learn.forward.columns": [32]}
    message = r"another space, in which seed, vary\.learn\.forward\.columns differ"
    with (
        pytest.raises(InputError, match=message),
        open_store(path, space_of(TRAINING, seed=3, vary=vary)),
    ):
        pass
    swapped = dict(reversed(TRAINING["vary"].items()))
    with (
        pytest.raises(InputError, match="the order of its fields"),
        open_store(path, space_of(TRAINING, vary=swapped)),
    ):
        pass
    assert path.read_bytes() == before


def test_another_version_is_refused(path):
    space = space_of(TRAINING)
    filled(path, space)
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {STORE_VERSION + 1}")
    db.close()
    before = path.read_bytes()
    with (
        pytest.raises(
            InputError, match=f"has version {STORE_VERSION + 1} .* writes {STORE_VERSION}"
        ),
        open_store(path, space),
    ):
        pass
    assert path.read_bytes() == before


def test_foreign_files_are_refused_and_kept(path):
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE mine (x)")
    db.close()
    with (
        pytest.raises(InputError, match="a database, but not of a sweep"),
        open_store(path, space_of(TRAINING)),
    ):
        pass
    path.write_text("not a database, but long enough to be one " * 20)
    before = path.read_bytes()
    with (
        pytest.raises(InputError, match="no results file of a sweep"),
        open_store(path, space_of(TRAINING)),
    ):
        pass
    assert path.read_bytes() == before


def test_places_that_cannot_be_written(tmp_path):
    space = space_of(TRAINING)
    with (
        pytest.raises(InputError, match="does not exist; make it"),
        open_store(tmp_path / "no" / "r.sqlite", space),
    ):
        pass
    with pytest.raises(InputError, match="cannot be opened"), open_store(tmp_path, space):
        pass


def test_full_disk_keeps_what_is_there(path):
    """SQLite gives the same error for a file that may not grow as for a disk that is full."""
    space = space_of(TRAINING)
    filled(path, space)
    long = Outcome("done", "x" * 50_000)
    with open_store(path, space) as store:
        store._db.execute("PRAGMA max_page_count = 8")
        with pytest.raises(InputError, match=r"disk is full.*what it holds is kept"):
            store.add(space.point(3, (0, 1)), long)
        assert len(store.records()) == 3
    with open_store(path, space) as store:
        store.add(space.point(3, (0, 1)), long)
        assert len(store.records()) == 4
        assert store._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_full_disk_when_the_file_is_made(path, monkeypatch):
    connect = sqlite3.connect

    def connect_small(*args, **options):
        db = connect(*args, **options)
        db.execute("PRAGMA max_page_count = 2")
        return db

    with monkeypatch.context() as patched, open_store(path, space_of(TRAINING)) as store:
        patched.setattr(sqlite3, "connect", connect_small)
        with pytest.raises(InputError, match="disk is full"):
            store.begin("a command", "here")
    filled(path, space_of(TRAINING))
