"""The races of `_inbox`'s header, under every schedule that the explorer reaches and every KeyboardInterrupt."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE, until
from explorer import VISIBLE, Deadlock, Run, explore
from steps import CODES, OPCODES, at_each_opcode, codes
from test_asyncio_calls import PLAIN, Gate, Loops, make_loops
from test_asyncio_limiters import Semaphore
from test_g7_references import BIASED, REFCOUNTING
from test_interleavings import FULL, everywhere

import threadcache._inbox
import threadcache._spinner
from threadcache import default_cache
from threadcache._inbox import Inbox, _Look
from threadcache._spinner import Spinner
from threadcache.asyncio import run_sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Without the GIL a ring's end may come at any time, in the thread that made it; a schedule could not be repeated.
INBOX = (codes(threadcache._inbox) | codes(threadcache._spinner)) - {threadcache._inbox._Look.__del__.__code__}
if BIASED or not REFCOUNTING:
    # There finalizers run when they like, which is no step of a schedule: it must be the same again at the next run.
    INBOX -= {threadcache._inbox._Look.__del__.__code__, Inbox.forget.__code__}
LOOK = {
    *(method.__code__ for method in (Inbox.look, Spinner.spin, Inbox.answer)),
    threadcache._inbox._Look.__call__.__code__,
}


@pytest.fixture(autouse=True)
def _visible() -> Iterator[None]:
    """Have the explorer and the injections look at `_inbox` and `_spinner`, which are no part of the core.

    Rings have a finalizer there, and no collector may run one run's in the midst of another run.
    """
    gc.collect()
    gc.disable()
    CODES.update(INBOX)
    VISIBLE.update(INBOX)
    new_latch = default_cache._new_latch
    yield
    default_cache._new_latch = new_latch  # type: ignore[method-assign]
    CODES.difference_update(INBOX)
    VISIBLE.difference_update(INBOX)
    gc.enable()


@pytest.fixture(params=PLAIN)
def run(request: pytest.FixtureRequest) -> Iterator[Loops]:
    yield from make_loops(request.param)


class VirtualLoop:
    """As much of a loop as an inbox needs, one turn of it at a time."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.ready: deque[Any] = deque()
        self.closed = False
        self.rings = 0

    def call_soon_threadsafe(self, callback: Any, *args: Any) -> None:
        if self.closed:
            raise RuntimeError("Event loop is closed")
        self.run.wait(lambda: True)  # a step: here it may be closed, as asyncio's loop and uvloop's may
        self.ready.append((callback, args))
        self.rings += 1

    def call_soon(self, callback: Any, *args: Any) -> None:
        self.ready.append((callback, args))

    def is_closed(self) -> bool:
        return self.closed

    def turn(self) -> None:
        self.run.wait(lambda: len(self.ready) > 0)
        callback, args = self.ready.popleft()
        callback(*args)

    def close_at_last(self) -> None:
        """Rings that nobody waited for end here."""
        self.closed = True
        self.ready.clear()
        if not REFCOUNTING:
            gc.enable()
            gc.collect()
            gc.disable()

    def close(self) -> None:
        self.closed = True
        self.run.wait(lambda: True)
        self.ready.clear()


