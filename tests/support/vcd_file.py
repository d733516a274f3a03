"""A VCD file as the values of its signals, cycle by cycle."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path

from vcd.reader import TokenKind, tokenize


class VcdFile:
    """The changes of every signal: path -> times and values; unknown values are None."""

    def __init__(self, path: Path) -> None:
        self.widths: dict[str, int] = {}
        self.comments: list[str] = []
        self._times: dict[str, list[int]] = {}
        self._values: dict[str, list[int | None]] = {}
        names: dict[str, list[str]] = {}
        scopes: list[str] = []
        now = 0
        with path.open("rb") as file:
            for token in tokenize(file):
                if token.kind is TokenKind.SCOPE:
                    scopes.append(token.scope.ident)
                elif token.kind is TokenKind.UPSCOPE:
                    scopes.pop()
                elif token.kind is TokenKind.COMMENT:
                    self.comments.append(token.comment)
                elif token.kind is TokenKind.VAR:
                    name = ".".join((*scopes, token.var.reference))
                    names.setdefault(token.var.id_code, []).append(name)
                    self.widths[name] = token.var.size
                    self._times[name], self._values[name] = [], []
                elif token.kind is TokenKind.CHANGE_TIME:
                    now = token.time_change
                elif token.kind in (TokenKind.CHANGE_SCALAR, TokenKind.CHANGE_VECTOR):
                    change = (
                        token.scalar_change
                        if token.kind is TokenKind.CHANGE_SCALAR
                        else token.vector_change
                    )
                    text = str(change.value)
                    known = not set(text) & set("xzXZ")
                    value = (
                        (int(text) if isinstance(change.value, int) else int(text, 2))
                        if known
                        else None
                    )
                    for name in names[change.id_code]:
                        self._times[name].append(now)
                        self._values[name].append(value)
        self.end = now

    def __contains__(self, name: str) -> bool:
        return name in self.widths

    def at(self, name: str, time: int) -> int | None:
        """Return a signal's value; None where it is unknown."""
        place = bisect_right(self._times[name], time)
        return self._values[name][place - 1] if place else None

    def rises(self, name: str) -> list[int]:
        """Return the times at which a signal of one bit becomes 1."""
        return [t for t, v in zip(self._times[name], self._values[name], strict=True) if v == 1]
