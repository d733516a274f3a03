"""Sweeps: many chips, options or networks, tried to find which is best at what (docs/sweep.md)."""