class Job:
    """A call's future and its token, in one."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.outcomes: list[object] = []
        self.released = False

    def get_loop(self) -> VirtualLoop:
        return self.loop

    def done(self) -> bool:
        return bool(self.outcomes)

    def set_result(self, outcome: object) -> None:
        assert not self.loop.closed
        self.outcomes.append(outcome)

    def release(self) -> None:
        assert not self.released
        self.released = True

    release_elsewhere = release

    def work(self, inbox: Any) -> None:
        inbox.put(self, self, self)


def watch(run: Run, condition: Callable[[], bool]) -> None:
    """Wait for what the loop waits for: with nobody left but one task, the explorer would not see that it is stuck."""
    run.spawn(lambda: run.wait(condition))


def answering(run: Run, new_inbox: Any = Inbox, workers: int = 3) -> Any:
    """Results come, one of them when another one has been received, and the loop hears of all of them."""
    loop, inbox = VirtualLoop(run), new_inbox()
    jobs = [Job(loop) for _ in range(workers)]

    def main() -> None:
        for job in jobs[:-1]:
            run.spawn(lambda job=job: job.work(inbox))
        while not jobs[0].released:
            loop.turn()
        run.spawn(lambda: jobs[-1].work(inbox))
        while not all(job.released for job in jobs):
            loop.turn()

    run.spawn(main)
    watch(run, lambda: all(job.released for job in jobs))

    def check() -> None:
        loop.close_at_last()
        assert [job.outcomes for job in jobs] == [[job] for job in jobs]
        assert not inbox._results
        assert 1 <= loop.rings <= workers

    return check


def looking(run: Run) -> Any:
    """The loop looks itself, and spins: it hears of all results, whoever is the first to see to it."""
    loop = VirtualLoop(run)
    default_cache._new_latch = run.mailbox  # type: ignore[method-assign, assignment]
    inbox: Any = Inbox(loop.ready)
    jobs = [Job(loop) for _ in range(3)]

    def submit(job: Job) -> None:
        inbox.expect(loop)
        run.spawn(lambda: job.work(inbox))

    def main() -> None:
        submit(jobs[0])
        submit(jobs[1])
        while not jobs[0].released:
            loop.turn()
        submit(jobs[2])
        while not all(job.released for job in jobs):
            loop.turn()
        while loop.ready:  # the loop sleeps with the bell in its place
            loop.turn()
        assert inbox.bell and not inbox.in_flight and not inbox.spinner.watching

    run.spawn(main)
    watch(run, lambda: all(job.released for job in jobs))

    def check() -> None:
        loop.close_at_last()
        assert [job.outcomes for job in jobs] == [[job] for job in jobs]
        assert not inbox._results

    return check


def closing(run: Run, first: int = 1) -> Any:
    """The loop answers some and is closed: no worker has an error, and what is not handed out is forgotten."""
    loop, inbox = VirtualLoop(run), Inbox()
    jobs = [Job(loop) for _ in range(3)]

    def main() -> None:
        for job in jobs:
            run.spawn(lambda job=job: job.work(inbox))
        while sum(job.done() for job in jobs) < first:
            loop.turn()
        loop.close()

    run.spawn(main)
    watch(run, loop.is_closed)

    def check() -> None:
        loop.close_at_last()
        assert not inbox._results
        for job in jobs:
            assert job.outcomes in ([], [job])
            assert job.done() or job.released

    return check


def closing_before_all(run: Run) -> Any:
    return closing(run, 0)


@pytest.mark.storm
@pytest.mark.timeout(0 if FULL else 300)
@pytest.mark.parametrize("scenario", [answering, looking, closing, closing_before_all])
def test_races_1_to_3_under_every_schedule(scenario: Any) -> None:
    everywhere(scenario)


def test_race_1_a_result_comes_as_the_loop_stops_looking() -> None:
    """The loop has found nothing more, and the worker does not find the bell yet; so the loop looks again."""
    inbox = Inbox()
    rings: list[Any] = []

    class Loop(VirtualLoop):
        def call_soon_threadsafe(self, callback: Any, *args: Any) -> None:
            rings.append(lambda: callback(*args))

    loop: Any = Loop(None)  # type: ignore[arg-type]
    first, second, third = Job(loop), Job(loop), Job(loop)
    restore, moments = inbox.restore, []

    def at_last() -> bool:
        moments.append(len(inbox._results))
        if len(moments) == 2:  # the first one is before the look
            second.work(inbox)
        return restore()

    inbox.restore = at_last  # type: ignore[assignment]
    first.work(inbox)
    assert len(rings) == 1
    rings[0]()
    assert moments == [1, 0]
    assert len(rings) == 1
    assert first.done() and second.done()
    third.work(inbox)
    assert len(rings) == 2  # the bell is there again
    loop.closed = True


class Idle:
    """An inbox whose loop has one call in flight and is about to look for its result, and how often it spins."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, spin: Callable[[Any], bool] = lambda latch: False) -> None:
        self.loop: Any = VirtualLoop(None)  # type: ignore[arg-type]
        self.inbox = Inbox(self.loop.ready)
        self.job = Job(self.loop)
        self.spins = 0
        self.spin = spin
        self.loop.call_soon_threadsafe = self.ring
        monkeypatch.setattr(default_cache, "_stand_by", self.stand_by)
        self.inbox.expect(self.loop)

    def ring(self, *call: Any) -> None:
        self.loop.rings += 1
        self.loop.call_soon(*call)

    def stand_by(self, latch: Any) -> bool:
        self.spins += 1
        return self.spin(latch)

    def turn(self) -> None:
        callback, args = self.loop.ready.popleft()
        callback(*args)

    def end(self, rings: int = 0) -> None:
        """The loop has heard of the result, after so many rings, and sleeps."""
        while self.loop.ready:
            self.turn()
        assert self.job.outcomes == [self.job]
        assert self.loop.rings == rings
        assert self.inbox.bell and not self.inbox.spinner.watching
        self.loop.closed = True


