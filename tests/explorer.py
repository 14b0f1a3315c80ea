"""Runs a scenario under every schedule of its threads, up to a bound, instead of hoping for the bad one.

The threads are real, but only one runs at a time, and it hands over at *steps*: the core's lines (or opcodes).
Mailboxes and thread starts are virtual, through the cache's own seams, so the explorer knows who is blocked; a wait
with a timeout may time out at any moment, which is a decision of the schedule like any other.

A schedule is a list of decisions: at step n go on with thread t. The default is to let the running thread go on until
it blocks. Schedules with one departure from that (a preemption, or an early timeout), two, and so on are explored in
turn; most bugs need one or two (Musuvathi and Qadeer, "Iterative context bounding", PLDI 2007). Beyond the bound,
schedules are drawn at random from a seed that a failure names.
"""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Any

from steps import MODEL, codes, steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VISIBLE = codes(*MODEL)
MAX_STEPS = 20_000


class Deadlock(AssertionError):
    """No thread can go on."""


class Abandon(BaseException):
    """Ends the threads of a run that has failed."""


class Task:
    """A thread under the explorer's control, and what it waits for."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.turn = threading.Lock()
        self.turn.acquire()
        self.ready: Callable[[], bool] | None = None  # blocked until this holds
        self.may_time_out = False
        self.timed_out = False
        self.ended = False
        self.deciding = False  # what others wait for is looked at, and none of that is a step

    def runnable(self) -> bool:
        return not self.ended and (self.ready is None or self.ready())

    def sleeping(self) -> bool:
        return not self.ended and self.may_time_out and not self.runnable()


class Run:
    """One execution of a scenario under one schedule."""

    def __init__(self, departures: dict[int, int], chance: random.Random | None, opcodes: bool) -> None:
        self.departures = departures  # step -> which of the other choices
        self.chance = chance
        self.opcodes = opcodes
        self.tasks: list[Task] = []
        self.local = threading.local()
        self.steps = 0
        self.choices: list[int] = []  # how many other choices there were at each step
        self.failure: BaseException | None = None
        self.over = threading.Event()
        self.threads: list[threading.Thread] = []

    # What a scenario uses

    def spawn(self, target: Callable[[], object]) -> None:
        """Start ``target`` in a new task."""
        task = Task(len(self.tasks))
        self.tasks.append(task)
        thread = threading.Thread(target=self._bootstrap, args=(task, target), daemon=True)
        self.threads.append(thread)
        thread.start()

    def wait(self, ready: Callable[[], bool], may_time_out: bool = False) -> bool:
        """Block the calling task until ``ready()``; False if it timed out instead."""
        task = self.local.task
        task.ready, task.may_time_out, task.timed_out = ready, may_time_out, False
        self._hand_over(task)
        task.ready, task.may_time_out = None, False
        return not task.timed_out

    def mailbox(self, spin: float = 0, shared: bool = False) -> VirtualMailbox:
        return VirtualMailbox(self)

    def condition(self) -> VirtualCondition:
        return VirtualCondition(self)

    # The schedule

    def _bootstrap(self, task: Task, target: Callable[[], object]) -> None:
        self.local.task = task
        task.turn.acquire()
        try:
            if self.failure is None:
                with steps(lambda code, _: code in VISIBLE and self._hand_over(task), opcodes=self.opcodes):
                    target()
        except Abandon:
            pass
        except BaseException as error:
            self.failure = self.failure or error
        finally:
            task.ended = True
            self._pass_on(task)

    def _hand_over(self, task: Task) -> None:
        if task.deciding:
            return
        if self.failure is not None:
            raise Abandon
        following = self._pass_on(task)
        if following is not task:
            task.turn.acquire()
            if self.failure is not None:
                raise Abandon

    def _pass_on(self, task: Task) -> Task | None:
        """Decide who goes on, and let it."""
        task.deciding = True
        following = None if self.failure else self._decide(task)
        task.deciding = False
        if following is None:  # the run is over, or has failed: everybody may end
            for other in self.tasks:
                if other is not task and other.turn.locked():
                    other.turn.release()
            if all(other.ended for other in self.tasks):
                self.over.set()
        elif following is not task:
            following.turn.release()
        return following

    def _decide(self, task: Task) -> Task | None:
        runnable = [other for other in self.tasks if other is not task and other.runnable()]
        if task.runnable():
            runnable.insert(0, task)
        sleeping = [other for other in self.tasks if other.sleeping()]
        options = runnable + sleeping
        if not options:
            if not all(other.ended for other in self.tasks):
                self.failure = Deadlock(f"{sum(not other.ended for other in self.tasks)} tasks wait for ever")
            return None
        step, self.steps = self.steps, self.steps + 1
        if self.steps > MAX_STEPS:
            self.failure = AssertionError("the scenario does not end")
            return None
        self.choices.append(len(options) - 1)
        index = self.departures.get(step, 0)
        if self.chance is not None and self.chance.random() < 0.05:
            index = self.chance.randrange(len(options))
        following = options[index]
        if following in sleeping:
            following.timed_out, following.ready = True, None
        return following


class VirtualMailbox:
    """The contract of `threadcache._mailbox.Mailbox`, strictly: a put into a full mailbox is an error."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.full = self.spinning = False

    def put(self) -> None:
        assert not self.full, "two puts met"
        self.full = True

    def get(self, wait: bool, timeout: float) -> bool:
        if not self.full and wait:
            self.spinning = timeout == 0
            self.run.wait(lambda: self.full, may_time_out=timeout != -1)
            self.spinning = False
        full, self.full = self.full, False
        return full

    def is_empty(self) -> bool:
        return not self.full

    def is_spinning(self) -> bool:
        return self.spinning


