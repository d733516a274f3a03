"""The results of a sweep in an SQLite file: one transaction a point, so that a stopped sweep goes on where it was."""

from __future__ import annotations

import json
import os
import platform
import socket
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

from ..errors import InputError
from .space import Point, Space
from .units import Outcome, Status

# SQLite's own marks in the file's header: whose file it is ("slsw"), and the version of the tables below.
APPLICATION_ID = 0x736C7377
STORE_VERSION = 1

_TABLES = """
CREATE TABLE sweep (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE starts (
    id INTEGER PRIMARY KEY, started TEXT NOT NULL, ended TEXT, command TEXT NOT NULL, host TEXT NOT NULL,
    workers TEXT NOT NULL, versions TEXT NOT NULL
);
CREATE TABLE points (
    key TEXT PRIMARY KEY, number INTEGER UNIQUE NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('done', 'refused', 'failed')), reason TEXT NOT NULL,
    parameters TEXT NOT NULL, measures TEXT NOT NULL, provenance TEXT NOT NULL,
    seconds REAL NOT NULL, finished TEXT NOT NULL, start INTEGER NOT NULL REFERENCES starts (id)
);
"""

# Packages whose version can change a result, or how it came about.
_VERSIONED = ("spikeloom", "numpy", "numba", "scipy", "distributed")


@dataclass(frozen=True)
class Record:
    """A point that was tried, with what became of it."""

    number: int
    key: str
    status: Status
    reason: str
    parameters: dict[str, Any]
    measures: dict[str, float | None]
    provenance: dict[str, Any]
    seconds: float
    finished: str


