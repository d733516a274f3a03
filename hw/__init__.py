"""The chip in Amaranth: the RTL of every unit, Verilog, the host's driver, and what runs and measures the Verilog."""
