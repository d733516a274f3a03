"""The learning engines: the hardware of `sim/engines/`."""
