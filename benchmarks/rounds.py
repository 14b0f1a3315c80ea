"""Interleaved rounds: every contender once a round, and each round begins with another one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from children import Child, ChildFailedError
from contenders import Contender
from machine import OtherLoad
from measurement import Measurement
from workloads import SAMPLES, Numbers

AGAIN = " again"  # behind the name of the contender that is compared with itself


@dataclass
class Results:
    """The numbers of every round, by contender, in the order of the rounds."""

    measurement: str
    params: dict[str, float]
    per_child: int
    rounds: dict[str, list[Numbers]]
    samples: dict[str, list[int]]  # of all rounds, in nanoseconds, where each call has been timed
    failed: dict[str, str] = field(default_factory=dict)  # who dropped out, and why
    said: dict[str, str] = field(default_factory=dict)  # what children wrote to standard error
    other_load: float | None = None  # cores

    def values(self, contender: str, number: str) -> list[float]:
        """One number of every round, or nothing if the contender is missing or failed."""
        return [] if contender in self.failed else [numbers[number] for numbers in self.rounds.get(contender, ())]


def run(
    measurement: Measurement[Any],
    rounds: int,
    quick: bool,
    leave_out: Collection[str],
    commands: Mapping[str, Sequence[str]],
    tick: Callable[[], object],
) -> Results:
    """Do one measurement.

    Args:
        measurement: Which one.
        rounds: How many rounds.
        quick: Whether to use its quick parameters.
        leave_out: Names of contenders that cannot take part.
        commands: How to run those that are programs.
        tick: Called after each round of each contender, so for one more than there are contenders.
    """
    entries = {one.name: one for one in measurement.contenders if one.name not in leave_out}
    if measurement.twice.name in entries:
        entries[measurement.twice.name + AGAIN] = measurement.twice
    params = {**measurement.params, **(measurement.quick if quick else {})}
    results = Results(measurement.name, params, measurement.per_child, {name: [] for name in entries}, {})
    names = list(entries)
    children: dict[str, Child] = {}
    load = OtherLoad()
    try:
        for number in range(rounds):
            if number % measurement.per_child == 0:
                _close(children, results)
            first = number % len(names)
            for name in names[first:] + names[:first]:
                _one_round(measurement, entries[name], name, commands, children, results)
                if measurement.per_child == 1:
                    _close(children, results)  # many threads, or much memory, should not lie beside the next one's
                tick()
    finally:
        _close(children, results)
    results.other_load = load.cores()
    return results


def _one_round(
    measurement: Measurement[Any],
    contender: Contender[Any],
    name: str,
    commands: Mapping[str, Sequence[str]],
    children: dict[str, Child],
    results: Results,
) -> None:
    if name in results.failed:
        return
    if name not in children:
        children[name] = Child(measurement, contender, results.params, commands.get(contender.name, ()))
    try:
        answer = children[name].round()
    except ChildFailedError as error:
        results.failed[name] = str(error)
        return
    numbers: Numbers = {}
    for key, value in answer.items():
        if not isinstance(value, list):
            numbers[key] = value
        elif key == SAMPLES:
            results.samples.setdefault(name, []).extend(value)
    results.rounds[name].append(numbers)


def _close(children: dict[str, Child], results: Results) -> None:
    while children:
        name, child = children.popitem()
        if said := child.close():
            results.said[name] = said
