"""G7: nothing is kept of a job, without a garbage collection."""

from __future__ import annotations

import gc
import sys
import sysconfig
import threading
import weakref
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE, call, until

from threadcache._threads import start_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from threadcache import ThreadCache

REFCOUNTING = sys.implementation.name == "cpython"
BIASED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def assert_dead(cache: ThreadCache | None, *references: weakref.ref[Any]) -> None:
    if not REFCOUNTING:
        gc.collect()  # a PyPy object is gone when the collector says so, but it must not be reachable

    def dead() -> bool:
        if BIASED and cache is not None:
            # What a thread made and another let go last is gone when the first one runs again: PEP 703, "Biased
            # Reference Counting". Nobody refers to it until then.
            call(cache, int)
        return all(reference() is None for reference in references)

    until(dead)


class Thing:
    """Something to point at."""


class Fn:
    def __init__(self, result: Any) -> None:
        self.result = result

    def __call__(self) -> Any:
        return self.result


class Boom(Exception):
    """An exception that can be weakly referenced."""


class Failing:
    """Raises, with a local variable in the failing frame."""

    def __init__(self, local: Any) -> None:
        self.locals = [local]

    def __call__(self) -> None:
        local = self.locals.pop()
        assert local
        raise Boom


class Deliver:
    def __init__(self) -> None:
        self.done = threading.Event()
        self.outcomes: list[Any] = []

    def __call__(self, outcome: Any) -> None:
        self.outcomes.append(outcome)
        self.done.set()


@pytest.mark.parametrize("name", [None, "named"])
def test_g7_fn_deliver_arguments_and_result(cache: ThreadCache, name: str | None) -> None:
    result, deliver = Thing(), Deliver()
    fn = Fn(result)
    references = [weakref.ref(thing) for thing in (result, fn, deliver)]
    cache.start_thread_soon(fn, deliver, name)
    assert deliver.done.wait(DEADLINE)
    del fn, deliver, result
    assert_dead(cache, *references)
    assert cache.stats().started == 1  # the worker is there that might have kept them
    assert cache.stats().idle == 1


def test_g7_a_failing_job(cache: ThreadCache) -> None:
    """The exception, its traceback, and the locals of the frame that raised it go when the receiver lets go."""
    local, deliver = Thing(), Deliver()
    fn = Failing(local)
    references = [weakref.ref(thing) for thing in (local, fn, deliver)]
    cache.start_thread_soon(fn, deliver)
    assert deliver.done.wait(DEADLINE)
    error = deliver.outcomes[0].error
    references += [weakref.ref(error)]
    del fn, deliver, local
    assert references[0]() is not None  # the traceback, which we hold, holds it
    del error
    assert_dead(cache, *references)


def test_g7_a_failing_job_whose_error_outlives_its_delivery(cache: ThreadCache) -> None:
    """An exception that is kept keeps the worker's frame; that frame must not lead back to the exception."""
    local = Thing()
    reference = weakref.ref(local)
    fn = Failing(local)
    del local
    with pytest.raises(Boom) as caught:
        call(cache, fn)
    error = weakref.ref(caught.value)
    until(lambda: cache.stats().idle == 1)
    call(cache, int)
    del caught, fn
    assert_dead(cache, error, reference)


def test_g7_a_failing_deliver(cache: ThreadCache, monkeypatch: pytest.MonkeyPatch) -> None:
    reported = threading.Event()
    monkeypatch.setattr("threading.excepthook", lambda arguments: reported.set())
    result = Thing()

    class FailingDeliver:
        def __call__(self, outcome: Any) -> None:
            local = outcome.unwrap()
            raise ValueError(local)

    fn, deliver = Fn(result), FailingDeliver()
    references = [weakref.ref(thing) for thing in (result, fn, deliver)]
    cache.start_thread_soon(fn, deliver)
    del fn, deliver, result
    assert reported.wait(DEADLINE)
    assert_dead(cache, *references)


@pytest.mark.skipif(not REFCOUNTING or BIASED, reason="needs reference counts that are exact at once")
def test_g7_fn_is_let_go_before_deliver_is_called(cache: ThreadCache) -> None:
    fn = Fn(1)
    reference = weakref.ref(fn)
    seen: SimpleQueue[Any] = SimpleQueue()
    cache.start_thread_soon(fn, lambda outcome: seen.put(reference()))
    del fn
    assert seen.get(timeout=DEADLINE) is None


def test_g7_context_values_of_a_job(cache: ThreadCache) -> None:
    import contextvars

    variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable")
    thing = Thing()
    reference = weakref.ref(thing)
    call(cache, lambda: variable.set(thing) and None)
    del thing
    assert_dead(cache, reference)


def test_g7_what_was_refused(cache: ThreadCache) -> None:
    fn, deliver = Fn(1), Deliver()
    references = [weakref.ref(fn), weakref.ref(deliver)]

    def refuse(target: Any, args: tuple[()]) -> None:
        raise RuntimeError("can't start new thread")

    cache._start_thread = refuse
    with pytest.raises(RuntimeError):
        cache.start_thread_soon(fn, deliver)
    cache._start_thread = start_thread
    del fn, deliver
    assert_dead(cache, *references)


def test_g7_a_cache_that_is_dropped_goes_when_its_workers_do(make_cache: Any) -> None:
    cache = make_cache(idle_timeout=0)
    call(cache, int)
    until(lambda: cache.stats().workers == 0)
    reference = weakref.ref(cache)
    make_cache.caches.clear()
    del cache
    gc.collect()
    assert_dead(None, reference)
