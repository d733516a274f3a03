"""The many-core in Numba: whole networks, every value and every cycle."""