def test_race_2_a_result_comes_as_the_loop_begins_to_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker does not find the loop watching yet; so that looks again, and does not spin for what is there."""
    idle = Idle(monkeypatch)

    class Latch:
        @property
        def put(self) -> Any:
            idle.job.work(idle.inbox)
            return None

    idle.inbox.spinner.latch = Latch()  # type: ignore[assignment]
    idle.turn()
    assert idle.job.done()
    idle.end()
    assert idle.spins == 0


def test_race_2_the_worker_tells_the_loop_when_that_has_stopped_spinning(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has taken the entry before, and puts into a latch that nobody looks at any more."""
    late: list[Any] = []

    def spin(latch: Any) -> bool:
        late.append(idle.inbox.spinner.watching.pop())
        idle.inbox._results.append((idle.job, idle.job, idle.job))  # type: ignore[arg-type]
        return False

    idle = Idle(monkeypatch, spin)
    idle.turn()
    assert idle.job.done()
    late[0]()
    assert idle.inbox.spinner.latch.is_empty()
    idle.end()
    assert idle.spins == 1


def test_a_worker_that_finds_the_loop_spinning_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    hits: list[bool] = []

    def spin(latch: Any) -> bool:
        idle.job.work(idle.inbox)
        hits.append(latch.get(False, -1))
        return hits[0]

    idle = Idle(monkeypatch, spin)
    idle.turn()
    assert hits == [True]
    assert idle.job.done()
    idle.end()
    assert idle.spins == 1


def test_a_loop_spins_only_while_it_has_nothing_else_to_do_and_calls_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    idle = Idle(monkeypatch)
    done: list[int] = []
    for number in range(3):
        idle.loop.call_soon(done.append, number)
        idle.turn()  # the look, which is called again after that
        assert len(idle.loop.ready) == 2
        idle.turn()
        assert done.pop() == number
    idle.loop.call_soon(idle.job.work, idle.inbox)
    idle.turn()
    idle.end()
    assert idle.spins == 0


def test_a_loop_that_has_spun_in_vain_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the bell in its place: whoever has a result rings."""
    idle = Idle(monkeypatch)
    idle.turn()
    assert idle.spins == 1
    assert not idle.loop.ready
    assert idle.inbox.bell
    idle.job.work(idle.inbox)
    idle.end(rings=1)
    assert idle.spins == 1


def test_two_looks_do_not_keep_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sees that the loop has something else to do, the other one; so the newest goes on alone, and it sleeps."""
    idle = Idle(monkeypatch)
    _Look(idle.inbox, idle.loop).come(idle.loop.call_soon)
    assert len(idle.loop.ready) == 2
    for _ in range(4):
        idle.turn()
    assert not idle.loop.ready
    assert idle.spins == 1
    assert idle.inbox.bell
    idle.job.work(idle.inbox)
    idle.end(rings=1)


