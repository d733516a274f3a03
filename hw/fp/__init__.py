"""Floating-point units of the learning engines: combinational, pipelined and serial, for any `FloatFormat`."""
