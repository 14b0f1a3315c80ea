"""A thread cache: one per process, unbounded, last idle first used, gone when idle.

`start_thread_soon` runs a job in a warm thread of the process-wide `default_cache`; `ThreadCache` makes a cache of
one's own. Everything else is built upon that call: `CachedThreadPoolExecutor` and `SerialExecutor` are executors as
`concurrent.futures` has them, `threadcache.asyncio` makes calls from event loops, `threadcache.trio` and
`threadcache.anyio` give those libraries their threads, and `install` does it for the whole process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._cache import ThreadCache
from ._stats import JobInfo, Stats

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from outcome import Outcome

    from ._install import Installation, install
    from .futures import CachedThreadPoolExecutor, SerialExecutor

    T = TypeVar("T")

__all__ = [
    "CachedThreadPoolExecutor",
    "Installation",
    "JobInfo",
    "SerialExecutor",
    "Stats",
    "ThreadCache",
    "__version__",
    "default_cache",
    "install",
    "start_thread_soon",
]

__version__ = "0.1.0"

default_cache: ThreadCache = ThreadCache()
"""The cache that everything in the process shares."""

if TYPE_CHECKING:
    # The method below, written out for those who read types alone.
    def start_thread_soon(
        fn: Callable[[], T], deliver: Callable[[Outcome[T]], object], name: str | None = None
    ) -> None:
        """Run ``deliver(outcome.capture(fn))`` in a worker thread of the default cache, and return at once."""
else:
    start_thread_soon = default_cache.start_thread_soon

for _public in (JobInfo, Stats, ThreadCache):
    _public.__module__ = __name__
del _public


def __getattr__(name: str) -> Any:
    """Import the front ends when they are first asked for; what they stand on is heavy."""
    if name in {"CachedThreadPoolExecutor", "SerialExecutor"}:
        from . import futures

        return getattr(futures, name)
    if name in {"Installation", "install"}:
        from . import _install

        return getattr(_install, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
