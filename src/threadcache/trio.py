"""Trio on the process-wide cache: its threads come from there, and everything else stays Trio's.

Trio has a thread cache of its own, one object that `trio.lowlevel.start_thread_soon` and through it
`trio.to_thread.run_sync` and Trio's files, paths and sockets call. `install` puts ours in its place. Jobs that run end
where they began, whichever way it is switched.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ._borrowing import FROM_THE_CACHE
from ._switch import Switch, names_in, parameters_of, refusal, turn_off, turn_on

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._borrowing import Borrowing

__all__ = ["install", "uninstall"]


class _Cache:
    """What stands in for Trio's cache.

    The rest of it is the original's: the idle workers, say, which Trio forgets in forked children. It must, for it may
    use them there, when this has been uninstalled.
    """

    __slots__ = ("_original", "start_thread_soon")

    def __init__(self, original: Any, start_thread_soon: Callable[..., None]) -> None:
        self._original = original
        self.start_thread_soon = start_thread_soon

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


def _turn_on(borrowing: Borrowing) -> Callable[[], object]:
    module: Any = sys.modules.get("trio._core._thread_cache")
    missing = _missing(module)
    if missing:
        raise refusal("trio", missing)
    original = module.THREAD_CACHE
    module.THREAD_CACHE = ours = _Cache(original, borrowing.start("trio", None))

    def undo() -> None:
        ours.start_thread_soon = original.start_thread_soon  # if something else has been put on top of ours
        if module.THREAD_CACHE is ours:
            module.THREAD_CACHE = original

    return undo


def _missing(module: Any) -> str | None:
    """What is not there of the shape that Trio's cache has had from 0.27 (2024) to 0.35 (2026)."""
    if module is None:
        return "it has no module trio._core._thread_cache"
    if not hasattr(getattr(module, "THREAD_CACHE", None), "start_thread_soon"):
        return "trio._core._thread_cache has no THREAD_CACHE with a method start_thread_soon"
    function = getattr(module, "start_thread_soon", None)
    if not {"THREAD_CACHE", "start_thread_soon"} <= names_in(function):
        return "trio._core._thread_cache.start_thread_soon does not call THREAD_CACHE.start_thread_soon"
    if parameters_of(function) != ("fn", "deliver", "name"):
        return "trio._core._thread_cache.start_thread_soon does not take fn, deliver and name"
    for user in ("trio.lowlevel", "trio._core._run", "trio._threads"):
        if getattr(sys.modules.get(user), "start_thread_soon", None) is not function:
            return f"{user} has another start_thread_soon than trio._core._thread_cache"
    return None


SWITCH = Switch("trio", "trio", _turn_on)


def install() -> None:
    """Have Trio take its threads from the cache, in all runs of this process. Doing it again does nothing.

    Raises:
        ImportError: Trio is not installed.
        RuntimeError: This version of Trio has another shape than those that are known; the text says which version,
            and what was missing.

    May be called from any thread, and while Trio runs.
    """
    import trio  # noqa: F401 (so that it is not waited for)

    turn_on(__name__, FROM_THE_CACHE, SWITCH)


def uninstall() -> None:
    """Have Trio take its threads from its own cache again, unless something else has installed ours as well.

    May be called from any thread, while Trio runs, and if nothing is installed.
    """
    turn_off(__name__, SWITCH)
