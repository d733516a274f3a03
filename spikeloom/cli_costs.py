"""The command `costs`: what things cost at a node, and why; and whether a table of one's own is right."""

from __future__ import annotations

from typing import Annotated

import typer

from .console import CostsOption, JsonOption, print_table, print_text


def costs_command(
    node: Annotated[
        int | None,
        typer.Option("--node", metavar="45|32|28|22|16|12", help="In nm; 28 by default."),
    ] = None,
    costs: CostsOption = None,
    json: JsonOption = False,
) -> None:
    """Show what operations, memories, wires and gates cost at a technology node, each figure with its source.

    With --costs a table of your own is checked and shown over the node that it names. docs/costs.md tells the file.
    Examples: `spikeloom costs --node 16`; `spikeloom costs --costs mine.yaml --json`
    """
    from .costing import cost_rows, cost_tables, sram_rows
    from .showing import Table, to_json

    tables = cost_tables(node, costs)
    many_core = tables.many_core
    if json:
        print_text(
            to_json(
                {
                    "node_nm": many_core.node_nm,
                    "voltage_v": many_core.voltage_v,
                    "tables": {
                        t.name: t.table_hash for t in (many_core, tables.learn, tables.area)
                    },
                    "figures": [row.to_dict() for row in cost_rows(tables)],
                    "sram": list(sram_rows(tables)),
                    "sram_source": many_core.sram.source,
                    "sram_status": many_core.sram.status,
                }
            )
        )
        return
    rows = [("section", "name", "value", "unit", "status", "source")]
    rows += [
        (row.section, row.name, f"{row.value:.4g}", row.unit, f"{row.status}, {row.known}", row.source)
        for row in cost_rows(tables)
    ]  # fmt: skip
    print_table(
        Table(f"costs at {many_core.node_nm} nm and {many_core.voltage_v:g} V", tuple(rows))
    )
    macros = list(sram_rows(tables))
    shown = [tuple(name.replace("_", " ") for name in macros[0])]
    shown += [
        tuple(f"{value:.4g}" if isinstance(value, float) else str(value) for value in macro.values())
        for macro in macros
    ]  # fmt: skip
    print_table(
        Table(
            f"some SRAM macros ({many_core.sram.status}), leakage at {many_core.sram.temperature_k:g} K",
            tuple(shown),
        )
    )
    print_text(f"SRAM: {many_core.sram.source}")
