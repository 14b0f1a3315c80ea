"""The common case of submitting and running a job, in C: when it is used, and when not.

That it does what its twins do is what the tests of the guarantees show, which run over both.
"""

from __future__ import annotations

import ctypes
import operator
import sys
import threading
import weakref
from collections import deque
from contextlib import contextmanager
from contextvars import Context
from functools import partial
from queue import SimpleQueue
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE, call, child, until
from outcome import Error, Value

from threadcache import ThreadCache
from threadcache._backend import Mailbox, quick
from threadcache._stats import Tally
from threadcache._threads import GIL, HOOK_NAMES, report
from threadcache._worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(quick is None, reason="there is none without the native mailbox")


class StruckError(Exception):
    pass


class Calls:
    """How often the twins in Python are called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run_job = self.wakes = 0
        run_job, wake = Worker._run_job, ThreadCache._wake

        def counted_run_job(worker: Worker) -> bool:
            self.run_job += 1
            return run_job(worker)

        def counted_wake(cache: ThreadCache, by_worker: bool) -> Exception | None:
            self.wakes += 1
            return wake(cache, by_worker)

        monkeypatch.setattr(Worker, "_run_job", counted_run_job)
        monkeypatch.setattr(ThreadCache, "_wake", counted_wake)


@pytest.fixture
def cache() -> Iterator[ThreadCache]:
    cache = ThreadCache()
    assert call(cache, int) == 0  # so there is a worker
    until(lambda: cache.stats().idle == 1)
    yield cache
    assert cache.drain(DEADLINE)


class Alone:
    """A worker of a cache that has no thread: it runs where the test does, from a job that it has claimed."""

    def __init__(self) -> None:
        self.cache = ThreadCache(_start_thread=self.refuse)
        self.worker = Worker(self.cache)
        assert self.worker.mailbox.get(False, -1)
        self.done: list[Any] = []
        self.deliver: Any = lambda outcome: self.done.append(outcome.unwrap())

    def refuse(self, *args: Any) -> None:
        raise RuntimeError("there is no thread to be had")

    def job(self, fn: Any, deliver: Any = None) -> Any:
        return object(), fn, deliver or self.deliver, None

    def run(self, *others: Any, deliver: Any = None) -> Any:
        """Run a job while there are others in the line."""
        assert quick is not None
        self.cache._line.extend(map(self.job, others))
        self.worker.job = self.job(int, deliver)
        return quick.run(self.worker)


@pytest.fixture
def alone() -> Alone:
    return Alone()


@pytest.fixture
def calls(cache: ThreadCache, monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(monkeypatch)


def test_a_job_for_an_idle_worker_needs_no_twin(cache: ThreadCache, calls: Calls) -> None:
    for _ in range(100):
        assert call(cache, int) == 0
        with pytest.raises(ZeroDivisionError):
            call(cache, lambda: 1 // 0)
    assert (calls.run_job, calls.wakes) == (0, 0)
    assert cache.stats()[:7] == (1, 1, 0, 1, 1, 0, 201)


def test_jobs_submitted_by_deliver_need_no_twin(cache: ThreadCache, calls: Calls) -> None:
    left, done = [50], threading.Event()

    def deliver(outcome: Any) -> None:
        left[0] -= 1
        if left[0]:
            cache.start_thread_soon(int, deliver)
        else:
            done.set()

    cache.start_thread_soon(int, deliver)
    assert done.wait(DEADLINE)
    assert (calls.run_job, calls.wakes) == (0, 0)
    assert cache.stats()[3:5] == (1, 1)


def test_a_name_is_for_the_twin(cache: ThreadCache, calls: Calls) -> None:
    assert call(cache, lambda: threading.current_thread().name, "named") == "named"
    assert calls.run_job == 1
    assert call(cache, lambda: threading.current_thread().name) == "threadcache worker"
    assert calls.run_job == 1


def test_a_trace_function_is_for_the_twin(cache: ThreadCache, calls: Calls) -> None:
    for use in threading.settrace, threading.setprofile:
        before = calls.run_job
        use(lambda *event: None)
        try:
            call(cache, int)
            assert calls.run_job == before + 1  # which sets it in the worker
            call(cache, int)
            assert calls.run_job == before + 1
        finally:
            use(None)  # type: ignore[arg-type]
        call(cache, int)
        assert calls.run_job == before + 2


def test_debug_mode_and_other_mailboxes_are_for_the_twins(monkeypatch: pytest.MonkeyPatch) -> None:
    from threadcache._mailbox import Mailbox

    monkeypatch.setenv("THREADCACHE_DEBUG", "1")
    debugging = ThreadCache()
    monkeypatch.delenv("THREADCACHE_DEBUG")
    for cache in debugging, ThreadCache(_new_mailbox=Mailbox):
        assert cache._quick_start is None and cache._quick_run is None
        assert call(cache, int) == 0
        assert cache.drain(DEADLINE)


def test_an_asynchronous_exception_is_the_outcome_of_a_job_in_c(cache: ThreadCache, calls: Calls) -> None:
    """Whatever `deliver` is written in: it is called, once and to the end."""
    idents: SimpleQueue[int] = SimpleQueue()
    go_on = threading.Event()
    outcomes: SimpleQueue[Any] = SimpleQueue()

    def deliver(outcome: Any) -> None:  # a Python function, in which it would strike
        outcomes.put(outcome)

    # `map` is in C too, and so nothing looks for the exception before all of it has been done.
    steps = map(operator.call, (lambda: idents.put(threading.get_ident()), partial(go_on.wait, DEADLINE)))
    cache.start_thread_soon(partial(list, steps), deliver)
    ident = idents.get(timeout=DEADLINE)
    struck = ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(StruckError))
    assert struck == 1
    go_on.set()
    with pytest.raises(StruckError):
        outcomes.get(timeout=DEADLINE).unwrap()
    lock = threading.Lock()
    lock.acquire()
    cache.start_thread_soon(partial(lock.acquire, True, DEADLINE), deliver)
    until(lambda: cache.stats().busy == 1 and cache.jobs())
    struck = ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(StruckError))
    assert struck == 1
    lock.release()
    with pytest.raises(StruckError):
        outcomes.get(timeout=DEADLINE).unwrap()
    assert cache.stats().deliver_errors == 0
    assert calls.run_job == 0


def test_what_strikes_as_fn_is_let_go_is_reported_and_the_outcome_delivered(
    cache: ThreadCache, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: SimpleQueue[Any] = SimpleQueue()
    outcomes: SimpleQueue[Any] = SimpleQueue()
    monkeypatch.setattr(threading, "excepthook", lambda args: reports.put(args.exc_type))

    def fn() -> int:
        return 1

    def deliver(outcome: Any) -> None:  # a Python function, in which it would strike
        outcomes.put(outcome)

    ident = ctypes.c_ulong(call(cache, threading.get_ident))
    strike = map(ctypes.pythonapi.PyThreadState_SetAsyncExc, (ident,), (ctypes.py_object(StruckError),))
    reference = weakref.ref(fn, partial(next, strike))  # no Python function, in which it would strike
    cache.start_thread_soon(fn, deliver)
    del fn
    assert outcomes.get(timeout=DEADLINE).unwrap() == 1
    assert reports.get(timeout=DEADLINE) is StruckError
    assert reference() is None
    assert cache.stats().deliver_errors == 0
    assert calls.run_job == 0


def test_who_hears_of_an_error_finds_it_in_hand(cache: ThreadCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an `except`; `logging.exception` looks there."""
    found: SimpleQueue[Any] = SimpleQueue()
    monkeypatch.setattr(threading, "excepthook", lambda args: found.put((args.exc_value, sys.exc_info()[1])))
    for _ in range(2):
        cache.start_thread_soon(int, lambda outcome: 1 // 0)
        error, in_hand = found.get(timeout=DEADLINE)
        assert type(error) is ZeroDivisionError
        assert error is in_hand
    assert call(cache, sys.exc_info) == (None, None, None)
    assert cache.stats().deliver_errors == 2


def test_a_context_that_is_left_entered_is_reported(cache: ThreadCache, monkeypatch: pytest.MonkeyPatch) -> None:
    reports: SimpleQueue[Any] = SimpleQueue()
    monkeypatch.setattr(threading, "excepthook", lambda args: reports.put(args.exc_type))
    results: SimpleQueue[Any] = SimpleQueue()
    cache.start_thread_soon(partial(ctypes.pythonapi.PyContext_Enter, ctypes.py_object(Context())), results.put)
    assert results.get(timeout=DEADLINE).unwrap() == 0
    assert reports.get(timeout=DEADLINE) is RuntimeError
    assert call(cache, int) == 0


@pytest.mark.skipif(not GIL, reason="there is no GIL to keep")
def test_jobs_in_c_do_not_keep_the_gil(cache: ThreadCache, calls: Calls) -> None:
    """However many there are, the interpreter can give it to another thread in between."""
    results: SimpleQueue[Any] = SimpleQueue()
    jobs = 1000
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # so that they are all in the line before the first begins
    try:
        for _ in range(jobs):
            cache.start_thread_soon(int, results.put)
    finally:
        sys.setswitchinterval(interval)
    for _ in range(jobs):
        assert results.get(timeout=DEADLINE).unwrap() == 0
    assert calls.run_job >= 5


def test_what_start_does_not_do_it_leaves_undone(cache: ThreadCache) -> None:
    assert quick is not None
    done: list[Any] = []
    other_str = type("", (str,), {})()
    for wrong in (None, done.append, None), (int, None, None), (int, done.append, 1), (int, done.append, other_str):
        assert quick.start(cache, *wrong) is False
    assert quick.start(SimpleNamespace(), int, done.append, None) is False
    assert not cache._line and not done
    for count in range(8):
        if count != 4:
            with pytest.raises(TypeError, match=f"takes 4 arguments \\({count} given\\)"):
                quick.start(*[cache] * count)


def test_a_worker_helps_itself_to_what_was_in_the_line_before_it_delivers(alone: Alone) -> None:
    with pytest.warns(RuntimeWarning, match="got no thread"):
        assert alone.run(lambda: 1, lambda: 2) is False
    assert alone.done == [0, 1, 2]
    assert list(alone.cache._idle) == [alone.worker] and alone.worker.delivering
    assert not alone.cache._left


def test_and_leaves_the_next_one_to_who_stands_by(alone: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch)
    latch = alone.cache._standby = Mailbox(1e6, True)
    while not latch.is_spinning():  # what the process has learnt may have it do without
        spins = threading.Thread(target=latch.get, args=(True, 0), daemon=True)
        spins.start()
        until(lambda: latch.is_spinning() or not spins.is_alive())
    assert alone.run(lambda: 1, lambda: 2) is False
    latch.put()
    spins.join(DEADLINE)
    assert alone.done == [0, 1, 2]
    assert alone.cache._left
    assert not calls.wakes


def test_and_to_nothing_that_deliver_has_led_to(alone: Alone) -> None:
    """That is for whoever submits it to hand over."""
    assert alone.run(deliver=lambda outcome: alone.cache._line.append(alone.job(int))) is False
    assert len(alone.cache._line) == 1
    assert list(alone.cache._idle) == [alone.worker]


@pytest.mark.parametrize("put", [False, True])
@pytest.mark.parametrize("retiring", [False, True])
def test_unless_that_has_called_it(alone: Alone, put: bool, retiring: bool) -> None:
    """With a put, which may be yet to come; and not in order to leave."""
    worker = alone.worker

    def deliver(outcome: Any) -> None:
        mailbox = alone.cache._idle.pop(worker)
        alone.cache._line.append(alone.job(lambda: 1))
        worker.retiring = retiring
        if put:
            mailbox.put()

    assert alone.run(deliver=deliver) is False
    goes_on = put and not retiring
    assert alone.done == [1] * goes_on
    assert len(alone.cache._line) == (not goes_on)
    assert worker.mailbox.is_empty() == (goes_on or not put)
    assert worker.job is None
    assert worker.delivering


def test_who_is_on_its_way_need_not_be_woken_unless_it_asks_itself(alone: Alone) -> None:
    assert quick is not None
    worker = alone.cache._waking = alone.worker
    submit = (alone.cache, int, alone.deliver, None)
    refused = pytest.raises(RuntimeError, match="no thread to be had")
    with refused:  # it is not
        quick.start(*submit)
    worker.mailbox.put()
    worker.delivering = True
    with refused:
        quick.start(*submit)
    worker.delivering = False
    worker.ident = threading.get_ident()
    with refused:
        quick.start(*submit)
    assert not alone.cache._line
    worker.ident += 1
    assert quick.start(*submit) is True
    assert len(alone.cache._line) == 1


def test_finalizers_find_the_job_in_the_line_and_its_worker_called(alone: Alone) -> None:
    """They may give up the GIL: a worker that came before its job would go back, and nobody come for that."""
    assert quick is not None
    seen: list[Any] = []
    cache, worker = alone.cache, alone.worker

    class Last:
        def __del__(self) -> None:
            seen.append((len(cache._line), worker.mailbox.is_empty()))

    gone: Any = Worker(cache)
    assert gone.mailbox.get(False, -1)
    gone.thread = Last()
    cache._waking = gone
    del gone
    cache._idle[worker] = worker.mailbox
    assert quick.start(cache, int, alone.deliver, None) is True
    assert seen == [(1, False)]
    assert cache._waking is worker


@contextmanager
def bound(**others: Any) -> Iterator[None]:
    """Have the twin use other functions of the line and the list: where other threads come in between."""
    assert quick is not None
    types = Worker, ThreadCache, Tally, Value
    helpers = Error, vars(threading), *HOOK_NAMES, report, lambda: None
    own = {"append": deque.append, "popleft": deque.popleft, "popitem": dict.popitem}
    quick.bind(types, (*helpers, *(own | others).values()))
    try:
        yield
    finally:
        quick.bind(types, (*helpers, *own.values()))


def test_a_job_that_others_claim_first_is_left_to_them(alone: Alone) -> None:
    """The worker that came for it lists itself again."""

    def popleft(line: deque[Any]) -> Any:
        line.clear()
        return line.popleft()

    worker = alone.worker
    with bound(popleft=popleft):
        assert alone.run(lambda: 1) is True
    assert alone.done == [0]
    assert alone.cache._idle == {worker: worker.mailbox}
    assert worker.job is None and not worker.delivering


def test_who_finds_no_worker_starts_none_for_a_job_that_has_been_claimed(alone: Alone) -> None:
    assert quick is not None
    cache, claimed = alone.cache, []

    def popitem(idle: dict[Any, Any]) -> Any:
        claimed.append(cache._line.popleft())
        return idle.popitem()

    with bound(popitem=popitem):
        assert quick.start(cache, int, alone.deliver, None) is True
    assert len(claimed) == 1
    assert cache.stats().start_failures == 0


def test_a_job_that_is_claimed_while_no_thread_is_to_be_had_is_accepted() -> None:
    assert quick is not None
    claimed: list[Any] = []

    def refuse(*args: Any) -> None:
        claimed.append(cache._line.popleft())
        raise RuntimeError("there is no thread to be had")

    cache = ThreadCache(_start_thread=refuse)
    assert quick.start(cache, int, print, None) is True
    assert len(claimed) == 1 and cache.stats().start_failures == 1


def test_what_is_raised_while_a_thread_is_started_is_raised_and_the_job_taken_back() -> None:
    assert quick is not None

    def refuse(*args: Any) -> None:
        raise KeyboardInterrupt

    cache = ThreadCache(_start_thread=refuse)
    with pytest.raises(KeyboardInterrupt):
        quick.start(cache, int, print, None)
    assert not cache._line and not cache._workers


def test_a_worker_with_another_mailbox_is_called_too(alone: Alone) -> None:
    from threadcache._mailbox import Mailbox

    assert quick is not None
    cache, worker = alone.cache, alone.worker
    worker.mailbox = cache._idle[worker] = Mailbox()
    assert quick.start(cache, int, alone.deliver, None) is True
    assert not worker.mailbox.is_empty() and cache._waking is worker


def test_what_is_no_worker_is_not_run(cache: ThreadCache) -> None:
    assert quick is not None
    assert quick.run(SimpleNamespace()) is None


def test_it_is_bound_to_classes_with_the_slots_that_it_knows() -> None:
    done = child("""
import importlib.util
from threadcache import ThreadCache
from threadcache._stats import Tally
from threadcache._worker import Value, Worker
spec = importlib.util.find_spec("threadcache._native")
slots = *Worker.__slots__, *ThreadCache.__slots__[2:], *Tally.__slots__, "value", "_unwrapped"
others = type("Others", (), dict.fromkeys(slots, 1))
nine = len, {}, "trace", "profile", len, len, len, len, len
for known in (
    *((), ((), ()), ((int,) * 4, nine[1:]), ((1,) * 4, nine), ((int,) * 4, nine), ((others,) * 4, nine)),
    ((Worker, ThreadCache, Tally, Value), (len,) * 9),
):
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        module.bind(*known)
    except (TypeError, AttributeError):
        pass
    else:
        raise AssertionError(known)
    assert module.start(None, int, print, None) is False
    assert module.run(None) is None
""")
    assert not done.stderr


def test_it_is_bound_anew_when_the_cache_is_imported_anew() -> None:
    """What the old classes have runs on, with their twins."""
    done = child("""
import importlib, threading, threadcache, threadcache._cache, threadcache._worker
old = threadcache.default_cache
def call(cache):
    done = threading.Event()
    cache.start_thread_soon(int, lambda outcome: done.set())
    assert done.wait(30)
for _ in range(3):
    call(old)
importlib.reload(threadcache._worker)
new = importlib.reload(threadcache._cache).ThreadCache()
for cache in old, new, old, new:
    call(cache)
assert old.drain(30) and new.drain(30)
assert new.stats().jobs == 2
""")
    assert not done.stderr


def test_a_cache_from_which_something_is_missing_is_for_the_twin() -> None:
    assert quick is not None
    cache = ThreadCache()  # which has no worker that could look
    for name in "_clock", "_idle", "_line":
        value = getattr(cache, name)
        delattr(cache, name)
        assert quick.start(cache, int, print, None) is False
        setattr(cache, name, value)
    waking = cache._waking
    del cache._waking
    with pytest.raises(AttributeError, match="_waking"):
        quick.start(cache, int, print, None)
    cache._waking = waking
    assert not cache._line
    assert quick.start(object.__new__(ThreadCache), int, print, None) is False


@pytest.mark.parametrize("name", ["gettrace", "getprofile"])
@pytest.mark.parametrize(
    "other", ["type(None)", "lambda: done", "eval('lambda: _trace_hook or _profile_hook', vars(threading))"]
)
def test_where_threading_keeps_its_hooks_otherwise_there_is_none(name: str, other: str) -> None:
    """Then the twin asks its functions."""
    done = child(f"""
import threading
done = None
threading.{name} = {other}
import threadcache
assert threadcache.default_cache._quick_start is None
done = threading.Event()
threadcache.start_thread_soon(int, lambda result: done.set())
assert done.wait(30)
""")
    assert not done.stderr


def test_without_the_known_shape_of_an_outcome_there_is_none() -> None:
    """Then the twins make it as its own constructor does."""
    done = child("""
import outcome
class Value(outcome.Value):
    __slots__ = ("another",)
outcome.Value = Value
import threading, threadcache
assert threadcache.default_cache._quick_start is None
done = threading.Event()
results = []
threadcache.start_thread_soon(int, lambda result: (results.append(result), done.set()))
assert done.wait(30)
assert type(results[0]) is Value and results[0].unwrap() == 0
""")
    assert not done.stderr
