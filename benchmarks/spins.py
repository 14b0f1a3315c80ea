"""Measure what THREADCACHE_SPIN is worth and what it costs, and write docs/spinning.md: ``python benchmarks/spins.py``.

Each length of a spin is one run of run.py, in which the peers take part too: a length is judged by the ratio to a peer
of its own run. Every figure in the document comes from there.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from numerals import number

LENGTHS = (0, 10, 20, 35, 50, 100)
ROWS = (
    *("round-trip", "submit-result", "short-lived", "await-1", "await-16"),
    *("cpu-1k", "cpu-10k", "cpu-20k", "cpu-flat-out", "neighbour"),
)
RUN = Path(__file__).with_name("run.py")

INTRODUCTION = """\
# For how long to spin

Written by `benchmarks/spins.py`; no figure in here is typed. A column is a length of the spin, `THREADCACHE_SPIN` in
microseconds, and one run of the benchmarks with the native mailbox. A cell has our median and, in parentheses, its
ratio to that of the cheapest peer of the same run. Rows named cpu are CPU time per job, at so many jobs a second, and
`neighbour` is what a thread that computes in Python loses to a thousand jobs a second, per job.
[benchmarks/README](../benchmarks/README.md) tells of each row.
"""


def _measure(length: float, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "result.json")
        command = (sys.executable, RUN, "--rows", ",".join(ROWS), "--rounds", str(rounds), "--json", result)
        subprocess.run(command, env={**os.environ, "THREADCACHE_SPIN": str(length)}, check=True)
        loaded: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return loaded


def _cells(result: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Title and cell of each row."""
    found = {}
    for row in result["rows"]:
        if result["contenders"][row["subject"]]["mailbox"] == "native":
            median, ratio = row["medians"].get(row["subject"]), row["ratio"]
            text = "–" if median is None else number(median)
            found[row["row"]] = f"{row['title']}, {row['unit']}", text + (f" ({ratio['value']:.2f})" if ratio else "")
    return found


def _document(results: Mapping[float, dict[str, Any]]) -> Iterator[str]:
    machine = next(iter(results.values()))["machine"]
    table = {length: _cells(result) for length, result in results.items()}
    yield INTRODUCTION
    yield "| row | what | " + " | ".join(map(str, results)) + " |"
    yield "|---|---|" + "--:|" * len(results)
    for row in ROWS:
        cells = [table[length].get(row, ("–", "–")) for length in results]
        yield f"| {row} | {cells[0][0]} | " + " | ".join(cell for _, cell in cells) + " |"
    yield ""
    yield f"Measured with `{shlex.join(('python', 'benchmarks/spins.py', *sys.argv[1:]))}` on:"
    yield ""
    for name in ("date", "revision", "cpu", "virtual machine", "cores", "system", "python", "gil", "versions"):
        if name in machine:
            yield f"- {name}: {machine[name]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", type=Path, default=Path("docs"), metavar="FOLDER", help="where the document goes")
    parser.add_argument("--rounds", type=int, default=6, metavar="N", help="of each measurement")
    arguments = parser.parse_args()
    results: dict[float, dict[str, Any]] = {}
    for length in LENGTHS:
        print(f"a spin of {length} us, {len(results) + 1} of {len(LENGTHS)}", file=sys.stderr)
        results[length] = _measure(length, arguments.rounds)
    path = arguments.docs / "spinning.md"
    path.write_text("\n".join(_document(results)) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
