// One memory: a write port and a synchronous read port. Put a macro here to build an ASIC.
//
// r_data is the row at r_addr from the cycle after r_en on, until the next r_en. A row that is read and written in one
// cycle reads as anything; so does an address of DEPTH or more. `no_rw_check` tells Yosys so: no bypass around the block.
`default_nettype none

module spikeloom_ram #(
    parameter WIDTH = 8,
    parameter DEPTH = 2,
    parameter ADDR_BITS = 1,  // enough for DEPTH - 1, at least 1
    parameter INIT = ""       // a file for $readmemh, or empty
) (
    input  wire                 clk,
    input  wire                 w_en,
    input  wire [ADDR_BITS-1:0] w_addr,
    input  wire [WIDTH-1:0]     w_data,
    input  wire                 r_en,
    input  wire [ADDR_BITS-1:0] r_addr,
    output reg  [WIDTH-1:0]     r_data
);
    (* no_rw_check, ram_style = "block" *)
    reg [WIDTH-1:0] memory [0:DEPTH-1];

    always @(posedge clk) begin
        if (w_en) memory[w_addr] <= w_data;
        if (r_en) r_data <= memory[r_addr];
    end

`ifndef SYNTHESIS
    // As in an FPGA, memories start with 0. +ram_random: with anything, which no result may depend on.
    integer row;
    initial begin
        r_data = {WIDTH{1'b0}};
        for (row = 0; row < DEPTH; row = row + 1) memory[row] = {WIDTH{1'b0}};
        if ($test$plusargs("ram_random")) begin
            r_data = {(WIDTH + 31) / 32{$random}};
            for (row = 0; row < DEPTH; row = row + 1) memory[row] = {(WIDTH + 31) / 32{$random}};
        end
    end
`endif
    generate
        if (INIT != "") begin : preload
            initial $readmemh(INIT, memory);
        end
    endgenerate
endmodule

`default_nettype wire
