"""The many-core in Amaranth: the same file and state names as in the simulator's folder of the same name."""
