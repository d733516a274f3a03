"""Builds of the generated Verilog under Verilator, and the benches that drive and record them."""
