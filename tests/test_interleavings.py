"""G1, G3, G5, G6 and the races of the core's header, under every schedule that the explorer reaches."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from explorer import Deadlock, Run, VirtualMailbox, explore
from steps import OPCODES

import threadcache

if TYPE_CHECKING:
    from collections.abc import Callable

FULL = os.environ.get("THREADCACHE_STORM") == "full"
"""Two departures instead of one, which takes an hour or more, and opcodes for steps as well as lines."""

BOUND = 2 if FULL else 1 if OPCODES else 0  # PyPy's tracing is slow
WALKS = 5000 if FULL else 40 if OPCODES else 20


class Stage:
    """A cache on virtual mailboxes and threads, and a record of what its jobs did."""

    def __init__(self, run: Run, *, threads: int = 100, **arguments: Any) -> None:
        self.run = run
        self.threads = threads
        self.log: list[tuple[str, str, int]] = []
        self.cache = threadcache.ThreadCache(_new_mailbox=run.mailbox, _start_thread=self.start, **arguments)

    def start(self, target: Callable[[], object], args: tuple[()]) -> None:
        if self.threads == 0:
            raise RuntimeError("can't start new thread")
        self.threads -= 1
        self.run.spawn(target)

    def submit(self, job: str, fn: Callable[[], Any] = lambda: None, then: Callable[[], Any] = lambda: None) -> None:
        def run_fn() -> None:
            self.log.append(("fn", job, threading.get_ident()))
            fn()

        def deliver(outcome: Any) -> None:
            outcome.unwrap()
            self.log.append(("deliver", job, threading.get_ident()))
            then()

        self.cache.start_thread_soon(run_fn, deliver)

    def did(self, what: str, job: str) -> bool:
        return any(entry[:2] == (what, job) for entry in self.log)

    def check(self, *jobs: str) -> None:
        """Each job ran once and was delivered once, in one thread, and nothing is left of the cache."""
        assert sorted(entry[1] for entry in self.log if entry[0] == "fn") == sorted(jobs)
        assert sorted(entry[1] for entry in self.log if entry[0] == "deliver") == sorted(jobs)
        for job in jobs:
            assert len({entry[2] for entry in self.log if entry[1] == job}) == 1
        stats = self.cache.stats()
        assert (stats.workers, stats.idle, stats.jobs) == (0, 0, len(jobs))
        assert stats.started == stats.retired
        assert not self.cache._line


def submitters(run: Run) -> Any:
    """Two threads submit two jobs each."""
    stage = Stage(run)
    run.spawn(lambda: [stage.submit("a"), stage.submit("b")])
    run.spawn(lambda: [stage.submit("c"), stage.submit("d")])
    return lambda: stage.check("a", "b", "c", "d")


def retiring(run: Run) -> Any:
    """Jobs are submitted while the only worker's time is up."""
    stage = Stage(run)

    def main() -> None:
        for job in "abc":
            stage.submit(job)
            run.wait(lambda job=job: stage.did("deliver", job))

    run.spawn(main)
    return lambda: stage.check("a", "b", "c")


def waiting_jobs(run: Run) -> Any:
    """Jobs that wait for jobs submitted after them: G3."""
    stage = Stage(run)

    def main() -> None:
        stage.submit("a", lambda: run.wait(lambda: stage.did("fn", "b")))
        stage.submit("b", lambda: run.wait(lambda: stage.did("fn", "c")))
        stage.submit("c", lambda: run.wait(lambda: stage.did("deliver", "d")))

    run.spawn(main)
    run.spawn(lambda: stage.submit("d"))
    return lambda: stage.check("a", "b", "c", "d")


def standing_by(run: Run) -> Any:
    """The submitter of jobs that wait for each other spins meanwhile, and workers leave the next one to it."""
    stage = Stage(run)
    latch = run.mailbox()

    def main() -> None:
        stage.submit("a", lambda: run.wait(lambda: stage.did("fn", "b")), latch.put)
        stage.submit("b", lambda: run.wait(lambda: stage.did("fn", "c")))
        stage.submit("c", lambda: run.wait(lambda: stage.did("fn", "d")))
        stage.cache._stand_by(latch)

    run.spawn(main)
    run.spawn(lambda: [stage.submit("d"), stage.cache._stand_by(run.mailbox())])
    return lambda: stage.check("a", "b", "c", "d")


def from_deliver(run: Run) -> Any:
    """Jobs submitted by `deliver`, while another thread submits too."""
    stage = Stage(run)
    run.spawn(
        lambda: stage.submit("a", then=lambda: [stage.submit("b", then=lambda: stage.submit("d")), stage.submit("c")])
    )
    run.spawn(lambda: stage.submit("e"))
    return lambda: stage.check("a", "b", "c", "d", "e")


def blocking_deliver(run: Run) -> Any:
    """A `deliver` that waits for the second job that it submits: race 8."""
    stage = Stage(run)

    def then() -> None:
        stage.submit("b")
        stage.submit("c")
        run.wait(lambda: stage.did("deliver", "c"))

    run.spawn(lambda: stage.submit("a", then=then))
    return lambda: stage.check("a", "b", "c")


