"""The combinations that are published, and where each one's result lies: with and without the GIL, pinned and not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from record import FORMAT


@dataclass(frozen=True)
class Combination:
    name: str  # of its files
    title: str
    gil: bool
    pinned: bool  # to one core


COMBINATIONS = (
    Combination("gil", "With the GIL", gil=True, pinned=False),
    Combination("gil-one-core", "With the GIL, on one core", gil=True, pinned=True),
    Combination("no-gil", "Without the GIL", gil=False, pinned=False),
    Combination("no-gil-one-core", "Without the GIL, on one core", gil=False, pinned=True),
)


def folder_of(docs: Path) -> Path:
    """Where results and plots are kept, beside the document that shows them."""
    return docs / "benchmarks"


def result_file(docs: Path, combination: Combination) -> Path:
    return folder_of(docs) / f"{combination.name}.json"


def load(path: Path, combination: Combination) -> dict[str, Any]:
    """A combination's result.

    Raises:
        ValueError: It is of another format, or of another combination.
    """
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if result.get("format") != FORMAT:
        raise ValueError(f"{path}: is of format {result.get('format')}, and not {FORMAT}; measure again")
    machine = result["machine"]
    pinned = machine["pinned to core"] is not None
    if (machine["gil"], pinned) != (combination.gil, combination.pinned):
        raise ValueError(f"{path}: was measured otherwise than its name says")
    return result


def front(subject: str) -> str:
    """A contender of ours without its mailbox."""
    return subject.rpartition(" (")[0]


def caption(machine: dict[str, Any]) -> list[str]:
    """What a figure depends on, in lines for below it."""
    cores = f"{machine['cores']} cores" + (", virtual" if machine["virtual machine"] else "")
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if name[0].islower())
    quick = "QUICK RUN, NOT FOR NUMBERS. " if machine["quick"] else ""
    gil = "with" if machine["gil"] else "without"
    return [
        f"{quick}{machine['cpu']}, {cores}, {machine['system']}; {machine['python']} {gil} the GIL",
        versions,
        f"{machine['date'][:10]}, revision {machine['revision'] or 'unknown'}: {machine['command']}",
    ]
