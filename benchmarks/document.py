"""Write docs/benchmarks.md and its plots from the results that matrix.py left: ``python benchmarks/document.py``.

Every figure in it comes from there, and none is typed.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from combinations import COMBINATIONS, Combination, caption, folder_of, front, load, result_file
from goals import MAILBOXES
from numerals import number
from percentiles import SHOWN

WIDTH = 120

INTRODUCTION = """\
# Benchmarks

Written by `benchmarks/document.py` from results that `benchmarks/matrix.py` measured; no figure in here is typed.
[benchmarks/README](../benchmarks/README.md) says what each row does, who takes part, and how it is measured.

A *ratio* is our median by that of the cheapest peer named behind it, of the same run; below 1 is better. In parentheses
is the interval in which 90 % of such ratios would lie by the rounds' own scatter. A `?` says that this run does not
decide whether the goal is met. *C (parks)*, *C (spins)* and *Java* are limits, with which nobody competes. A number
[in brackets] belongs to a contender that fell behind the timetable, and did less work than asked for. Every row is
shown, met or not.
"""


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> Iterator[str]:
    """A table in Markdown; all columns but the first ones are for numbers."""
    yield "| " + " | ".join(headings) + " |"
    yield "|" + "|".join("---" if index < left else "--:" for index in range(len(headings))) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def _median(row: dict[str, Any], name: str | None) -> str:
    value = row["medians"].get(name)
    if value is None:
        return "–"
    detail = row["details"].get(name)
    text = number(value) + (f" ({detail})" if detail else "")
    return f"[{text}]" if name in row["did less work"] else text


def _ratio(row: dict[str, Any]) -> str:
    ratio = row["ratio"]
    return "–" if ratio is None else f"{ratio['value']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"


def _goal(row: dict[str, Any]) -> str:
    return (
        "–" if row["goal"] is None else number(row["goal"]) + (f" {row['unit']}" if row["goal is"] == "value" else "")
    )


def _by_row(result: dict[str, Any]) -> dict[tuple[str, str], dict[str, dict[str, Any]]]:
    """Lines by row and front, then by mailbox; in the order of the rows."""
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    order = {name: index for index, name in enumerate(dict.fromkeys(row["row"] for row in result["rows"]))}
    for row in sorted(result["rows"], key=lambda row: order[row["row"]]):
        mailbox = result["contenders"][row["subject"]]["mailbox"]
        found.setdefault((row["row"], front(row["subject"])), {})[mailbox] = row
    return found


def _verdict(result: dict[str, Any]) -> Iterator[str]:
    """What has been reached and what has not, in words."""
    by_row = _by_row(result)
    fronts = Counter(row for row, _who in by_row)
    for mailbox in reversed(MAILBOXES):
        lines = {
            row if fronts[row] == 1 else f"{row} ({who})": found[mailbox]
            for (row, who), found in by_row.items()
            if mailbox in found
        }
        if not lines:
            yield f"- **{mailbox}**: left out."
            continue
        words = [line["met"] for line in lines.values() if line["met"]]
        met = sum(word.startswith("yes") for word in words)
        missed = [name for name, line in lines.items() if (line["met"] or "").startswith("no")]
        lost = [name for name, line in lines.items() if line["ratio"] and line["ratio"]["value"] > 1]
        failed = [name for name, line in lines.items() if line["subject"] not in line["medians"]]
        text = (
            f"- **{mailbox}**: {met} of {len(words)} goals met. Not met: {', '.join(missed) or 'none'}. "
            f"Dearer than the cheapest peer: {', '.join(lost) or 'nothing'}."
            + (f" Failed: {', '.join(failed)}." if failed else "")
        )
        yield textwrap.fill(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    yield ""


def _goals(result: dict[str, Any]) -> Iterator[str]:
    headings = ["row", "of", "unit", "cheapest peer", "its median"]
    for mailbox in reversed(MAILBOXES):
        headings += [mailbox, "ratio", "goal", "met"]
    rows = []
    for (name, who), lines in _by_row(result).items():
        line = next(iter(lines.values()))
        row = [name, who, line["unit"], line["peer"] or "–", _median(line, line["peer"])]
        for mailbox in reversed(MAILBOXES):
            ours = lines.get(mailbox)
            if ours is None:
                row += ["–"] * 4
            else:
                row += [_median(ours, ours["subject"]), _ratio(ours), _goal(ours), ours["met"] or "–"]
        rows.append(row)
    yield from _table(headings, rows, left=4)


def _medians(result: dict[str, Any]) -> Iterator[str]:
    """Everyone's medians, a table for each group of rows that the same ones take part in."""
    groups: dict[str, list[dict[str, Any]]] = {}
    seen = set()
    for (name, who), lines in _by_row(result).items():
        if name not in seen:
            seen.add(name)
            groups.setdefault(who, []).append(next(iter(lines.values())))
    for rows in groups.values():
        taking_part = {name for row in rows for name in row["medians"]}
        names = sorted(taking_part, key=list(result["contenders"]).index)
        names.sort(key=lambda name: result["contenders"][name]["limit"])
        cells = [[r["row"], f"{r['title']}, {r['unit']}", *(_median(r, name) for name in names)] for r in rows]
        yield from _table(("row", "", *names), cells, left=2)


