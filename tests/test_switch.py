"""How a library is waited for, turned and turned back, whatever else is imported meanwhile: on a made library."""

from __future__ import annotations

import importlib
import inspect
import runpy
import sys
import threading
import types
import warnings
from importlib.abc import MetaPathFinder
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING, Any

import pytest

from threadcache._borrowing import FROM_THE_CACHE
from threadcache._switch import Switch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GATE: Any = types.ModuleType("gate_of_test_switch")
"""What the libraries' code and the tests have in common."""


class Library:
    """A module that can be imported, and the switch that turns it: it says whether, and how often."""

    def __init__(self, folder: Path) -> None:
        self.name = "library_of_test_switch"
        self.file = folder / f"{self.name}.py"
        self.turned: list[str] = []
        self.refusal: Exception | None = None
        self.switch = Switch(self.name, self.name, self.turn_on)
        self.write("complete = True")

    def write(self, code: str) -> None:
        self.file.write_text(f"import {GATE.__name__} as gate\nthreads = 'its own'\n{code}\n")
        importlib.invalidate_caches()

    def turn_on(self, borrowing: object) -> Callable[[], object]:
        if self.refusal is not None:
            raise self.refusal
        module: Any = sys.modules[self.name]
        assert module.complete
        self.turned.append("on")
        module.threads = "ours"

        def undo() -> None:
            self.turned.append("off")
            module.threads = "its own"

        return undo

    def add(self, user: object = "user") -> None:
        self.switch.add(user, FROM_THE_CACHE)

    def load(self) -> Any:
        return importlib.import_module(self.name)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # the file may change within a second
    monkeypatch.syspath_prepend(tmp_path)
    GATE.reached, GATE.go = threading.Event(), threading.Event()
    monkeypatch.setitem(sys.modules, GATE.__name__, GATE)
    before = list(sys.meta_path)
    library = Library(tmp_path)
    yield library
    for user in list(library.switch._users):
        library.switch.remove(user)
    sys.modules.pop(library.name, None)
    assert sys.meta_path == before


def test_a_library_that_is_there_is_turned_at_once_and_back(library: Library) -> None:
    module = library.load()
    assert library.switch.state() == "off"
    finders = list(sys.meta_path)
    library.add()
    assert (module.threads, library.switch.state()) == ("ours", "installed")
    assert sys.meta_path == finders
    library.switch.remove("user")
    assert (module.threads, library.switch.state()) == ("its own", "off")


def test_a_library_is_turned_when_it_is_imported(library: Library) -> None:
    finders = list(sys.meta_path)
    library.add()
    assert library.switch.state() == "not imported yet"
    assert library.name not in sys.modules
    assert library.load().threads == "ours"
    assert library.switch.state() == "installed"
    assert sys.meta_path == finders


def test_what_is_not_wanted_any_more_is_not_turned(library: Library) -> None:
    finders = list(sys.meta_path)
    library.add()
    library.switch.remove("user")
    assert sys.meta_path == finders
    assert library.load().threads == "its own"
    assert library.switch.state() == "off"


@pytest.mark.parametrize("late", [False, True])
def test_it_is_turned_once_for_all_its_users_and_back_with_the_last(library: Library, late: bool) -> None:
    if not late:
        library.load()
    for user in ("one", "another", "one"):
        library.add(user)
    module = library.load()
    assert library.turned == ["on"]
    library.switch.remove("one")
    library.switch.remove("one")
    library.switch.remove("somebody")
    assert (module.threads, library.turned) == ("ours", ["on"])
    library.switch.remove("another")
    assert (module.threads, library.turned) == ("its own", ["on", "off"])
    library.add("one")
    assert module.threads == "ours"


@pytest.mark.parametrize("what", [None, types.ModuleType("stub")], ids=["None", "a stub without a spec"])
def test_what_has_been_put_in_its_place_is_no_error(library: Library, what: Any, monkeypatch: Any) -> None:
    library.refusal = RuntimeError("nothing to turn")
    library.switch.add("early", FROM_THE_CACHE)
    monkeypatch.setitem(sys.modules, library.name, what)
    assert library.switch.state() == "not installed"
    library.add()
    assert library.switch.state() == ("not installed" if what is None else "refused: nothing to turn")


