"""Kernels of the many-core, one file per unit of the chip."""
