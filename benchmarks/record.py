"""A run as a file for other programs, from which the documentation's figures are made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from contenders import Contender
from percentiles import CURVE, latency
from rounds import AGAIN, Results
from rows import LATENCIES
from spread import Ratio
from verdicts import Line

FORMAT = 2
DIGITS = 5  # significant ones; no clock and no count is better


def _short(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.{DIGITS}g}")


def _ratio(ratio: Ratio | None) -> dict[str, float] | None:
    return None if ratio is None else {name: _short(value) for name, value in ratio._asdict().items()}


def _measurement(results: Results) -> dict[str, Any]:
    rounds = {
        name: {number: [_short(one[number]) for one in found] for number in (found[0] if found else ())}
        for name, found in results.rounds.items()
    }
    return {
        "measurement": results.measurement,
        "params": results.params,
        "rounds in a process": results.per_child,
        "rounds": rounds,
        "failed": results.failed,
        "said": results.said,
        "others used (cores)": None if results.other_load is None else _short(results.other_load),
    }


def _latencies(results: Results) -> dict[str, Any]:
    return {
        "measurement": results.measurement,
        "title": LATENCIES[results.measurement],
        "percentages": CURVE,
        "contenders": {
            name: {"calls": len(samples), "us": [_short(value) for value in latency(samples).curve]}
            for name, samples in results.samples.items()
            if name not in results.failed and not name.endswith(AGAIN)
        },
    }


def _row(line: Line) -> dict[str, Any]:
    return {
        "row": line.row.name,
        "title": line.title,
        "unit": line.row.unit,
        "measurement": line.row.measurement.name,
        "number": line.row.number,
        "subject": line.subject,
        "medians": {name: _short(cell.median) for name, cell in line.cells.items()},
        "details": {name: cell.detail for name, cell in line.cells.items() if cell.detail},
        "did less work": [name for name, cell in line.cells.items() if not cell.counts],
        "peer": line.peer,
        "ratio": _ratio(line.ratio),
        "peer to itself": _ratio(line.again),
        "goal": line.limit,
        "goal is": line.goal.kind if line.goal is not None else None,
        "met": line.met or None,
    }


def as_json(
    machine: Mapping[str, Any],
    left_out: Mapping[str, str],
    contenders: Sequence[Contender[Any]],
    results: Sequence[Results],
    lines: Sequence[Line],
) -> dict[str, Any]:
    """Everything that was measured, round by round, and what the tables say of it."""
    return {
        "format": FORMAT,
        "machine": machine,
        "left out": left_out,
        "contenders": {one.name: {"mailbox": one.mailbox, "limit": one.limit} for one in contenders},
        "rows": [_row(line) for line in lines],
        "latencies": [_latencies(one) for one in results if one.samples],
        "measurements": [_measurement(one) for one in results],
    }


def write(path: Path, document: Mapping[str, Any]) -> None:
    """A line for each entry of a list: short, and yet two of them can be compared."""
    parts = []
    for key, value in document.items():
        if isinstance(value, list):
            entries = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in value)
            parts.append(f"{json.dumps(key)}: [\n{entries}\n]")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")
