"""The error of bad input: one sentence, exit code 2."""

from __future__ import annotations


class InputError(ValueError):
    """What the user gave cannot be used; the message says what was wrong, where, and what to do."""