def test_a_look_whose_bell_has_been_rung_leaves_it_to_the_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bell stays away for as long as there is another look to come, or the next result would ring once more."""
    idle = Idle(monkeypatch)
    idle.turn()
    assert not idle.loop.ready
    first, second = Job(idle.loop), Job(idle.loop)
    restore, due = idle.inbox.restore, [first]

    def at_first() -> bool:
        restored = restore()
        if due:
            due.pop().work(idle.inbox)
        return restored

    idle.inbox.restore = at_first  # type: ignore[assignment]
    for _ in range(2):
        idle.inbox.expect(idle.loop)
    idle.turn()
    assert idle.loop.rings == 1
    assert len(idle.loop.ready) == 1
    assert not idle.inbox.bell
    second.work(idle.inbox)
    idle.job.work(idle.inbox)
    assert len(idle.loop.ready) == 1
    idle.end(rings=1)
    assert first.outcomes == [first] and second.outcomes == [second]


def test_race_4_a_look_that_makes_up_for_one_is_struck_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker has told the loop while that span, and nobody else rings; so the second one is made up for as well."""

    def spin(latch: Any) -> bool:
        if idle.spins == 2:
            idle.job.work(idle.inbox)
            assert latch.get(False, -1)
        raise KeyboardInterrupt

    idle = Idle(monkeypatch, spin)
    for rings in 1, 2:
        with pytest.raises(KeyboardInterrupt):
            idle.turn()
        gc.collect()
        assert idle.loop.rings == rings
        assert idle.spins == rings
    assert not idle.job.done()
    idle.end(rings=2)


def test_race_4_interrupted_twice_while_it_spins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one strikes as the loop is about to stop watching."""

    class Watching(list[Any]):
        def pop(self, index: Any = -1) -> Any:
            raise KeyboardInterrupt

    def spin(latch: Any) -> bool:
        raise KeyboardInterrupt

    idle = Idle(monkeypatch, spin)
    idle.inbox.spinner.watching = Watching()
    with pytest.raises(KeyboardInterrupt):
        idle.turn()
    assert not idle.inbox.spinner.watching
    gc.collect()
    assert idle.loop.rings == 1
    idle.inbox.spinner.watching = []
    idle.spin = lambda latch: False
    idle.job.work(idle.inbox)
    idle.end(rings=2)


@pytest.mark.parametrize("told", [False, True])
def test_race_4_interrupted_at_each_opcode_of_a_look_that_spins(monkeypatch: pytest.MonkeyPatch, told: bool) -> None:
    """As long as somebody has the exception, the next result rings: nobody takes the loop for one that spins still.

    Nor does the next spin use the latch of this one, into which a worker may be about to put.
    """
    late: list[Any] = []

    def spin(latch: Any) -> bool:
        if told:
            late.append(idle.inbox.spinner.watching.pop())
            idle.inbox._results.append((idle.job, None, idle.job))  # type: ignore[arg-type]
        return False

    def interrupt() -> None:
        raise KeyboardInterrupt

    spun = 0
    for inject in at_each_opcode(between_calls=OPCODES, where=LOOK):
        idle = Idle(monkeypatch, spin)
        raised = inject(interrupt, idle.turn)
        assert isinstance(raised, KeyboardInterrupt) == inject.struck
        spun += idle.spins
        assert not idle.inbox.spinner.watching
        if late:
            late.pop()()
            assert idle.inbox.spinner.latch.is_empty()
        another = Job(idle.loop) if idle.inbox._results or idle.job.done() else idle.job
        if idle.inbox.bell or not idle.loop.ready:  # or it has gone as far as to be called again
            another.work(idle.inbox)
            assert idle.loop.rings == 1
        while idle.loop.ready:
            idle.turn()
        assert idle.job.outcomes == [idle.job]
        assert idle.inbox.bell
        idle.loop.closed = True
        del raised
    assert spun > 5


class Careless(Inbox):
    """Puts the bell back when it has handed out everything."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()
        self.restore = partial(bool, True)

    def look(self, loop: Any) -> bool:
        return False

    def answer(self, loop: Any) -> None:
        super().answer(loop)
        self.bell[0] = True


def test_the_explorer_finds_a_bell_that_is_put_back_too_late() -> None:
    """The explorer can fail."""
    CODES.add(Careless.answer.__code__)
    VISIBLE.add(Careless.answer.__code__)
    try:
        with pytest.raises(Deadlock):
            explore(lambda run: answering(run, Careless), bound=2)
    finally:
        CODES.discard(Careless.answer.__code__)
        VISIBLE.discard(Careless.answer.__code__)


