"""Calls that type checkers must refuse. `make types` fails where mypy or pyright accepts one; nothing runs it.

Each line is ignored by both, and both report an ignore that has nothing to ignore.
"""
# mypy: warn-unused-ignores

from outcome import Outcome

import threadcache.anyio
import threadcache.asyncio
import threadcache.trio
from threadcache import (
    CachedThreadPoolExecutor,
    Installation,
    SerialExecutor,
    ThreadCache,
    default_cache,
    install,
    start_thread_soon,
)


def one() -> int:
    return 1


def of_int(result: Outcome[int]) -> None: ...


def of_str(result: Outcome[str]) -> None: ...


def wants_argument(argument: int) -> int:
    return argument


async def coroutine() -> int:
    return 1


def submitting(cache: ThreadCache) -> None:
    start_thread_soon(one, of_str)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    start_thread_soon(coroutine, of_int)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    start_thread_soon(wants_argument, of_int)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    start_thread_soon(one, one)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    start_thread_soon(one)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    start_thread_soon(1, of_int)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    start_thread_soon(one, None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    start_thread_soon(one, of_int, 7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    start_thread_soon(one, of_int, b"name")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    start_thread_soon(one, of_int, limiter=None)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    cache.start_thread_soon(one, of_str)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    default_cache.start_thread_soon(one, of_str)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    nothing: str = cache.start_thread_soon(one, of_int)  # type: ignore[assignment, func-returns-value]  # pyright: ignore[reportAssignmentType]


def making() -> None:
    ThreadCache(10.0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ThreadCache(idle_timeout="10")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ThreadCache(idle_timeout=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ThreadCache(max_idle=2.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ThreadCache(max_workers=8)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ThreadCache(name=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ThreadCache(on_worker_start=wants_argument)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ThreadCache(warn_at=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def watching(cache: ThreadCache) -> None:
    cache.idle_timeout = None  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    cache.max_idle = 2.5  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    cache.stats().workers = 1  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    cache.jobs()[0].name = "other"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    threads = cache.stats().threads  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    cache.trim(2.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cache.drain("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    text = cache.trim() + "a"  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]


def executing() -> None:
    executor = CachedThreadPoolExecutor()
    executor.submit(wants_argument)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    executor.submit(wants_argument, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    executor.submit(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    executor.shutdown(True, True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    CachedThreadPoolExecutor("8")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    CachedThreadPoolExecutor(at_exit="later")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    CachedThreadPoolExecutor(context="fresh")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    CachedThreadPoolExecutor(8, "", None, (), "wait")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    SerialExecutor(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    SerialExecutor(max_workers=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def installing() -> None:
    install(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    install(["trio"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    install(names="trio")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Installation("trio")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    state: int = install().report()["trio"]  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    install().uninstall()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    threadcache.trio.install("trio")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    threadcache.anyio.uninstall(True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    threadcache.asyncio.install("loop")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def calling() -> None:
    await threadcache.asyncio.run_sync(wants_argument)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await threadcache.asyncio.run_sync(wants_argument, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await threadcache.asyncio.run_sync(one, limiter=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await threadcache.asyncio.run_sync(one, cancellable=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await threadcache.asyncio.to_thread(wants_argument)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await threadcache.asyncio.to_thread(wants_argument, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    text: str = await threadcache.asyncio.run_sync(one)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
