"""The races that the header of `_switch` tells of, forced; on the library of `test_switch`."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE, child, until
from test_switch import GATE, Library, library

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["library"]  # a fixture
WAITS = "gate.reached.set()\nassert gate.go.wait(30)\ncomplete = True"


def started(target: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread


def joined(*threads: threading.Thread) -> None:
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()


def test_two_threads_that_import_it_at_a_time(library: Library) -> None:
    library.write(WAITS)
    library.add()
    threads = [started(library.load) for _ in range(2)]
    assert GATE.reached.wait(DEADLINE)
    GATE.go.set()
    joined(*threads)
    assert library.turned == ["on"]


@pytest.mark.parametrize("waited_for", [False, True])
def test_race_1_asked_for_while_another_thread_executes_it(library: Library, waited_for: bool) -> None:
    library.write(WAITS)
    if waited_for:
        library.add("another")
    importer = started(library.load)
    assert GATE.reached.wait(DEADLINE)
    asker = started(library.add)
    until(lambda: "user" in library.switch._users)
    assert library.switch.state() == "not imported yet"
    GATE.go.set()
    joined(importer, asker)
    assert (library.switch.state(), library.turned) == ("installed", ["on"])


def test_taken_back_while_another_thread_executes_it(library: Library) -> None:
    library.write(WAITS)
    library.add()
    importer = started(library.load)
    assert GATE.reached.wait(DEADLINE)
    library.switch.remove("user")
    GATE.go.set()
    joined(importer)
    assert (library.switch.state(), library.turned) == ("off", [])


class Holding(MetaPathFinder):
    """Holds an import up where it looks for the library."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        if fullname == self.name and not GATE.go.is_set():
            GATE.reached.set()
            assert GATE.go.wait(DEADLINE)


def test_race_1_asked_for_while_another_thread_looks_for_it(library: Library) -> None:
    """That import has passed by the place where the finder comes to stand, and `sys.modules` knows nothing of it."""
    holding = Holding(library.name)
    sys.meta_path.insert(0, holding)
    try:
        importer = started(library.load)
        assert GATE.reached.wait(DEADLINE)
        asker = started(library.add)
        until(lambda: "user" in library.switch._users)
        GATE.go.set()
        joined(importer, asker)
    finally:
        sys.meta_path.remove(holding)
    assert (library.switch.state(), library.turned) == ("installed", ["on"])


def test_race_1_asked_for_by_what_it_imports_itself(library: Library) -> None:
    GATE.add = lambda: library.add("inner")
    library.write("gate.add()\ncomplete = True")
    library.add()
    assert library.load().threads == "ours"


def test_race_3_another_import_passes_over_no_finder(library: Library) -> None:
    """It stands at a finder before the last one as ours is taken out."""
    other = library.file.with_name("another_of_test_switch.py")
    other.write_text("")
    importlib.invalidate_caches()
    holding = Holding(other.stem)
    failed: list[BaseException] = []

    def load() -> None:
        try:
            importlib.import_module(other.stem)
        except BaseException as error:
            failed.append(error)

    sys.meta_path.insert(sys.meta_path.index(PathFinder), holding)
    try:
        library.add()
        importer = started(load)
        assert GATE.reached.wait(DEADLINE)
        library.switch.remove("user")
        GATE.go.set()
        joined(importer)
    finally:
        sys.meta_path.remove(holding)
    assert not failed
    del sys.modules[other.stem]


def test_a_storm_of_users_ends_as_it_began(library: Library) -> None:
    start = threading.Barrier(5)

    def use(number: int) -> None:
        start.wait(DEADLINE)
        for _ in range(200):
            library.add(number)
            library.switch.remove(number)

    threads = [started(lambda number=number: use(number)) for number in range(4)]
    start.wait(DEADLINE)
    module = library.load()
    joined(*threads)
    assert module.threads == "its own"
    assert library.turned == ["on", "off"] * (len(library.turned) // 2)
    assert library.switch.state() == "off"
    library.add()
    assert module.threads == "ours"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_race_4_a_child_has_no_switch_that_is_half_turned() -> None:
    """The process is forked while another thread turns one, and holds the lock."""
    done = child(
        """
        import os, sys, threading
        from threadcache._borrowing import FROM_THE_CACHE
        from threadcache._switch import Switch
        turning, state = threading.Event(), []
        def turn_on(borrowing):
            state.append("half")
            turning.set()
            threading.Event().wait(0.2)  # the fork falls into it, or waits for it: there is no third way
            state.append("turned")
            return state.clear
        switch = Switch("sys", "sys", turn_on)
        thread = threading.Thread(target=switch.add, args=("user", FROM_THE_CACHE))
        thread.start()
        turning.wait(30)
        pid = os.fork()
        if pid == 0:
            assert state == ["half", "turned"], state
            switch.remove("user")
            assert state == [] and switch.state() == "off"
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        thread.join(30)
        switch.remove("user")
        assert state == []
        """,
        *("-W", "ignore::DeprecationWarning"),
    )
    assert not done.stderr
