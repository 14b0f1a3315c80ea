"""A thread cache: one per process, unbounded, last idle first used, gone when idle.

`start_thread_soon` runs a job in a warm thread of the process-wide `default_cache`; `ThreadCache` makes a cache of
one's own. Everything else is built upon that call.
"""

from __future__ import annotations

from ._cache import ThreadCache
from ._stats import JobInfo, Stats

__all__ = ["JobInfo", "Stats", "ThreadCache", "__version__", "default_cache", "start_thread_soon"]

__version__ = "0.1.0"

default_cache = ThreadCache()
"""The cache that everything in the process shares."""

start_thread_soon = default_cache.start_thread_soon

for _public in (JobInfo, Stats, ThreadCache):
    _public.__module__ = __name__
del _public
