"""Small programs as users of other libraries write them, which know nothing of this one, and what runs them.

Each is a function ``program(folder, seen, at_a_time)``. It works in an empty folder, has as many jobs in flight as it
is told, has them say to ``seen`` where they run, and returns what can be compared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from threading import get_ident
from typing import Any, NamedTuple

import pytest
from conftest import DEADLINE, until

import threadcache
from threadcache import default_cache

ASYNCIO = ("asyncio", "uvloop")
BACKENDS = (*ASYNCIO, "trio")


def cached_threads() -> set[int]:
    """The numbers of the threads of the default cache."""
    return {worker.ident for worker in list(default_cache._workers)}


class Seen:
    """In which threads a program's jobs have run. Each tells by itself, since numbers of threads are used again."""

    def __init__(self) -> None:
        self.in_cache: list[int] = []
        self.elsewhere: list[int] = []

    def here(self) -> None:
        ident = get_ident()
        (self.in_cache if ident in cached_threads() else self.elsewhere).append(ident)


class SeenApart(Seen):
    """The same of a program whose library also has threads of its own kind, which the cache has no part in."""

    def __init__(self) -> None:
        super().__init__()
        self.apart = Seen()


Program = Callable[[Path, Any, int], Any]


class Run(NamedTuple):
    result: Any
    seen: SeenApart
    jobs: int  # of the default cache, from the program's beginning to its end
    started: int  # of its threads, likewise


def run(program: Program, folder: Path, at_a_time: int = 8) -> Run:
    folder.mkdir()
    before, seen = default_cache.stats(), SeenApart()
    result = program(folder, seen, at_a_time)
    wait_until_idle()
    after = default_cache.stats()
    return Run(result, seen, after.jobs - before.jobs, after.started - before.started)


def wait_until_idle() -> None:
    """A program may end before the last of its threads is known to be idle, or has ended."""
    until(lambda: not default_cache.stats().busy)


class Both(NamedTuple):
    with_cache: Run
    without: Run


def run_both(program: Program, folder: Path, front_end: str, at_a_time: int = 8) -> Both:
    """Run it on the cache, by that switch alone, and then without: so the switch must also have been taken back."""
    assert default_cache.drain(DEADLINE)
    with threadcache.install(front_end):
        with_cache = run(program, folder / "with", at_a_time)
    assert default_cache.drain(DEADLINE)
    return Both(with_cache, run(program, folder / "without", at_a_time))


def on_asyncio(backend: str, main: Callable[..., Any], *args: Any) -> Any:
    """Run a coroutine function in an event loop of asyncio's or uvloop's."""
    factory = None
    if backend == "uvloop":
        factory = pytest.importorskip("uvloop", reason="there is no uvloop here").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main(*args))


def on_anyio(backend: str, main: Callable[..., Any], *args: Any) -> Any:
    """Run a coroutine function on one of AnyIO's backends."""
    import anyio

    if backend == "trio":
        return anyio.run(main, *args, backend="trio")
    if backend == "uvloop":
        pytest.importorskip("uvloop", reason="there is no uvloop here")
    return anyio.run(main, *args, backend="asyncio", backend_options={"use_uvloop": backend == "uvloop"})


def available(backends: tuple[str, ...]) -> list[str]:
    return [backend for backend in backends if find_spec(backend) is not None]
