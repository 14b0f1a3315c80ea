"""What ``python -m threadcache run --report`` says at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import default_cache

if TYPE_CHECKING:
    from ._install import Installation
    from ._watch import FrontEnd, Watcher

__all__ = ["report"]

_HEADINGS = ("front end", "jobs", "threads started", "without threadcache", "peak", "longest job", "idle")

_NOTES = """\
threads started: those whose first job was the front end's. without threadcache: those that the library would have
started; its own rule for starting and reusing threads was applied to the jobs as they came and went. peak: the most
jobs at a time. idle: seconds that threads waited after a job of the front end, summed over the threads.
The process-wide cache: {started} threads started, {peak} at most at a time."""


def report(watcher: Watcher, installation: Installation) -> str:
    """The table, its legend, and what could not be installed."""
    rows = [_HEADINGS, *(_row(one) for _, one in sorted(watcher.front_ends.items()))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += _NOTES.format(**default_cache.stats()._asdict()).splitlines()
    lines += [f"{name}: {state}" for name, state in installation.report().items() if state != "installed"]
    if watcher.trace_error is not None:
        lines.append(f"the trace is not complete: {watcher.trace_error}")
    return "\n".join(lines)


def _row(one: FrontEnd) -> tuple[str, ...]:
    longest = f"{one.longest:.3f} s  {one.longest_name}"
    return one.name, str(one.jobs), str(one.threads), str(one.without), str(one.peak), longest, f"{one.idle:.3f} s"
