// Prints one line for each cycle in which `valid` is high; simulation only, empty in synthesis.
//
//   E <path of this instance> <NAME> <cycle> <timestep> <data in hexadecimal>
//
// Only with the plusarg +trace, and only in timesteps +from_timestep=n to +to_timestep=n (decimal; all unless given).
`default_nettype none

module spikeloom_monitor #(
    parameter WIDTH = 1,
    parameter CYCLE_BITS = 16,
    parameter TIMESTEP_BITS = 32,
    parameter NAME = "event"
) (
    input wire                     clk,
    input wire                     valid,
    input wire [WIDTH-1:0]         data,
    input wire [CYCLE_BITS-1:0]    cycle,
    input wire [TIMESTEP_BITS-1:0] timestep
);
`ifndef SYNTHESIS
    reg monitor_enabled /* verilator public_flat_rw */;
    reg [TIMESTEP_BITS-1:0] first;
    reg [TIMESTEP_BITS-1:0] last;

    initial begin
        monitor_enabled = 1'b0;
        first = {TIMESTEP_BITS{1'b0}};
        last = {TIMESTEP_BITS{1'b1}};
        if ($test$plusargs("trace")) monitor_enabled = 1'b1;
        if (!$value$plusargs("from_timestep=%d", first)) first = {TIMESTEP_BITS{1'b0}};
        if (!$value$plusargs("to_timestep=%d", last)) last = {TIMESTEP_BITS{1'b1}};
    end

    always @(posedge clk)
        if (monitor_enabled && valid && timestep >= first && timestep <= last)
            $display("E %m %0s %0d %0d %h", NAME, cycle, timestep, data);
`endif
endmodule

`default_nettype wire
