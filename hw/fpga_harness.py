"""What stands around the chip when it is placed on an FPGA: registers at its ports, which a scan fills and reads."""

from __future__ import annotations

from collections.abc import Sequence

from .memory import FlatPort

__all__ = ["HARNESS", "INSTANCE", "harness"]

HARNESS = "spikeloom_fpga"  # the module
INSTANCE = "chip"  # of the chip in it

_TEXT = """\
module {harness} (input clk, input rst, input scan_in, input load, output scan_out);
reg [{last_in}:0] inputs;
reg [{last_out}:0] outputs;
wire [{last_out}:0] found;
assign scan_out = outputs[{last_out}];
always @(posedge clk) begin
    inputs <= {{inputs, scan_in}};
    outputs <= load ? found : {{outputs, 1'b0}};
end
{top} {instance} ({ports});
endmodule
"""


def harness(top: str, ports: Sequence[FlatPort]) -> str:
    """Return the Verilog of a module with five pins around the module ``top``, which has ``ports``, ``clk`` among them.

    There is no board. Pads for all bits of a memory's port would lie all around the device, pull the chip apart and
    take routes that a chip beside a memory controller does not need; registers keep synthesis from dropping what a
    constant or an open port would make useless.
    """
    widths = {True: 0, False: 0}
    connected: list[str] = []
    for port in ports:
        if port.name in ("clk", "rst"):
            connected.append(f".{port.name}({port.name})")
            continue
        first = widths[port.is_input]
        widths[port.is_input] += len(port.value)
        bus = "inputs" if port.is_input else "found"
        connected.append(f".{port.name}({bus}[{widths[port.is_input] - 1}:{first}])")
    return _TEXT.format(
        harness=HARNESS,
        last_in=widths[True] - 1,
        last_out=widths[False] - 1,
        top=top,
        instance=INSTANCE,
        ports=", ".join(connected),
    )
