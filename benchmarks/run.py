"""Compare threadcache with its peers in one run: ``python benchmarks/run.py --help``."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

try:
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    from table import console, show, show_latencies
except ModuleNotFoundError as error:
    sys.exit(f"{error}: install the extra 'bench' (pip install -e '.[bench]')")

from contenders import Contender, LeftOutError
from machine import affinity, describe
from measurement import Measurement
from record import as_json, write
from rounds import Results, run
from rows import ROWS, Row
from verdicts import line


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    names = ", ".join(row.name for row in ROWS)
    parser.add_argument("--rows", metavar="A,B", help=f"only these rows, of: {names}")
    parser.add_argument(
        "--rounds", type=int, metavar="N", help="rounds of every measurement, in place of its own number"
    )
    parser.add_argument("--pin", type=int, metavar="CORE", help="run everything on this core (default: not pinned)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round's numbers to FILE")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, to see that everything works")
    arguments = parser.parse_args()
    if arguments.rounds is not None and arguments.rounds < 1:
        parser.error("--rounds: must be at least 1")
    if arguments.rows is not None:
        arguments.rows = arguments.rows.split(",")
        if unknown := set(arguments.rows) - {row.name for row in ROWS}:
            parser.error(f"--rows: no such row: {', '.join(sorted(unknown))} (there are: {names})")
    if arguments.pin is not None:
        if not hasattr(os, "sched_setaffinity"):
            parser.error("--pin: this platform cannot pin")
        try:
            os.sched_setaffinity(0, {arguments.pin})  # children inherit it
        except OSError as error:
            parser.error(f"--pin: core {arguments.pin}: {error}")
    return arguments


def _prepare(contenders: Mapping[str, Contender[Any]], folder: Path) -> tuple[dict[str, str], dict[str, Sequence[str]]]:
    """Why some cannot take part, and the commands of those that are programs, which are built in a folder."""
    cores = len(affinity() or []) or os.cpu_count() or 1
    missing: dict[str, str] = {}
    commands: dict[str, Sequence[str]] = {}
    for name, one in contenders.items():
        try:
            one.check(cores)
            if one.program is not None:
                commands[name] = one.program(folder)
        except LeftOutError as error:
            missing[name] = str(error)
    return missing, commands


def _measure(
    measurements: Sequence[Measurement[Any]],
    arguments: argparse.Namespace,
    missing: Mapping[str, str],
    commands: Mapping[str, Sequence[str]],
) -> list[Results]:
    """All measurements, with progress on standard error."""
    err = console(stderr=True)
    results = []
    columns = (TextColumn("{task.description}"), *Progress.get_default_columns()[1:-1], TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        for number, measurement in enumerate(measurements, 1):
            began = time.monotonic()
            rounds = arguments.rounds or (measurement.quick_rounds if arguments.quick else measurement.rounds)
            turns = rounds * (len(measurement.contenders) + 1)
            task = progress.add_task(f"{number}/{len(measurements)} {measurement.name}", total=turns)
            result = run(
                measurement, rounds, arguments.quick, missing.keys(), commands, partial(progress.advance, task)
            )
            progress.remove_task(task)
            load = "" if result.other_load is None else f", others used {result.other_load:.2f} cores"
            seconds = time.monotonic() - began
            err.print(f"{number}/{len(measurements)} {measurement.name}: {rounds} rounds, {seconds:.1f} s{load}")
            results.append(result)
    return results


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {version}" for name, version in value.items()) or "–"
    return str(value)


def main() -> int:
    arguments = _arguments()
    rows: list[Row] = [row for row in ROWS if arguments.rows is None or row.name in arguments.rows]
    out = console()
    if not sys.platform.startswith("linux"):
        for row in [row for row in rows if row.measurement.linux_only]:
            out.print(f"left out: {row.name} (reads /proc, which only Linux has)")
            rows.remove(row)
    measurements = {row.measurement.name: row.measurement for row in rows}
    contenders: dict[str, Contender[Any]] = {
        one.name: one for measurement in measurements.values() for one in measurement.contenders
    }
    with tempfile.TemporaryDirectory() as folder:
        missing, commands = _prepare(contenders, Path(folder))
        for name, why in sorted(missing.items()):
            out.print(f"left out: {name} ({why})")
        subjects = [one for one in contenders.values() if one.mailbox is not None and one.name not in missing]
        if not subjects:
            out.print("nothing to compare: threadcache is not installed (pip install -e '.[bench]')")
            return 2
        machine = describe((*(name for one in contenders.values() for name in one.modules), "outcome"), arguments)
        for key, value in machine.items():
            out.print(f"{key}: {_shown(value)}")
        results = {one.measurement: one for one in _measure(list(measurements.values()), arguments, missing, commands)}

    lines = [
        line(row, results[row.measurement.name], subject)
        for subject in subjects
        for row in rows
        if subject in row.measurement.contenders
    ]
    for subject in subjects:
        out.print()
        show(out, [one for one in lines if one.subject == subject.name], subject.name)
    for result in results.values():
        if result.samples:
            out.print()
            show_latencies(out, result)
    out.print(
        "[in brackets]: did less work than asked for, and is nobody's peer; '?': chance could have said otherwise"
    )

    loads = [result.other_load for result in results.values() if result.other_load is not None]
    if loads:
        out.print(f"others used {min(loads):.2f} to {max(loads):.2f} cores meanwhile")
    for result in results.values():
        for name, text in result.said.items():
            out.print(f"{result.measurement}, {name}, on standard error: {text}")
    failures = [(result.measurement, name, text) for result in results.values() for name, text in result.failed.items()]
    for measurement, name, text in failures:
        out.print(f"FAILED: {measurement}, {name}: {text}")
    if arguments.json is not None:
        write(arguments.json, as_json(machine, missing, list(contenders.values()), list(results.values()), lines))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
