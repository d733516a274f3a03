"""Errors of the simulation of emitted Verilog."""

from __future__ import annotations

__all__ = ["CosimError", "ToolError"]


class CosimError(RuntimeError):
    """A simulator of the Verilog that could not be built, died or gave no answer; the message is a sentence."""


class ToolError(CosimError):
    """A tool that is needed to simulate the Verilog is not installed; the message names it and says how to get it."""