def test_a_library_that_does_not_exist_is_not_installed() -> None:
    switch = Switch("no_such_library", "no_such_library.module", lambda borrowing: print)
    switch.add("user", FROM_THE_CACHE)
    assert switch.state() == "not installed"
    with pytest.raises(ImportError, match="no_such_library"):
        importlib.import_module("no_such_library.module")
    switch.remove("user")


def test_the_module_is_afterwards_what_it_would_have_been(library: Library) -> None:
    library.add()
    module = library.load()
    for loader in (module.__spec__.loader, getattr(module, "__loader__", module.__spec__.loader)):
        assert type(loader) is SourceFileLoader
    assert inspect.getsource(module) == library.file.read_text()
    assert find_spec(library.name) is module.__spec__
    library.switch.remove("user")
    del sys.modules[library.name]
    other = library.load()
    assert vars(other).keys() == vars(module).keys()


def test_the_module_sees_its_own_loader_while_it_is_imported(library: Library) -> None:
    library.write("seen = __spec__.loader\ncomplete = True")
    library.add()
    assert type(library.load().seen) is SourceFileLoader


def test_looking_for_it_while_it_is_waited_for_imports_nothing(library: Library) -> None:
    library.add()
    spec: Any = find_spec(library.name)
    assert spec.origin == str(library.file)
    assert spec.loader.get_source(library.name) == library.file.read_text()
    assert library.name not in sys.modules
    assert library.switch.state() == "not imported yet"
    assert runpy.run_module(library.name)["threads"] == "its own"  # as python -m does
    sys.modules[library.name] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.threads == "ours"


def test_reloading_it_turns_nothing_twice(library: Library) -> None:
    library.add()
    module = library.load()
    assert importlib.reload(module) is module
    assert library.turned == ["on"]


def test_an_import_that_fails_is_waited_for_again(library: Library) -> None:
    library.write("raise ValueError('not today')")
    library.add()
    for _ in range(2):
        with pytest.raises(ValueError, match="not today"):
            library.load()
        assert library.switch.state() == "not imported yet"
    library.write("complete = True")
    assert library.load().threads == "ours"


def test_a_namespace_package_of_that_name_can_be_imported(library: Library) -> None:
    library.file.unlink()
    library.file.with_suffix("").mkdir()
    importlib.invalidate_caches()
    library.add()
    assert library.load().__path__


def test_a_refused_library_is_warned_about_and_imported(library: Library) -> None:
    library.refusal = RuntimeError("library 1.0: the cache was missing")
    library.add()
    with pytest.warns(RuntimeWarning, match="the cache was missing"):
        assert library.load().threads == "its own"
    assert library.switch.state() == "refused: library 1.0: the cache was missing"
    library.refusal = None
    library.add("another")
    assert library.switch.state() == "installed"


def test_a_refusal_is_forgotten_with_its_last_user(library: Library) -> None:
    library.refusal = RuntimeError("refused")
    library.load()
    library.add()
    assert library.switch.state() == "refused: refused"
    library.switch.remove("user")
    assert library.switch.state() == "off"


def test_a_refusal_stays_nobodys_error_where_warnings_are(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", reports.append)
    library.refusal = RuntimeError("refused")
    library.add()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert library.load().threads == "its own"
    assert [str(report.exc_value) for report in reports] == ["refused"]


def test_an_error_that_nobody_has_thought_of_is_a_refusal(library: Library) -> None:
    library.refusal = KeyError("surprise")
    library.add()
    with pytest.warns(RuntimeWarning, match="library_of_test_switch.*KeyError.*surprise"):
        library.load()
    library.switch.remove("user")
    library.add()
    assert library.switch.state().startswith("refused: ")
    assert isinstance(library.switch.error, RuntimeError)
    assert isinstance(library.switch.error.__cause__, KeyError)


def test_another_hook_that_looks_for_it_by_itself_is_no_loop(library: Library) -> None:
    class Hook(MetaPathFinder):
        looking = False

        def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
            if self.looking or fullname != library.name:
                return None
            self.looking = True
            try:
                return find_spec(fullname)
            finally:
                self.looking = False

    for at in (0, 1):  # in front of ours, and behind it
        hook = Hook()
        library.add()
        sys.meta_path.insert(at, hook)
        try:
            assert library.load().threads == "ours"
        finally:
            sys.meta_path.remove(hook)
        library.switch.remove("user")
        del sys.modules[library.name]