class VirtualCondition:
    """As much of `threading.Condition` as a future needs."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.owner: int | None = None
        self.depth = 0
        self.notified: list[list[bool]] = []

    def acquire(self) -> None:
        me = threading.get_ident()
        if self.owner != me:
            if hasattr(self.run.local, "task"):
                self.run.wait(lambda: self.owner is None)
            assert self.owner is None
            self.owner = me
        self.depth += 1

    def release(self) -> None:
        assert self.owner == threading.get_ident()
        self.depth -= 1
        if self.depth == 0:
            self.owner = None

    __enter__ = acquire

    def __exit__(self, *_: object) -> None:
        self.release()

    def wait(self, timeout: float | None = None) -> None:
        notified: list[bool] = []
        self.notified.append(notified)
        depth, self.depth, self.owner = self.depth, 0, None
        self.run.wait(lambda: bool(notified), may_time_out=timeout is not None)
        self.run.wait(lambda: self.owner is None)
        self.depth, self.owner = depth, threading.get_ident()

    def notify_all(self) -> None:
        assert self.owner == threading.get_ident()
        for notified in self.notified:
            notified.append(True)


Scenario = "Callable[[Run], Callable[[], object]]"


def execute(scenario: Any, departures: dict[int, int], chance: random.Random | None, opcodes: bool) -> Run:
    """Run ``scenario``, which spawns its tasks and returns the check to be made when all have ended."""
    run = Run(departures, chance, opcodes)
    check = scenario(run)
    first = run.tasks[0]
    first.turn.release()
    assert run.over.wait(60), "the explorer itself hangs"
    for thread in run.threads:
        thread.join(60)
    if run.failure is not None:
        raise run.failure
    check()
    return run


def schedules(run: Run, after: int) -> Iterator[tuple[int, int]]:
    """The departures that ``run`` leaves to be tried, behind the step ``after``."""
    for step in range(after + 1, len(run.choices)):
        for index in range(1, run.choices[step] + 1):
            yield step, index


def explore(scenario: Any, *, bound: int, walks: int = 0, opcodes: bool = False, seed: int = 0) -> int:
    """Run ``scenario`` under all schedules of up to ``bound`` departures, and ``walks`` random ones; say how many."""
    runs = 0

    def attempt(departures: dict[int, int], chance: random.Random | None, what: object) -> Run:
        nonlocal runs
        runs += 1
        try:
            return execute(scenario, departures, chance, opcodes)
        except BaseException as error:
            error.add_note(f"in schedule {what}")
            raise

    def deeper(departures: dict[int, int], left: int) -> None:
        run = attempt(departures, None, departures)
        if left:
            for step, index in schedules(run, max(departures, default=-1)):
                deeper({**departures, step: index}, left - 1)

    deeper({}, bound)
    for walk in range(walks):
        attempt({}, random.Random(f"{seed}/{walk}"), f"random walk {seed}/{walk}")
    return runs