def trimmed(run: Run) -> Any:
    """Workers are told to leave while they are given jobs."""
    stage = Stage(run)

    def main() -> None:
        for job in "abc":
            stage.submit(job)

    run.spawn(main)
    run.spawn(lambda: [stage.cache.trim(), stage.cache.trim()])
    return lambda: stage.check("a", "b", "c")


def crowded(run: Run) -> Any:
    """`max_idle` sends workers away."""
    stage = Stage(run, max_idle=0)
    run.spawn(lambda: [stage.submit("a"), stage.submit("b")])
    run.spawn(lambda: stage.submit("c"))
    return lambda: stage.check("a", "b", "c")


def starved(run: Run) -> Any:
    """One thread is to be had and no more: what is accepted runs, what raises does not: race 5."""
    stage = Stage(run, threads=1)
    accepted = []

    def submit(job: str) -> None:
        try:
            stage.submit(job)
        except RuntimeError:
            return
        accepted.append(job)

    run.spawn(lambda: [submit("a"), submit("b")])
    run.spawn(lambda: submit("c"))

    def check() -> None:
        stage_log = sorted(entry[1] for entry in stage.log if entry[0] == "deliver")
        assert stage_log == sorted(accepted)
        assert accepted
        assert not stage.cache._line and not stage.cache._workers

    return check


SCENARIOS = [submitters, retiring, waiting_jobs, standing_by, from_deliver, blocking_deliver, trimmed, crowded, starved]


@pytest.mark.storm
@pytest.mark.timeout(0 if FULL else 300)
@pytest.mark.filterwarnings("ignore:.*got no thread:RuntimeWarning")
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_g1_g3_every_schedule(scenario: Any) -> None:
    """No schedule loses a job, runs one twice, lets one wait for another, or leaves a worker behind."""
    everywhere(scenario)


@pytest.mark.storm
@pytest.mark.timeout(0 if FULL else 300)
def test_g5_one_worker_under_every_schedule() -> None:
    """Jobs submitted one after another, each on delivery of the last, never start a second worker."""

    def scenario(run: Run) -> Any:
        # No early timeouts here: a worker that has retired is rightly followed by another.
        stage = Stage(run, threads=1, idle_timeout=float("inf"))

        def main() -> None:
            for job in "abc":
                stage.submit(job)
                run.wait(lambda job=job: stage.did("deliver", job))
            stage.submit("d", then=lambda: stage.submit("e", then=lambda: stage.submit("f")))
            run.wait(lambda: stage.did("deliver", "f"))
            run.wait(lambda: len(stage.cache._idle) == 1)
            stage.cache.trim()

        def check() -> None:
            stage.check("a", "b", "c", "d", "e", "f")
            assert stage.cache.stats().start_failures == 0  # nor tried to start one

        run.spawn(main)
        return check

    everywhere(scenario)


def test_a_worker_leaves_the_next_one_to_who_stands_by() -> None:
    """No second thread is started for jobs that the first one is done with before the spin ends."""

    def scenario(run: Run) -> Any:
        stage = Stage(run)
        latch = run.mailbox()

        def main() -> None:
            stage.submit("a")
            stage.submit("b")
            stage.submit("c", then=latch.put)
            assert stage.cache._stand_by(latch)
            assert stage.threads == 99

        run.spawn(main)
        return lambda: stage.check("a", "b", "c")

    explore(scenario, bound=0)


def everywhere(scenario: Any) -> None:
    assert explore(scenario, bound=BOUND, walks=WALKS) > WALKS
    if FULL:
        explore(scenario, bound=1, walks=WALKS, opcodes=True)


def test_the_explorer_finds_a_lost_wakeup() -> None:
    """The explorer can fail: a flag looked at before the job is appended loses a job under some schedule."""

    class Careless(threadcache.ThreadCache):
        def start_thread_soon(self, fn: Any, deliver: Any, name: Any = None) -> None:
            on_its_way = not self._waking.mailbox.is_empty()
            self._hand_over()  # the lines of this file are no steps by themselves
            self._line.append((object(), fn, deliver, name))
            if not on_its_way:
                self._wake(by_worker=False)

        def _hand_over(self) -> None:
            run = self._new_mailbox.func.__self__
            run._hand_over(run.local.task)

    def scenario(run: Run) -> Any:
        stage = Stage(run)
        stage.cache = Careless(_new_mailbox=run.mailbox, _start_thread=stage.start)
        run.spawn(lambda: [stage.submit("a"), stage.submit("b")])
        return lambda: stage.check("a", "b")

    with pytest.raises((AssertionError, Deadlock)):
        explore(scenario, bound=2)


def test_the_virtual_mailbox_is_strict() -> None:
    run: Any = None
    mailbox = VirtualMailbox(run)
    mailbox.put()
    with pytest.raises(AssertionError):
        mailbox.put()
