"""Calls that type checkers must accept, and the types that they must see. `make types` checks it; nothing runs it."""

import asyncio
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import assert_type

from outcome import Outcome

import threadcache
import threadcache.anyio
import threadcache.asyncio
import threadcache.trio
from threadcache import (
    CachedThreadPoolExecutor,
    Installation,
    JobInfo,
    SerialExecutor,
    Stats,
    ThreadCache,
    default_cache,
    install,
    start_thread_soon,
)


def one() -> int:
    return 1


def of_int(result: Outcome[int]) -> None:
    assert_type(result.unwrap(), int)


def of_object(result: Outcome[object]) -> str:
    return repr(result)


def add(a: int, b: int) -> int:
    return a + b


def submitting(cache: ThreadCache) -> None:
    assert_type(start_thread_soon(one, of_int), None)
    start_thread_soon(one, of_int, None)
    start_thread_soon(one, of_int, "a job")
    start_thread_soon(one, of_int, name="a job")
    start_thread_soon(fn=one, deliver=of_int)
    cache.start_thread_soon(one, of_int)
    default_cache.start_thread_soon(one, of_int, name="a job")
    # deliver may take more than fn gives, and return whatever it likes
    start_thread_soon(one, of_object)
    start_thread_soon(partial(add, 1, 2), of_int)
    start_thread_soon(lambda: "a", lambda result: assert_type(result, Outcome[str]))
    results = SimpleQueue[Outcome[int]]()
    start_thread_soon(one, results.put)


def of_two_sources(either: Callable[[], int] | Callable[[], bool]) -> None:
    start_thread_soon(either, of_int)


def making() -> None:
    ThreadCache()
    ThreadCache(idle_timeout=0, max_idle=None, warn_at=math.inf)
    cache = ThreadCache(
        idle_timeout=2.5,
        max_idle=8,
        name="worker",
        on_worker_start=one,
        on_worker_exit=threading.Event().set,
        warn_at=10,
    )
    assert_type(cache.idle_timeout, float)
    assert_type(cache.max_idle, int | None)
    cache.idle_timeout = 1
    cache.max_idle = 3
    cache.max_idle = None


def watching(cache: ThreadCache) -> None:
    stats = cache.stats()
    assert_type(stats, Stats)
    assert_type(stats.workers + stats.idle + stats.busy + stats.peak, int)
    assert_type(stats.started + stats.retired + stats.jobs, int)
    assert_type(stats.start_failures + stats.deliver_errors, int)
    for job in cache.jobs():
        assert_type(job, JobInfo)
        assert_type(job.fn, Callable[[], object])
        assert_type(job.name, str)
        assert_type(job.thread, threading.Thread)
        assert_type(job.seconds, float)
    assert_type(cache.trim(), int)
    assert_type(cache.trim(keep=2), int)
    assert_type(cache.drain(), bool)
    assert_type(cache.drain(timeout=1.5), bool)


def executing(cache: ThreadCache) -> None:
    executor: ThreadPoolExecutor = CachedThreadPoolExecutor()
    CachedThreadPoolExecutor(8, "prefix", print, ("initargs",))
    CachedThreadPoolExecutor(math.inf, at_exit="abandon", context="copy", cache=cache)
    CachedThreadPoolExecutor(max_workers=None, thread_name_prefix="", initializer=None, initargs=(), at_exit=2.5)
    serial: Executor = SerialExecutor("prefix", print, (), at_exit="wait", context=None, cache=None)
    with CachedThreadPoolExecutor() as entered:
        assert_type(entered, CachedThreadPoolExecutor)
        assert_type(entered.submit(add, 1, b=2), Future[int])
        assert_type(entered.submit(one).result(timeout=1), int)
        assert_type(entered.map(str, [1, 2], timeout=1, chunksize=10, buffersize=2), Iterator[str])
        assert_type(entered.shutdown(wait=False, cancel_futures=True), None)
    executor.submit(one)
    serial.submit(one)


def installing(name: str) -> None:
    assert_type(install(), Installation)
    install("trio", "anyio")
    installation = threadcache.install(name)
    assert_type(installation.report(), dict[str, str])
    assert_type(installation.undo(), None)
    with install("futures") as entered:
        assert_type(entered, Installation)
    for front_end in (threadcache.trio, threadcache.anyio):
        front_end.install()
        front_end.uninstall()


class Semaphore:
    async def acquire(self) -> bool:
        return True

    def release(self) -> None: ...


async def calling(loop: asyncio.AbstractEventLoop, limiter: Semaphore) -> None:
    assert_type(threadcache.asyncio.install(), None)
    threadcache.asyncio.install(loop)
    threadcache.asyncio.install(loop=None)
    assert_type(await threadcache.asyncio.run_sync(one), int)
    assert_type(await threadcache.asyncio.run_sync(add, 1, 2), int)
    await threadcache.asyncio.run_sync(one, limiter=limiter, abandon_on_cancel=True, thread_name="a name")
    await threadcache.asyncio.run_sync(one, limiter=asyncio.Semaphore(1), thread_name=None)
    assert_type(await threadcache.asyncio.to_thread(add, 1, b=2), int)


assert_type(default_cache, ThreadCache)
assert_type(threadcache.__version__, str)
