"""What is proved of the RTL: a harness with properties per unit, and the tools that prove it; see docs/formal.md."""