def _latencies(result: dict[str, Any]) -> Iterator[str]:
    for latency in result["latencies"]:
        yield f"**{latency['title']}**, µs of single calls:\n"
        at = [latency["percentages"].index(percent) for percent in SHOWN]
        cells = [
            [name, *(number(found["us"][index]) for index in at), f"{found['calls']:,}"]
            for name, found in latency["contenders"].items()
        ]
        yield from _table(("", *(f"p{percent:g}" for percent in SHOWN), "calls"), cells)


def _remarks(result: dict[str, Any]) -> Iterator[str]:
    for name, why in result["left out"].items():
        yield f"- left out: {name} ({why})"
    for measurement in result["measurements"]:
        for name, text in measurement["failed"].items():
            last = text.splitlines()[-1] if text else "without a word"
            yield f"- failed: {name} in {measurement['measurement']}: `{last}`"
    loads = [m["others used (cores)"] for m in result["measurements"] if m["others used (cores)"] is not None]
    if loads:
        yield f"- others used {min(loads):.2f} to {max(loads):.2f} cores meanwhile"
    if environment := result["machine"]["environment"]:
        yield "- environment: " + ", ".join(f"`{name}={value}`" for name, value in environment.items())
    yield ""


def _section(combination: Combination, result: dict[str, Any], plots: Sequence[tuple[str, str]]) -> Iterator[str]:
    machine = result["machine"]
    yield f"## {combination.title}\n"
    if machine["quick"]:
        yield "**A quick run, to see that everything works. Its numbers mean nothing.**\n"
    where, versions, _when = caption({**machine, "quick": False})
    limits = "; ".join(version for name, version in machine["versions"].items() if not name[0].islower())
    described = f"{where}; {machine['memory']}. {versions}. {limits or 'No limits'}."
    yield textwrap.fill(described, WIDTH, break_on_hyphens=False)
    yield f"\nMeasured on {machine['date'][:10]} at revision {machine['revision'] or 'unknown'}:\n"
    yield f"    {machine['command']}\n"
    yield from _remarks(result)
    yield from _verdict(result)
    for title, file in plots:
        yield f"![{title}](benchmarks/{file})\n"
    yield from ("### Against the cheapest peer\n", *_goals(result))
    yield from ("### The slow calls among the many\n", *_latencies(result))
    yield from ("### Everyone's medians\n", *_medians(result))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", type=Path, default=Path("docs"), metavar="FOLDER", help="as for matrix.py")
    docs: Path = parser.parse_args().docs
    try:
        found = {one: load(file, one) for one in COMBINATIONS if (file := result_file(docs, one)).exists()}
    except ValueError as error:
        sys.exit(str(error))
    if not found:
        sys.exit(f"no results in {folder_of(docs)}: run benchmarks/matrix.py first")
    drawn: dict[Combination, Sequence[tuple[str, str]]] = dict.fromkeys(found, ())
    if importlib.util.find_spec("matplotlib") is None:
        print("left out: the plots (matplotlib is not installed)")
    else:
        from plots import draw

        drawn = {one: draw(result, folder_of(docs), one.name) for one, result in found.items()}
    text = [INTRODUCTION]
    for one, result in found.items():
        text += _section(one, result, drawn[one])
    document = docs / "benchmarks.md"
    document.write_text("\n".join(text).rstrip() + "\n", encoding="utf-8")
    print(f"{document}: {', '.join(one.title for one in found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
