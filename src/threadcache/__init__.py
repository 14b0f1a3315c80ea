"""A thread cache: one per process, unbounded, last idle first used, gone when idle.

`start_thread_soon` runs a job in a warm thread of the process-wide `default_cache`; `ThreadCache` makes a cache of
one's own. Everything else is built upon that call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._cache import ThreadCache
from ._stats import JobInfo, Stats

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from outcome import Outcome

    T = TypeVar("T")

__all__ = ["JobInfo", "Stats", "ThreadCache", "__version__", "default_cache", "start_thread_soon"]

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
