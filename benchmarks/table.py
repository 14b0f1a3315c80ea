"""The tables on standard output."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from numerals import number
from percentiles import SHOWN, latency
from rounds import AGAIN, Results
from rows import LATENCIES
from spread import Ratio
from verdicts import Cell, Line

WIDTH = 500  # columns, where standard output is no terminal that has a width of its own


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    text = number(cell.median) + (f" ({cell.detail})" if cell.detail else "")
    return text if cell.counts else f"[{text}]"


def _ratio(ratio: Ratio | None) -> str:
    return "–" if ratio is None else f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def _goal(line: Line) -> str:
    if line.goal is None or line.limit is None:
        return "–"
    return number(line.limit) + (f" {line.row.unit}" if line.goal.kind == "value" else "")


def console(stderr: bool = False) -> Console:
    out = Console(stderr=stderr, highlight=False, markup=False, soft_wrap=False)
    if not out.is_terminal:
        out.width = WIDTH
    return out


def show(out: Console, lines: Sequence[Line], subject: str) -> None:
    """Print one contender's lines, one column for each peer."""
    peers = list(dict.fromkeys(name for line in lines for name in line.cells if name != subject))
    table = Table(box=box.MARKDOWN)
    wrap = out.is_terminal
    for heading in ("row", "", "unit"):
        table.add_column(heading, no_wrap=not wrap)
    for name in (subject, *peers):
        table.add_column(name, justify="right", no_wrap=not wrap)
    for heading in ("ratio (90 %)", "to", "goal", "met", "peer to itself"):
        table.add_column(heading, no_wrap=not wrap)
    for line in lines:
        cells = [_cell(line.cells.get(name)) for name in (subject, *peers)]
        rest = (_ratio(line.ratio), line.peer or "–", _goal(line), line.met or "–", _ratio(line.again))
        table.add_row(line.row.name, line.title, line.row.unit, *cells, *rest)
    _print(out, table)


def _print(out: Console, table: Table) -> None:
    with out.capture() as captured:
        out.print(table)
    # Markdown needs no frame above and below, which this box would draw in blanks.
    out.print("\n".join(row.rstrip() for row in captured.get().splitlines() if row.strip()), soft_wrap=True)


def show_latencies(out: Console, results: Results) -> None:
    """Print one measurement's percentiles, a line for each contender."""
    out.print(f"µs of single calls: {LATENCIES[results.measurement]}")
    table = Table(box=box.MARKDOWN)
    table.add_column("", no_wrap=True)
    for percent in SHOWN:
        table.add_column(f"p{percent:g}", justify="right")
    table.add_column("calls", justify="right")
    for name, samples in results.samples.items():
        if name not in results.failed and not name.endswith(AGAIN):
            found = latency(samples)
            table.add_row(name, *(number(found.at(percent)) for percent in SHOWN), f"{found.calls:,}")
    _print(out, table)
