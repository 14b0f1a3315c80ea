"""The switch that puts the whole process on the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from . import _stdlib
from . import anyio as _anyio
from . import trio as _trio
from ._borrowing import FROM_THE_CACHE
from ._switch import turn_off

if TYPE_CHECKING:
    from types import TracebackType

    from ._borrowing import Borrowing
    from ._switch import Switch

__all__ = ["Installation", "install"]

SWITCHES: dict[str, tuple[Switch, ...]] = {
    "futures": (_stdlib.FUTURES,),
    "asyncio": (_stdlib.ASYNCIO, _stdlib.UVLOOP),
    "trio": (_trio.SWITCH,),
    "anyio": (_anyio.SWITCH, _trio.SWITCH),
}


class Installation:
    """What `install` has done, which this can tell and undo. As a context manager it undoes it at the end.

    It may be let go: what is installed stays, until it is undone. All methods may be called from any thread.
    """

    def __init__(self, *switches: Switch) -> None:
        self._switches = switches

    def report(self) -> dict[str, str]:
        """What became of each library.

        ``"installed"``; ``"not imported yet"``: it will be when it is imported; ``"not installed"``: there is no
        such library; ``"refused: "`` and the reason; or ``"off"``: it has been undone. Classes of executors that keep
        threads of their own, because they were derived from the standard library's, are listed too.
        """
        report = {switch.name: switch.state() for switch in self._switches}
        if report.get(_stdlib.FUTURES.name) == "installed":
            report |= dict.fromkeys(_stdlib.own_threads(), "keeps threads of its own: a subclass")
        return report

    def undo(self) -> None:
        """Give the libraries back their own threads, except where something else has installed ours as well.

        Running calls end where they began. Executors and loops that have borrowed threads go on doing so. Undoing it
        again does nothing.
        """
        turn_off(self, *self._switches)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.undo()

    def __repr__(self) -> str:
        return f"<threadcache.Installation: {', '.join(f'{name} {state}' for name, state in self.report().items())}>"


def install(*names: str, _borrowing: Borrowing = FROM_THE_CACHE) -> Installation:
    """Have libraries of this process take their threads from the cache, those that are imported later included.

    Args:
        names: Which ones, "futures" (`concurrent.futures.ThreadPoolExecutor`), "asyncio" (the default executors of
            event loops, uvloop's included; without this, "futures" covers them too, but they keep their limit),
            "trio", and "anyio" (on both of its backends). None: all of them.

    Returns:
        What undoes it, and reports what has become of each: a library that is missing, or of a version that is not
        known, is no error.

    Raises:
        ValueError: There is no such name. Nothing is installed.

    Executors that exist already keep their threads, and so do subclasses of the standard library's executor, and the
    default executors that loops have already made. May be called from any thread and any number of times; each
    installation is undone on its own.
    """
    unknown = [name for name in names if name not in SWITCHES]
    if unknown:
        raise ValueError(f"nothing to install is called {unknown[0]!r}; there are {', '.join(SWITCHES)}")
    switches = [switch for name in names or SWITCHES for switch in SWITCHES[name]]
    installation = Installation(*dict.fromkeys(switches))
    try:
        for switch in installation._switches:
            switch.add(installation, _borrowing)
    except BaseException:  # interrupted: nobody else could undo it
        installation.undo()
        raise
    return installation


for _public in (Installation, install):
    _public.__module__ = __package__
del _public
