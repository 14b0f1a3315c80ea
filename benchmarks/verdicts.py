"""From rounds to lines of the table: medians, the cheapest peer, the ratio, and whether the goal is met."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from contenders import Contender
from goals import GOALS, Goal
from rounds import AGAIN, Results
from rows import PACE_KEPT, Row
from spread import Ratio, ratio


@dataclass(frozen=True)
class Cell:
    """What one contender reached in one row."""

    median: float
    detail: str
    counts: bool  # False if it did less work than was asked for


@dataclass(frozen=True)
class Line:
    """One row as seen by one contender of ours."""

    row: Row
    title: str
    subject: str
    cells: dict[str, Cell]
    peer: str | None  # whom the ratio is to: the cheapest of those that the row names
    ratio: Ratio | None
    again: Ratio | None  # a peer compared with itself: how far from 1 chance alone goes
    goal: Goal | None
    limit: float | None  # the goal's number for this contender's mailbox
    met: str  # "yes", "no", with a "?" where chance could have said otherwise; "" without a goal or a result


def _cell(row: Row, results: Results, contender: Contender[Any]) -> Cell | None:
    name = contender.name
    if contender.limit and not any(row.number in numbers for numbers in results.rounds.get(name, ())):
        return None  # a program that does the work, but cannot tell this number
    values = results.values(name, row.number)
    if not values:
        return None
    detail, counts = "", True
    if row.detail is not None and row.detail[0] in results.rounds[name][0]:
        number, shown = row.detail
        detail = shown.format(statistics.median(results.values(name, number)))
    if "kept" in results.rounds[name][0]:
        kept = statistics.median(results.values(name, "kept"))
        if kept < PACE_KEPT:
            detail, counts = f"{kept:.0%} of the pace", False
    return Cell(statistics.median(values), detail, counts)


def _met(reached: Ratio, limit: float, again: Ratio | None) -> str:
    """Within the limit or not; doubtful if the limit is within the interval, widened by how far chance alone goes."""
    chance = max(abs(bound - 1) for bound in again) if again is not None else 0.0
    doubtful = reached.low / (1 + chance) <= limit <= reached.high * (1 + chance)
    if again is not None and again.low <= 0:  # the peer's cost is not told from none at all
        doubtful = True
    return ("yes" if reached.value <= limit else "no") + ("?" if doubtful else "")


def line(row: Row, results: Results, subject: Contender[Any]) -> Line:
    """What the table says about ``subject`` in ``row``."""
    found = {one.name: _cell(row, results, one) for one in row.measurement.contenders}
    cells = {name: cell for name, cell in found.items() if cell is not None}
    peers = [one.name for one in row.against if one.name in cells and cells[one.name].counts]
    peer = min(peers, key=lambda name: cells[name].median, default=None)
    ours = results.values(subject.name, row.number)
    reached = ratio(ours, results.values(peer, row.number)) if peer is not None else None

    twice = row.measurement.twice.name
    again = ratio(results.values(twice + AGAIN, row.number), results.values(twice, row.number))

    goal = GOALS.get(row.name)
    limit = goal.for_mailbox(subject.mailbox) if goal is not None and subject.mailbox is not None else None
    met = ""
    if goal is not None and limit is not None and ours:
        if not cells[subject.name].counts:
            met = "no"
        elif goal.kind == "value":
            met = "yes" if cells[subject.name].median <= limit else "no"
        elif reached is not None:
            met = _met(reached, limit, again)
    title = row.title.format(**results.params)
    return Line(row, title, subject.name, cells, peer, reached, again, goal, limit, met)
