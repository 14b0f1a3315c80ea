"""`threadcache.trio`: putting Trio on the cache, taking it off while jobs run, and refusing other shapes."""

from __future__ import annotations

import os
import sys
import types
from typing import TYPE_CHECKING, Any

import pytest
import trio
from conftest import child
from test_trio import CACHE, ORIGINAL, Gate, is_ours, leaves_trio_as_it_was, reached, run, to_thread

import threadcache.trio

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["leaves_trio_as_it_was"]  # a fixture
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


@pytest.mark.parametrize("switch", [threadcache.trio.install, threadcache.trio.uninstall])
def test_running_calls_end_where_they_began(switch: Callable[[], None]) -> None:
    installed = switch is threadcache.trio.uninstall
    if installed:
        threadcache.trio.install()

    async def main() -> None:
        before, after = Gate(), Gate()
        idents: dict[Gate, int] = {}

        async def call(gate: Gate) -> None:
            idents[gate] = await to_thread(gate)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, before)
            await reached(before.begun.is_set)
            switch()
            nursery.start_soon(call, after)
            await reached(after.begun.is_set)
            assert (before.is_ours, after.is_ours) == (installed, not installed)
            for gate in (before, after):
                gate.release.set()
        assert idents == {before: before.ident, after: after.ident}
        assert await to_thread(is_ours) is not installed

    run(main)


def test_installing_and_uninstalling_again_does_nothing() -> None:
    threadcache.trio.uninstall()
    for _ in range(3):
        threadcache.trio.install()
        assert run(to_thread, is_ours)
    threadcache.trio.uninstall()
    assert CACHE.THREAD_CACHE is ORIGINAL
    threadcache.trio.uninstall()
    assert not run(to_thread, is_ours)


def test_who_else_has_installed_it_keeps_it() -> None:
    with threadcache.install("trio"):
        threadcache.trio.install()
        threadcache.trio.uninstall()
        assert run(to_thread, is_ours)
        threadcache.trio.install()
    assert run(to_thread, is_ours)


def test_what_has_been_put_on_top_stays_and_the_threads_are_trios() -> None:
    threadcache.trio.install()
    covered = CACHE.THREAD_CACHE

    def start_thread_soon(*args: Any) -> None:
        covered.start_thread_soon(*args)

    CACHE.THREAD_CACHE = top = types.SimpleNamespace(start_thread_soon=start_thread_soon)
    try:
        assert run(to_thread, is_ours)
        threadcache.trio.uninstall()
        assert CACHE.THREAD_CACHE is top
        assert not run(to_thread, is_ours)
    finally:
        CACHE.THREAD_CACHE = ORIGINAL


def _other(fn: Any, deliver: Any, name: Any = None) -> None:
    CACHE.ANOTHER_CACHE.start_thread_soon(fn, deliver, name)


def _longer(fn: Any, deliver: Any, name: Any = None, context: Any = None) -> None:
    CACHE.THREAD_CACHE.start_thread_soon(fn, deliver, name, context)


SHAPES: dict[str, tuple[str, Any, str]] = {
    "no module": ("sys.modules", None, "no module trio._core._thread_cache"),
    "no cache": ("trio._core._thread_cache.THREAD_CACHE", None, "no THREAD_CACHE with a method start_thread_soon"),
    "another cache": ("trio._core._thread_cache.start_thread_soon", _other, "does not call THREAD_CACHE."),
    "more to give": ("trio._core._thread_cache.start_thread_soon", _longer, "does not take fn, deliver and name"),
    "no function": ("trio._core._thread_cache.start_thread_soon", None, "does not call THREAD_CACHE."),
    "lowlevel": ("trio.lowlevel.start_thread_soon", print, "trio.lowlevel has another start_thread_soon"),
    "guest mode": ("trio._core._run.start_thread_soon", print, "trio._core._run has another start_thread_soon"),
    "to_thread": ("trio._threads.start_thread_soon", print, "trio._threads has another start_thread_soon"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_another_shape_is_refused_and_nothing_is_changed(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place, thing, missing = SHAPES[shape]
    with monkeypatch.context() as broken:
        if place == "sys.modules":
            broken.delitem(sys.modules, "trio._core._thread_cache")
        else:
            module, _, name = place.rpartition(".")
            broken.setattr(sys.modules[module], name, thing)
        left = CACHE.THREAD_CACHE
        with pytest.raises(RuntimeError) as refused:
            threadcache.trio.install()
        assert f"trio {trio.__version__}" in str(refused.value)
        assert missing in str(refused.value)
        assert CACHE.THREAD_CACHE is left
        assert threadcache.trio.SWITCH.state() == "off"
    assert not run(to_thread, is_ours)
    threadcache.trio.install()
    assert run(to_thread, is_ours)


def test_without_trio_it_is_an_import_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trio", None)
    with pytest.raises(ImportError):
        threadcache.trio.install()
    assert CACHE.THREAD_CACHE is ORIGINAL


@needs_fork
@pytest.mark.parametrize("uninstalls", [False, True])
def test_a_forked_child_has_threads(uninstalls: bool) -> None:
    if uninstalls and not hasattr(CACHE, "clear_worker_threads"):
        pytest.skip("this Trio has no threads in a forked child")
    done = child(
        f"""
        import os, sys, threading, trio, threadcache.trio
        def call():
            return trio.run(trio.to_thread.run_sync, threading.get_ident)
        call()  # so that Trio's own cache has an idle thread, which the child has not
        threadcache.trio.install()
        call()
        pid = os.fork()
        if pid == 0:
            if {uninstalls}:
                threadcache.trio.uninstall()
            call()
            print(threadcache.default_cache.stats().started, flush=True)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        """,
        *("-W", "ignore::DeprecationWarning"),
    )
    assert done.stdout == f"{int(not uninstalls)}\n"