class Store:
    """A results file that belongs to one space; open it with `open_store`."""

    def __init__(self, path: Path, space: Space) -> None:
        self.path = path
        self._space = space
        self._start = 0
        self._connection: sqlite3.Connection | None = None
        if path.exists() and (path.is_dir() or path.stat().st_size > 0):
            self._connection = self._connect()
            try:
                self._check()
            except InputError:
                self.close()
                raise

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()

    @property
    def _db(self) -> sqlite3.Connection:
        assert self._connection is not None, "a new file is made when the sweep begins"
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        try:
            return sqlite3.connect(self.path, timeout=10.0, isolation_level=None)
        except sqlite3.Error as error:
            raise InputError(f"{self.path} cannot be opened: {error}") from None

    def begin(self, command: str, workers: str) -> None:
        """Record that a sweep starts: when, where, by which command, with which versions. Makes a new file's tables."""
        if self._connection is None:
            self._connection = self._connect()
            self._make()
        row = (_now(), command, socket.gethostname(), workers, json.dumps(_versions()))
        with self._transaction():
            done = self._db.execute(
                "INSERT INTO starts (started, command, host, workers, versions) VALUES (?, ?, ?, ?, ?)",
                row,
            )
        self._start = cast(int, done.lastrowid)

    def end(self) -> None:
        """Record that it ended in order."""
        with self._transaction():
            self._db.execute("UPDATE starts SET ended = ? WHERE id = ?", (_now(), self._start))

    def add(self, point: Point, outcome: Outcome) -> Record:
        """Record a point, once.

        Raises
        ------
        InputError
            The disk is full or the file cannot be written; or the point is there, written by another process.
        """
        record = Record(
            number=point.number,
            key=point.key,
            status=outcome.status,
            reason=outcome.reason,
            parameters=point.values,
            measures=outcome.measures or {},
            provenance=outcome.provenance or {},
            seconds=outcome.seconds,
            finished=_now(),
        )
        row = (
            record.key, record.number, record.status, record.reason, json.dumps(record.parameters),
            json.dumps(record.measures), json.dumps(record.provenance), record.seconds, record.finished, self._start,
        )  # fmt: skip
        try:
            with self._transaction():
                self._db.execute(f"INSERT INTO points VALUES ({', '.join('?' * len(row))})", row)
        except sqlite3.IntegrityError:
            raise InputError(
                f"point {point.number} is in {self.path} already: another sweep writes to it; wait for its end"
            ) from None
        return record

    def forget_failed(self) -> int:
        """Take out the points that failed, so that they are tried again. Returns how many."""
        if self._connection is None:
            return 0
        with self._transaction():
            return self._db.execute("DELETE FROM points WHERE status = 'failed'").rowcount

    def records(self) -> list[Record]:
        """Return all points, in the order of the search."""
        if self._connection is None:
            return []
        rows = self._db.execute(
            "SELECT number, key, status, reason, parameters, measures, provenance, seconds, finished "
            "FROM points ORDER BY number"
        )
        return [
            Record(
                number=number,
                key=key,
                status=status,
                reason=reason,
                parameters=json.loads(parameters),
                measures=json.loads(measures),
                provenance=json.loads(provenance),
                seconds=seconds,
                finished=finished,
            )
            for number, key, status, reason, parameters, measures, provenance, seconds, finished in rows
        ]

    def _make(self) -> None:
        space = self._space
        facts = {
            "created": _now(),
            "kind": space.kind,
            "space": json.dumps(space.identity),
            "space_hash": space.identity_hash,
        }
        with self._transaction():
            for statement in (*_TABLES.split(";"), _view(space)):
                self._db.execute(statement)
            self._db.executemany("INSERT INTO sweep VALUES (?, ?)", facts.items())
            self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version = {STORE_VERSION}")

    def _check(self) -> None:
        """Raise InputError if the file is not one of this space, or of another version."""
        try:
            owner = self._db.execute("PRAGMA application_id").fetchone()[0]
            found = self._db.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"{self.path} is no results file of a sweep ({error}); write elsewhere"
            ) from None
        if owner != APPLICATION_ID:
            raise InputError(f"{self.path} is a database, but not of a sweep; write elsewhere")
        if found != STORE_VERSION:
            raise InputError(
                f"{self.path} has version {found} of the results of a sweep, this spikeloom writes "
                f"{STORE_VERSION}; write elsewhere"
            )
        facts = dict(self._db.execute("SELECT name, value FROM sweep"))
        if facts["space_hash"] != self._space.identity_hash:
            changed = ", ".join(_changes(json.loads(facts["space"]), self._space.identity))
            raise InputError(
                f"{self.path} holds the results of another space, in which {changed} differ; "
                "give the space file that it was made with, or write elsewhere"
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit what is done inside, or nothing of it."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._roll_back()
            raise InputError(
                f"{self.path} cannot be written ({error}); what it holds is kept: make room or let go of it, "
                "and start the same command again"
            ) from None
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")


@contextmanager
def open_store(path: str | Path, space: Space) -> Iterator[Store]:
    """Open the results file of a space; a new one is made when the sweep begins.

    Raises
    ------
    InputError
        It is no results file, of another version or of another space; or it cannot be read. It is left as it was.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist; make it, or write elsewhere")
    store = Store(path, space)
    try:
        yield store
    finally:
        store.close()


def _view(space: Space) -> str:
    """Return a table for other programs: a column for every path that varies, and for every measure."""
    columns = [f"json_extract({of}, '$.{_quoted(path)}') AS {_quoted(path)}"
               for of, paths in (("parameters", [axis.path for axis in space.axes]), ("measures", space.measures))
               for path in paths]  # fmt: skip
    return f"CREATE VIEW results AS SELECT number, status, reason, {', '.join(columns)} FROM points ORDER BY number"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', "").replace("'", "") + '"'


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the names of what differs between two identities, two levels deep."""
    names = []
    for name in dict.fromkeys([*before, *after]):
        a, b = before.get(name), after.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            names += [f"{name}.{k}" for k in dict.fromkeys([*a, *b]) if a.get(k) != b.get(k)]
        elif a != b:
            names.append(name)
    return names or ["the order of its fields"]


def _versions() -> dict[str, str]:
    found = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processors": str(os.cpu_count()),
    }
    for name in _VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
