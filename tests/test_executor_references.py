"""A future keeps its result and nothing else of its job, and nobody else keeps that; without a garbage collection."""

from __future__ import annotations

import gc
import math
import pathlib
import threading
import traceback
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE, until
from test_executor_contract import Blocked
from test_g7_references import BIASED, REFCOUNTING, Boom, Failing, Thing, assert_dead, no_collector

from threadcache import CachedThreadPoolExecutor

if TYPE_CHECKING:
    from threadcache import ThreadCache

__all__ = ["no_collector"]  # a fixture that all tests here use

WORKERS = pytest.mark.parametrize("workers", [1, 2, math.inf])


class Fn:
    """A function that can be weakly referenced, like what it is called with."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return args[0]()


def returned(cache: ThreadCache, executor: CachedThreadPoolExecutor) -> None:
    """Wait until the runner has given its worker back."""
    if executor._max_workers == 1:
        executor.shutdown()  # it would keep its thread, which lets nothing go that only it can: see `BIASED`
    until(lambda: cache.stats().idle == cache.stats().workers == 1)


@WORKERS
def test_what_was_called_goes_though_the_future_stays(cache: ThreadCache, workers: float) -> None:
    executor = CachedThreadPoolExecutor(workers, cache=cache)
    fn, argument, keyword = Fn(), Thing, Thing()
    references = [weakref.ref(fn), weakref.ref(keyword)]
    future = executor.submit(fn, argument, keyword=keyword)
    assert isinstance(future.result(DEADLINE), Thing)
    del fn, argument, keyword
    returned(cache, executor)
    assert_dead(cache, *references)
    result = weakref.ref(future.result(0))
    assert result() is not None
    del future
    assert_dead(cache, result)
    assert cache.stats().started == 1  # the worker is there that might have kept them


@WORKERS
def test_an_exception_goes_with_its_future(cache: ThreadCache, workers: float) -> None:
    executor = CachedThreadPoolExecutor(workers, cache=cache)
    local = Thing()
    fn = Failing(local)
    references = [weakref.ref(local), weakref.ref(fn)]
    future = executor.submit(fn)
    error = future.exception(DEADLINE)
    assert isinstance(error, Boom)
    references.append(weakref.ref(error))
    del fn, local, error
    returned(cache, executor)
    assert references[0]() is not None  # the traceback, which the future holds, holds it
    del future
    assert_dead(cache, *references)


@WORKERS
def test_an_exception_that_was_raised_from_result_makes_no_cycle(cache: ThreadCache, workers: float) -> None:
    executor = CachedThreadPoolExecutor(workers, cache=cache)
    local = Thing()
    references: list[Any] = [weakref.ref(local)]
    future = executor.submit(Failing(local))
    del local
    with pytest.raises(Boom) as caught:
        future.result()
    references.append(weakref.ref(caught.value))
    references.append(weakref.ref(future))
    del caught, future
    returned(cache, executor)
    assert_dead(cache, *references)


@WORKERS
def test_what_map_gives_and_raises_is_kept_by_nobody(cache: ThreadCache, workers: float) -> None:
    executor = CachedThreadPoolExecutor(workers, cache=cache)
    for arguments in ({}, {"buffersize": 1}):
        local = Thing()
        results = executor.map(lambda fn: fn(), [Thing, Failing(local)], **arguments)
        references = [weakref.ref(next(results)), weakref.ref(local)]
        del local
        with pytest.raises(Boom) as caught:
            next(results)
        references.append(weakref.ref(caught.value))
        del caught, results
        executor.submit(int).result(DEADLINE)
        if BIASED:
            gc.collect()  # several workers may have had a hand in it
        assert_dead(cache, *references)
    executor.shutdown()


@WORKERS
def test_an_executor_that_has_ended_is_kept_by_nobody(cache: ThreadCache, workers: float) -> None:
    thing = Thing()
    executor = CachedThreadPoolExecutor(workers, "", lambda thing: None, (thing,), cache=cache)
    assert executor.submit(int).result(DEADLINE) == 0
    executor.shutdown()
    until(lambda: cache.stats().idle == 1)
    references: list[Any] = [weakref.ref(thing), weakref.ref(executor)]
    del thing, executor
    assert_dead(cache, *references)


@pytest.mark.parametrize("how", ["cancel", "shutdown"])
def test_what_is_cancelled_goes_though_it_waits_in_line(cache: ThreadCache, how: str) -> None:
    executor = CachedThreadPoolExecutor(1, cache=cache)
    blocked = Blocked(executor)
    fn, argument = Fn(), Thing()
    references = [weakref.ref(fn), weakref.ref(argument)]
    future = executor.submit(fn, argument)
    del fn, argument
    assert references[0]() is not None
    if how == "cancel":
        assert future.cancel()
        assert executor._work_queue.qsize() == 1
    else:
        executor.shutdown(wait=False, cancel_futures=True)
    if not REFCOUNTING:
        gc.collect()
    assert [reference() for reference in references] == [None, None]
    blocked.release.set()
    executor.shutdown()


def test_what_is_refused_goes(cache: ThreadCache) -> None:
    executor = CachedThreadPoolExecutor(2, cache=cache)
    executor.shutdown()
    fn = Fn()
    reference = weakref.ref(fn)
    with pytest.raises(RuntimeError):
        executor.submit(fn)
    del fn
    assert_dead(cache, reference)


@pytest.mark.skipif(not REFCOUNTING or BIASED, reason="needs reference counts that are exact at once")
@WORKERS
def test_a_call_is_let_go_before_anybody_hears_of_its_result(cache: ThreadCache, workers: float) -> None:
    release = threading.Event()

    class Waiting(Thing):
        def __call__(self, argument: object) -> None:
            assert release.wait(DEADLINE)

    seen: list[Any] = []
    with CachedThreadPoolExecutor(workers, cache=cache) as executor:
        fn, argument = Waiting(), Thing()
        references = [weakref.ref(fn), weakref.ref(argument)]
        executor.submit(fn, argument).add_done_callback(lambda _: seen.extend(each() for each in references))
        del fn, argument
        release.set()
    assert seen == [None, None]


def test_a_traceback_shows_no_frame_of_ours(cache: ThreadCache) -> None:
    with CachedThreadPoolExecutor(cache=cache) as executor:
        error = executor.submit(Failing(None)).exception(DEADLINE)
    assert error is not None
    frames = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    assert frames
    assert not [name for name in frames if "threadcache" in pathlib.PurePath(name).parts]
