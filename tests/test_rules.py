"""The rules by which libraries start threads, beside the libraries' own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from conftest import DEADLINE, until

from threadcache._rules import AnyioRule, ExecutorRule, Rule, TrioRule


def starts(rule: Rule, *times: tuple[str, float]) -> list[bool]:
    """What a rule says of jobs submitted ("+") and ended ("-") at these seconds."""
    said = []
    for what, when in times:
        if what == "+":
            said.append(rule.submitted(when))
        else:
            rule.ended(when)
    return said


def test_the_rules_differ_in_when_idle_threads_leave() -> None:
    idle_for_long = [("+", 0.0), ("-", 1.0), ("+", 11.5)]
    assert starts(TrioRule(), *idle_for_long) == [True, True]
    assert starts(AnyioRule(), *idle_for_long) == [True, False]
    assert starts(ExecutorRule(2), *idle_for_long) == [True, False]
    # AnyIO prunes the others when one is put to work.
    pruned = [("+", 0.0), ("+", 0.0), ("-", 1.0), ("-", 1.0), ("+", 11.5), ("+", 11.5)]
    assert starts(AnyioRule(), *pruned) == [True, True, False, True]


@pytest.mark.parametrize("limit", [1, 3, 8])
def test_the_executors_rule_is_that_of_the_standard_library(limit: int) -> None:
    rule = ExecutorRule(limit)
    executor = ThreadPoolExecutor(limit)
    started = 0
    for round_of in (1, 2, limit, 1, limit + 3):
        barrier = Barrier(min(round_of, limit) + 1)
        futures = []
        for number in range(round_of):
            started += rule.submitted(0)
            futures.append(executor.submit(barrier.wait, DEADLINE) if number < limit else executor.submit(int))
            assert len(executor._threads) == started
        barrier.wait(DEADLINE)
        for future in futures:
            future.result(DEADLINE)
            rule.ended(0)
        # A thread that has become idle says so through a semaphore, after its future is done.
        until(lambda: executor._idle_semaphore._value == rule._idle)
    executor.shutdown()
