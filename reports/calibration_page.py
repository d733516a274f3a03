"""A calibration as tables, as an HTML page and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from .calibration import Beside, Calibration, Check, Figure, Finding, Verdict, number
from .page_parts import Column, PageTable, Row, Tile, render, style

__all__ = ["calibration_markdown", "calibration_page", "calibration_tables"]

Rows = tuple[tuple[str, ...], ...]

_TITLES = {"many_core": "Preset tianjic beside Tianjic", "learn": "Preset h2learn beside H2Learn"}
_HALVES = {"many_core": "Checks of the cores", "learn": "Checks of the learning engines"}
_BESIDE = ("figure", "published", "unit", "mark", "ours", "ours / published", "how", "fitted")
_CHECKS = ("check", "what", "expected", "got", "bounds", "verdict")


def calibration_tables(result: Calibration, *, sources: bool = False) -> dict[str, Rows]:
    """Return the tables by title, the first row naming the columns: figures, verdicts, and every number.

    With ``sources`` each published figure has its own beside it, which is too wide for a terminal.
    """
    tables: dict[str, Rows] = {
        _TITLES[half]: tuple(
            (*cells, *last) if sources else cells
            for cells, last in (
                (_BESIDE, ("source",)),
                *((_beside(row), (row.published.source,)) for row in rows),
            )
        )
        for half, rows in result.beside.items()
    }
    for half in dict.fromkeys(check.half for check in result.checks):
        own = [check for check in result.checks if check.half == half]
        tables[_HALVES[half]] = (
            ("check", "what", "verdict", "tolerance", "how", "fitted", "source"),
            *(
                (c.id, c.title, c.verdict, c.tolerance, c.how, c.fitted or "nothing", c.source)
                for c in own
            ),
        )
        numbers = tuple(_finding(check, finding) for check in own for finding in check.findings)
        if numbers:
            tables[f"{_HALVES[half]}: every number"] = (_CHECKS, *numbers)
    return tables


def calibration_page(result: Calibration) -> str:
    """Return the page: one file that needs nothing else."""
    counts = result.counts
    details: dict[Verdict, str] = {
        "pass": "within their tolerance",
        "missed": "outside it; each has its reason",
        "reported only": "with nothing that binds",
        "not applicable": "this chip is another; each has its reason",
    }
    tables = [
        PageTable(
            title,
            tuple(Column(name, number=name in ("got", "ours")) for name in header),
            [Row(row) for row in rows],
        )
        for title, (header, *rows) in calibration_tables(result, sources=True).items()
    ]
    return render(
        "synthesis.html.j2",
        css=style(),
        title="Calibration",
        about="The presets beside the published chips that they follow, and acceptance checks that were run.",
        tiles=[Tile(name, str(counts[name]), text) for name, text in details.items()],
        notes=[*result.notes, *_reasons(result)],
        tables=tables,
        facts=[
            (name.replace("_", " "), _plain(value)) for name, value in result.provenance.items()
        ],
    )


def calibration_markdown(result: Calibration) -> str:
    """Return the tables as Markdown, with the command that made them."""
    counts = ", ".join(f"{count} {verdict}" for verdict, count in result.counts.items())
    lines = [
        "# Calibration as measured",
        "",
        f"Made by `{result.provenance['command']}`; what it means: [calibration](calibration.md). Checks: {counts}.",
    ]
    for title, (header, *rows) in calibration_tables(result, sources=True).items():
        lines += ["", f"## {title}", "", _line(header), _line(["---"] * len(header))]
        lines += [_line(row) for row in rows]
    lines += ["", "## Reasons", "", *(f"- {reason}" for reason in _reasons(result))]
    facts = ((name, value) for name, value in result.provenance.items() if name != "command")
    lines += ["", "## Provenance", "", _line(("what", "value")), _line(("---", "---"))]
    lines += [_line((name.replace("_", " "), _plain(value))) for name, value in facts]
    return "\n".join(lines) + "\n"


def _line(cells: tuple[str, ...] | list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _reasons(result: Calibration) -> Iterator[str]:
    for check in result.checks:
        if check.reason:
            yield f"{check.id}, {check.verdict}: {check.reason}"


def _beside(row: Beside) -> tuple[str, ...]:
    ratio = ""
    if row.ratio is not None:
        low, high = (number(value) for value in row.ratio)
        ratio = low if low == high else f"{low} to {high}"
    return (
        row.published.what,
        _range(row.published),
        row.published.unit,
        row.published.mark,
        "unknown" if row.ours is None else number(row.ours),
        ratio,
        row.how,
        "yes" if row.fitted else "no",
    )


def _range(figure: Figure) -> str:
    if figure.low == figure.high:
        return number(figure.low)
    return f"{number(figure.low)} to {number(figure.high)}"


def _finding(check: Check, finding: Finding) -> tuple[str, ...]:
    low, high = finding.low, finding.high
    if low is None and high is None:
        bounds = ""
    elif low == high and low is not None:
        bounds = number(low)
    else:
        bounds = f"{'' if low is None else number(low)} .. {'' if high is None else number(high)}"
    got = f"{number(finding.got)} {finding.unit}".strip()
    return check.id, finding.what, finding.expected, got, bounds.strip(), finding.verdict


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return str(value)
