"""What ends a command early: bad input (one sentence, exit code 2), or the user (exit code 130)."""

from __future__ import annotations


class InputError(ValueError):
    """What the user gave cannot be used; the message says what was wrong, where, and what to do."""


class StoppedError(Exception):
    """Long work that the user interrupted, and that stopped in order; the message says where it can go on."""