@pytest.mark.parametrize(
    ("run", "then"),
    [
        *((kind, then) for kind in PLAIN if kind != "eager" for then in ("the next call", "cancelling all")),
        ("asyncio", "dropping the exception"),  # uvloop keeps what has stopped it, until the next thing does
    ],
    indirect=["run"],
)
def test_race_4_interrupted_at_each_opcode_of_the_look(run: Loops, then: str) -> None:
    """The loop may be run again: the next call works, and who was waiting hears of his result, or is cancelled.

    The latter is what `asyncio.run` does when it is interrupted: it must not wait for ever. Without either, the results
    come when nobody has the exception any more.
    """

    def interrupt() -> None:
        raise KeyboardInterrupt

    async def begin(gates: list[Gate], limiter: Any) -> list[Any]:
        tasks = [asyncio.create_task(run_sync(gate, limiter=limiter)) for gate in gates]
        for gate in gates:
            await gate.begun()
        return tasks

    async def go_on(tasks: list[Any], limiter: Any) -> None:
        async def call() -> None:  # one that can be given up, should this fail
            async with asyncio.timeout(DEADLINE / 10):
                assert await run_sync(int, limiter=limiter, abandon_on_cancel=True) == 0

        if then == "the next call":
            await call()
        elif then == "cancelling all":
            for task in tasks:
                task.cancel()
        _, pending = await asyncio.wait(tasks, timeout=DEADLINE / 10)
        assert not pending, "somebody was not told"
        if then != "cancelling all":
            assert [task.result() for task in tasks] == list(range(len(tasks)))
        await call()

    loops: list[Any] = []
    for inject in at_each_opcode(between_calls=OPCODES, where=LOOK):
        loop, limiter = run.new(), Semaphore(4)
        loops.append(loop)
        # One that ends after the interrupt has a ring of its own, and so the others must do without it.
        gates = [Gate(lambda number=number: number) for number in range(3 if then == "the next call" else 2)]
        tasks = loop.run_until_complete(begin(gates, limiter))
        for gate in gates[:2]:
            gate.release.set()
        until(lambda: default_cache.stats().busy == len(gates[2:]))
        raised = inject(interrupt, lambda: loop.run_until_complete(asyncio.wait(tasks[:2])))
        assert isinstance(raised, KeyboardInterrupt) == inject.struck
        for gate in gates[2:]:
            gate.release.set()
        assert default_cache.drain(DEADLINE)
        with suppress(RuntimeError):  # what has been waited for may be done, and have asked the loop to stop
            loop.run_until_complete(asyncio.sleep(0))
        if then == "dropping the exception":
            raised = None
            gc.collect()  # it refers to the frame of `inject` that has caught it
        try:
            loop.run_until_complete(go_on(tasks, limiter))
            assert limiter.taken == 0
        except BaseException as error:
            error.add_note(f"interrupted at opcode {inject.target}")
            for task in tasks:
                task._log_destroy_pending = False
            raise
        finally:
            loop.close()
    assert len(loops) > 5


def test_a_worker_that_cannot_ring_an_open_loop_says_so(run: Loops, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is no closed loop's doing, and not to be passed over."""
    reported = threading.Event()
    monkeypatch.setattr("threading.excepthook", lambda arguments: reported.set())
    loop: Any = VirtualLoop(None)  # type: ignore[arg-type]

    def refuse(*_: object) -> None:
        raise RuntimeError("no")

    loop.call_soon_threadsafe = refuse
    inbox = Inbox()
    job = Job(loop)
    default_cache.start_thread_soon(int, lambda outcome: inbox.put(job, None, outcome))  # type: ignore[arg-type]
    assert reported.wait(DEADLINE)
    rings: list[Any] = []
    loop.call_soon_threadsafe = lambda *ring: rings.append(ring)
    inbox.put(job, None, None)  # type: ignore[arg-type]
    assert len(rings) == 1  # the bell is there, for the next result may have better luck
    loop.closed = True
