"""Where the switches get their threads: from the cache, unless somebody stands between who wants to watch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from . import default_cache
from .futures import CachedThreadPoolExecutor

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FROM_THE_CACHE", "Borrowing", "LoopExecutor"]


class LoopExecutor(CachedThreadPoolExecutor):
    """An event loop's default executor: without a limit, whatever limit and name were asked for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(math.inf)


class Borrowing(NamedTuple):
    """What a front end is given to get at threads."""

    start: Callable[[str, object], Callable[..., None]]
    """``start(front_end, owner)`` returns a ``start_thread_soon`` for what ``owner``, an event loop, say, submits."""
    executor: type[CachedThreadPoolExecutor]
    loop_executor: type[LoopExecutor]


def _start(front_end: str, owner: object) -> Callable[..., None]:
    return default_cache.start_thread_soon


FROM_THE_CACHE = Borrowing(_start, CachedThreadPoolExecutor, LoopExecutor)
