"""Switches: how a library is put on the cache, taken off again, and waited for.

A *switch* belongs to one place in one library that is to take its threads from the cache. It has *users*: who has asked
for it and has not taken that back. It is in one of these states; all changes are made under one lock.

``off``      it has no users.
``waiting``  it has users, and its module has not been imported. A finder in front of `sys.meta_path` sees the import.
``on``       it has users, and the library has been changed.
``refused``  it has users, and the library has another shape than the one that is known. The next user tries again.

Races
=====

1. *Asked for while another thread imports the module.* It may be half there, or not be in `sys.modules` yet, and that
   import may have passed the place where the finder now stands. So the switch asks for the module as one that imports
   it, which waits for the other thread. If there is nobody to wait for, it is the finder's turn, in the thread that
   asks, and it says that there is no such module rather than let it be imported. All this is done without the lock,
   which the end of the other import may need.

2. *Imported just as it is asked for.* The switch enters ``waiting`` before it looks whether the module is there. The
   finder changes it, or the switch itself does; the second of the two finds it ``on``.

3. *No longer waited for while another thread imports something.* Up to Python 3.13, an import goes through
   `sys.meta_path` itself, and would pass over one of its finders if ours were taken out in front of it. So the list is
   replaced by another one, and never changed.

4. *Fork.* The lock is held meanwhile, so that a switch is not half turned in the child.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import threading
from importlib.abc import Loader, MetaPathFinder
from typing import TYPE_CHECKING, Any

from ._threads import warn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from ._borrowing import Borrowing

__all__ = ["Switch", "names_in", "parameters_of", "refusal", "turn_off", "turn_on"]

_lock = threading.RLock()  # may be taken again: by a signal handler, or a finalizer


def refusal(library: str, missing: str) -> RuntimeError:
    """The error for a library that has changed its shape."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        which = f"{library} {version(library)}"
    except PackageNotFoundError:
        which = f"this {library}"
    return RuntimeError(f"threadcache cannot give {which} its threads: {missing}")


def names_in(function: object) -> set[str]:
    """The names of globals and attributes that a Python function's code uses."""
    return set(getattr(getattr(function, "__code__", None), "co_names", ()))


def parameters_of(function: object) -> tuple[str, ...]:
    """The names of a Python function's positional parameters."""
    code = getattr(function, "__code__", None)
    return () if code is None else tuple(code.co_varnames[: code.co_argcount])


class Switch:
    """One place in one library. Its methods may be called from any thread.

    Args:
        name: The library's name, which is what one imports.
        module: The module whose import it waits for.
        turn_on: Changes the library, and returns what undoes that. It raises `RuntimeError` if it cannot, and has
            changed nothing then.
    """

    def __init__(self, name: str, module: str, turn_on: Callable[[Borrowing], Callable[[], object]]) -> None:
        self.name = name
        self.module = module
        self._turn_on = turn_on
        self._users: dict[object, Borrowing] = {}
        self._undo: Callable[[], object] | None = None
        self.error: RuntimeError | None = None

    def state(self) -> str:
        """What has become of it, in words."""
        with _lock:
            if self._undo is not None:
                return "installed"
            if self.error is not None:
                return f"refused: {self.error}"
            if not self._users:
                return "off"
        try:
            return "not installed" if importlib.util.find_spec(self.name) is None else "not imported yet"
        except (ImportError, ValueError):  # something that is no module has been put in its place
            return "not installed"

    def add(self, user: object, borrowing: Borrowing) -> None:
        """Turn it on for ``user``, now or when its module is imported. `error` says afterwards if that failed."""
        with _lock:
            self._users[user] = borrowing
            if self._undo is not None:
                return
            _finder.watch(self)
        if _finder.has_been_imported(self.module):
            self.imported()

    def remove(self, user: object) -> None:
        """Turn it off, if ``user`` was the last to want it. Does nothing if it was none."""
        with _lock:
            if self._users.pop(user, None) is None or self._users:
                return
            _finder.forget(self)
            self.error = None
            undo, self._undo = self._undo, None
            if undo is not None:
                undo()

    def imported(self) -> None:
        """Turn it on, now that its module is there."""
        with _lock:
            if not self._users or self._undo is not None:
                return
            try:
                self._undo = self._turn_on(next(iter(self._users.values())))
                self.error = None
            except Exception as error:
                if type(error) is RuntimeError:
                    self.error = error
                else:  # nobody has thought of that; it is no reason for an import to fail
                    self.error = refusal(self.name, repr(error))
                    self.error.__cause__ = error
            _finder.forget(self)


def turn_on(user: object, borrowing: Borrowing, *switches: Switch) -> None:
    """Turn switches on for ``user``, whose libraries have been imported.

    Raises:
        RuntimeError: One of them is refused; they are turned off again.
    """
    for switch in switches:
        switch.add(user, borrowing)
    for switch in switches:
        error = switch.error
        if error is not None:
            turn_off(user, *switches)
            raise error


def turn_off(user: object, *switches: Switch) -> None:
    """Turn switches off for ``user``."""
    for switch in switches:
        switch.remove(user)


class _NotImportedError(ImportError):
    """What has been asked for has not been imported."""


class _Asked(threading.local):
    """The module for which `_Finder.has_been_imported` asks in this thread."""

    module = ""


class _Finder(MetaPathFinder):
    """Sees the imports of modules that switches wait for; it is on `sys.meta_path` only while there are any."""

    def __init__(self) -> None:
        self._waiting: dict[str, Switch] = {}
        self._asked = _Asked()

    def watch(self, switch: Switch) -> None:
        self._waiting[switch.module] = switch
        if self not in sys.meta_path:
            sys.meta_path = [self, *sys.meta_path]  # race 3

    def forget(self, switch: Switch) -> None:
        self._waiting.pop(switch.module, None)
        if not self._waiting and self in sys.meta_path:
            sys.meta_path = [finder for finder in sys.meta_path if finder is not self]  # race 3

    def has_been_imported(self, module: str) -> bool:
        """Whether a module is there, when other threads that import it have done so. It must be watched (race 1)."""
        self._asked.module = module
        try:
            importlib.import_module(module)
        except ImportError:
            return False
        finally:
            self._asked.module = ""
        return True

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if f"{self._asked.module}.".startswith(f"{fullname}."):
            raise _NotImportedError(name=fullname)
        switch = self._waiting.get(fullname)
        if switch is None:
            return None
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None) if finder is not self else None
            spec: ModuleSpec | None = find(fullname, path, target) if find is not None else None
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader, switch)
                return spec
        return None


class _Loader(Loader):
    """Stands in for a module's loader until the module has been executed, and then tells its switch."""

    def __init__(self, loader: Any, switch: Switch) -> None:
        self._loader = loader
        self._switch = switch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        if getattr(module, "__loader__", None) is self:
            module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._switch.imported()
        if self._switch.error is not None:
            warn(str(self._switch.error))  # whoever asked for it has gone on, and an import is not to fail of it


_finder = _Finder()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
