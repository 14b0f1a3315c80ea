"""The public surface, and what importing it costs."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest
from conftest import child

import threadcache
import threadcache.anyio
import threadcache.asyncio
import threadcache.futures
import threadcache.trio

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

EXECUTOR = (
    "thread_name_prefix: 'str' = '', initializer: 'Callable[..., object] | None' = None, "
    "initargs: 'tuple[Any, ...]' = (), *, at_exit: \"Literal['wait', 'abandon'] | float\" = 'wait', "
    "context: \"Literal['copy'] | None\" = None, cache: 'ThreadCache | None' = None) -> 'None'"
)
LAZY = {
    "CachedThreadPoolExecutor": "(max_workers: 'float | None' = None, " + EXECUTOR,
    "SerialExecutor": "(" + EXECUTOR,
}
INSTALLING = {
    "Installation": "(*switches: 'Switch') -> 'None'",
    "install": "(*names: 'str') -> 'Installation'",
}
INSTALLATION = {
    "report": "(self) -> 'dict[str, str]'",
    "undo": "(self) -> 'None'",
}
FRONT_ENDS = {
    threadcache.asyncio: {
        "install": "(loop: 'asyncio.AbstractEventLoop | None' = None) -> 'None'",
        "run_sync": "(fn: 'Callable[[Unpack[Ts]], T]', *args: '*Ts', "
        "limiter: 'Semaphore | CapacityLimiter | None' = None, abandon_on_cancel: 'bool' = False, "
        "thread_name: 'str | None' = None) -> 'T'",
        "to_thread": "(fn: 'Callable[P, T]', /, *args: 'P.args', **kwargs: 'P.kwargs') -> 'T'",
    },
    threadcache.trio: {"install": "() -> 'None'", "uninstall": "() -> 'None'"},
    threadcache.anyio: {"install": "() -> 'None'", "uninstall": "() -> 'None'"},
}
SURFACE = {
    "ThreadCache": "(*, idle_timeout: 'float' = 10.0, max_idle: 'int | None' = None, "
    "name: 'str' = 'threadcache worker', "
    "on_worker_start: 'Callable[[], object] | None' = None, on_worker_exit: 'Callable[[], object] | None' = None, "
    "warn_at: 'float' = 1000, spin: 'float | None' = None) -> 'None'",
    "start_thread_soon": "(fn: 'Callable[[], T]', deliver: 'Callable[[Outcome[T]], object]', "
    "name: 'str | None' = None) -> 'None'",
}
FIELDS = {
    "JobInfo": ("fn", "name", "thread", "seconds"),
    "Stats": (
        *("workers", "idle", "busy", "peak", "started", "retired", "jobs"),
        *("start_failures", "deliver_errors"),
    ),
}
METHODS = {
    "drain": "(self, timeout: 'float | None' = None) -> 'bool'",
    "jobs": "(self) -> 'list[JobInfo]'",
    "start_thread_soon": "(self, fn: 'Callable[[], T]', deliver: 'Callable[[Outcome[T]], object]', "
    "name: 'str | None' = None) -> 'None'",
    "stats": "(self) -> 'Stats'",
    "trim": "(self, keep: 'int' = 0) -> 'int'",
}


def signature(thing: Callable[..., object]) -> str:
    """Without private parameters, which are for tests."""
    found = inspect.signature(thing)
    public = [parameter for name, parameter in found.parameters.items() if not name.startswith("_")]
    return str(found.replace(parameters=public))


def test_the_public_surface() -> None:
    everything = [*SURFACE, *LAZY, *INSTALLING, *FIELDS, "__version__", "default_cache"]
    assert sorted(threadcache.__all__) == sorted(everything)
    assert sorted(threadcache.futures.__all__) == sorted(LAZY)
    public = {name for name in vars(threadcache) if not name.startswith("_")}
    modules = {"futures", "asyncio", "trio", "anyio"}
    assert public - {"annotations", "TYPE_CHECKING", "Any", *modules} == {*SURFACE, *FIELDS, "default_cache"}
    for name, expected in {**SURFACE, **LAZY, **INSTALLING}.items():
        assert signature(getattr(threadcache, name)) == expected, name
    for name, fields in FIELDS.items():
        assert getattr(threadcache, name)._fields == fields
    methods = {name for name in vars(threadcache.ThreadCache) if not name.startswith("_")}
    assert methods == {*METHODS, "idle_timeout", "max_idle"}
    for name, expected in METHODS.items():
        assert signature(getattr(threadcache.ThreadCache, name)) == expected, name
    assert {name for name in vars(threadcache.Installation) if not name.startswith("_")} == set(INSTALLATION)
    for name, expected in INSTALLATION.items():
        assert signature(getattr(threadcache.Installation, name)) == expected, name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = threadcache.nothing


@pytest.mark.parametrize("module", FRONT_ENDS)
def test_the_public_surface_of_the_front_ends(module: ModuleType) -> None:
    assert module.__doc__
    assert sorted(module.__all__) == sorted(FRONT_ENDS[module])
    for name, expected in FRONT_ENDS[module].items():
        assert signature(getattr(module, name)) == expected, name
        assert inspect.getdoc(getattr(module, name)), name


def test_everything_public_is_documented_and_says_where_it_lives() -> None:
    for name in threadcache.__all__:
        thing = getattr(threadcache, name)
        if not isinstance(thing, str):
            assert inspect.getdoc(thing), name
    for kind in (getattr(threadcache, name) for name in ("ThreadCache", *FIELDS, *LAZY, *INSTALLING)):
        assert kind.__module__ == "threadcache"
    for name in METHODS:
        assert inspect.getdoc(getattr(threadcache.ThreadCache, name)), name
    for name in INSTALLATION:
        assert inspect.getdoc(getattr(threadcache.Installation, name)), name


def test_importing_is_light() -> None:
    """It starts no thread, and imports next to nothing that importing `outcome` did not."""
    child("""
        import sys, threading, outcome
        before = set(sys.modules)
        import threadcache
        new = {name for name in set(sys.modules) - before if name.partition(".")[0] != "threadcache"}
        light = {"signal", "math", "contextvars", "_contextvars", "warnings", "_py_warnings"}
        assert new <= light | {"math.integer", "_math_integer", "_immutables_map"}, new
        assert threading.active_count() == 1
        heavy = {"asyncio", "trio", "anyio", "concurrent.futures", "ctypes", "logging", "rich"}
        assert not heavy & set(sys.modules) - before
    """)


@pytest.mark.parametrize("module", ["threadcache.trio", "threadcache.anyio", "threadcache._install"])
def test_the_switches_import_no_event_loop(module: str) -> None:
    child(f"""
        import sys, threading, {module}
        assert not {{"asyncio", "uvloop", "trio", "anyio", "ctypes", "rich"}} & set(sys.modules)
        assert threading.active_count() == 1
    """)
