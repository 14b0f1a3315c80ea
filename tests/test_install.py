"""`threadcache.install`: what it puts on the cache, how that is undone, and what it reports."""

from __future__ import annotations

import concurrent.futures
import inspect
import sys
import threading
import warnings
from asyncio import BaseEventLoop
from concurrent.futures import ThreadPoolExecutor  # as programs do, before anything is installed
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio
from conftest import DEADLINE, until
from test_anyio import MODULE, PLACES
from test_trio import CACHE, ORIGINAL, is_ours

import threadcache
from threadcache import CachedThreadPoolExecutor, default_cache
from threadcache._stdlib import ASYNCIO, FUTURES, UVLOOP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

try:
    import uvloop
except ImportError:
    uvloop = None

NAMES = ["futures", "asyncio", "trio", "anyio"]
LIBRARIES = ["concurrent.futures", "asyncio", "uvloop", "trio", "anyio"]
RUN_IN_EXECUTOR = BaseEventLoop.run_in_executor


def is_as_it_was() -> bool:
    return (
        {name: vars(MODULE)[name] for name in PLACES} == PLACES
        and CACHE.THREAD_CACHE is ORIGINAL
        and BaseEventLoop.run_in_executor is RUN_IN_EXECUTOR
        and (uvloop is None or "run_in_executor" not in vars(uvloop.Loop))
        and type(ThreadPoolExecutor()) is ThreadPoolExecutor
    )


@pytest.fixture(autouse=True)
def leaves_all_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    assert default_cache.drain(DEADLINE)
    reports: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", reports.append)
    before = list(sys.meta_path)
    yield
    assert is_as_it_was()
    assert sys.meta_path == before
    assert default_cache.drain(DEADLINE)
    assert not reports


async def in_asyncio() -> bool:
    import asyncio

    return await asyncio.to_thread(is_ours)


def in_executor() -> bool:
    with ThreadPoolExecutor() as executor:
        return executor.submit(is_ours).result(DEADLINE)


def in_a_loop() -> bool:
    import asyncio

    return asyncio.run(in_asyncio())


def in_trio() -> bool:
    return bool(trio.run(trio.to_thread.run_sync, is_ours))


def in_anyio() -> bool:
    return bool(anyio.run(anyio.to_thread.run_sync, is_ours))


CALLS: dict[str, Callable[[], bool]] = {
    "futures": in_executor,
    "asyncio": in_a_loop,
    "trio": in_trio,
    "anyio": in_anyio,
}


def on_the_cache() -> list[str]:
    return [name for name, call in CALLS.items() if call()]


COVERED = {"futures": ["futures", "asyncio"], "asyncio": ["asyncio"], "trio": ["trio"], "anyio": ["trio", "anyio"]}
"""Loops' default executors are executors; AnyIO on Trio is Trio."""


def test_all_of_it_and_back() -> None:
    assert on_the_cache() == []
    installation = threadcache.install()
    assert on_the_cache() == NAMES
    assert {name: state for name, state in installation.report().items() if name in LIBRARIES} == {
        **dict.fromkeys(LIBRARIES, "installed"),
        "uvloop": "installed" if uvloop is not None else "not installed",
    }
    installation.undo()
    assert on_the_cache() == []
    assert set(installation.report().values()) == {"off"}
    installation.undo()
    assert on_the_cache() == []


@pytest.mark.parametrize("name", NAMES)
def test_each_by_its_name(name: str) -> None:
    with threadcache.install(name) as installation:
        assert on_the_cache() == COVERED[name]
        report = {library: state for library, state in installation.report().items() if "keeps" not in state}
        assert (
            list(report)
            == {
                "futures": ["concurrent.futures"],
                "asyncio": ["asyncio", "uvloop"],
                "trio": ["trio"],
                "anyio": ["anyio", "trio"],
            }[name]
        )
        assert repr(report)[1:-1].replace("'", "").replace(":", "") in repr(installation).replace(":", "")
    assert on_the_cache() == []


def test_several_by_their_names() -> None:
    with threadcache.install("trio", "asyncio", "trio"):
        assert on_the_cache() == ["asyncio", "trio"]


def test_a_name_that_there_is_not_installs_nothing() -> None:
    with pytest.raises(ValueError, match="'twisted'; there are futures, asyncio, trio, anyio"):
        threadcache.install("trio", "twisted")
    assert is_as_it_was()


def test_a_context_manager_undoes_it_whatever_is_raised() -> None:
    installation = threadcache.install("trio")
    with installation as entered:
        assert entered is installation
    assert is_as_it_was()
    with pytest.raises(KeyError, match="mine"), threadcache.install("trio"):
        raise KeyError("mine")
    assert is_as_it_was()


def test_installations_are_undone_each_on_its_own() -> None:
    with threadcache.install() as outer:
        with threadcache.install("trio", "asyncio"):
            outer.undo()
            assert on_the_cache() == ["asyncio", "trio"]
        assert on_the_cache() == []
    with threadcache.install(), threadcache.install(), threadcache.install("anyio"):
        assert on_the_cache() == NAMES


def test_an_installation_that_is_let_go_stays() -> None:
    threadcache.install("trio")
    assert in_trio()
    (user,) = threadcache.trio.SWITCH._users
    user.undo()


def test_an_interrupted_call_has_installed_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(UVLOOP, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            threadcache.install()
    assert is_as_it_was()
    assert not any(switch._users for switch in (FUTURES, ASYNCIO, UVLOOP))


def test_executors_borrow_their_threads_and_are_what_they_were() -> None:
    assert concurrent.futures.ThreadPoolExecutor is ThreadPoolExecutor
    signature = inspect.signature(ThreadPoolExecutor.__init__)
    with threadcache.install("futures"):
        initialized: list[str] = []
        executor = ThreadPoolExecutor(2, "prefix", initializer=initialized.append, initargs=("yes",))
        assert type(executor) is CachedThreadPoolExecutor
        assert isinstance(executor, ThreadPoolExecutor)
        assert executor._max_workers == 2
        assert executor.submit(lambda: threading.current_thread().name).result(DEADLINE) == "prefix_0"
        assert list(executor.map(int, "123")) == [1, 2, 3]
        assert initialized[0] == "yes"
        with pytest.raises(TypeError, match="no_such_argument"):
            ThreadPoolExecutor(no_such_argument=1)
        with pytest.raises(ValueError, match="greater than 0"):
            ThreadPoolExecutor(0)
        assert list(inspect.signature(ThreadPoolExecutor).parameters) == list(signature.parameters)[1:]
    assert executor.submit(is_ours).result(DEADLINE)  # it goes on borrowing
    executor.shutdown()
    assert list(inspect.signature(ThreadPoolExecutor).parameters) == list(signature.parameters)[1:]


def test_executors_that_were_there_before_keep_their_threads() -> None:
    with ThreadPoolExecutor(1) as executor:
        before = executor.submit(threading.get_ident).result(DEADLINE)
        with threadcache.install("futures"):
            assert executor.submit(threading.get_ident).result(DEADLINE) == before
            assert not executor.submit(is_ours).result(DEADLINE)
        assert executor.submit(threading.get_ident).result(DEADLINE) == before


class Plain(ThreadPoolExecutor):
    """A subclass with arguments of its own."""

    def __init__(self, mine: str) -> None:
        super().__init__(1)
        self.mine = mine


class Derived(Plain):
    """A subclass of a subclass."""


class Careful(ThreadPoolExecutor):
    """A subclass with a `__new__` of its own."""

    def __new__(cls, mine: str) -> Any:
        self = super().__new__(cls)
        self.made = mine
        return self

    def __init__(self, mine: str) -> None:
        super().__init__(1)
        self.mine = self.made


class Mapping(ThreadPoolExecutor, dict):  # type: ignore[type-arg]
    """A subclass with another base, which has a `__new__` of its own."""

    def __init__(self, mine: str) -> None:
        ThreadPoolExecutor.__init__(self, 1)
        self.mine = mine


class OnTheCache(CachedThreadPoolExecutor):
    """A subclass of ours."""


@pytest.mark.parametrize("cls", [Plain, Derived, Careful, Mapping])
@pytest.mark.parametrize("installed", [True, False], ids=["installed", "undone"])
def test_subclasses_keep_threads_of_their_own_and_are_reported(cls: Any, installed: bool) -> None:
    with threadcache.install("futures") as installation:
        report = installation.report()
        assert report[f"{__name__}.{cls.__name__}"] == "keeps threads of its own: a subclass"
        assert not any("threadcache" in name or "OnTheCache" in name for name in report)
        if not installed:
            installation.undo()
            assert set(installation.report()) == {"concurrent.futures"}
        with cls("mine") as executor:
            assert type(executor) is cls
            assert executor.mine == "mine"
            assert not executor.submit(is_ours).result(DEADLINE)
        with OnTheCache() as ours:
            assert type(ours) is OnTheCache
        assert list(inspect.signature(cls).parameters) == ["mine"]


def test_a_hook_of_somebody_elses_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ThreadPoolExecutor, "__new__", lambda cls, *args, **kwargs: object.__new__(cls))
        with threadcache.install("futures") as installation:
            assert installation.report()["concurrent.futures"].endswith("ThreadPoolExecutor has a __new__ already")
            assert not in_executor()


@pytest.mark.parametrize(
    ("library", "place"),
    [
        ("trio", "trio._core._thread_cache.THREAD_CACHE"),
        ("anyio", "anyio._backends._asyncio.WorkerThread"),
    ],
)
def test_what_has_another_shape_is_reported_and_the_rest_is_installed(
    library: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib.metadata import version

    with monkeypatch.context() as patch:
        patch.delattr(place)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # it is no late import, and the report says it
            installation = threadcache.install()
        state = installation.report()[library]
        assert state.startswith(f"refused: threadcache cannot give {library} {version(library)} its threads: ")
        assert place.rpartition(".")[2] in state
        assert [name for name in ("futures", "asyncio") if CALLS[name]()] == ["futures", "asyncio"]
    installation.undo()
    with threadcache.install():
        assert on_the_cache() == NAMES


@pytest.mark.parametrize("name", ["trio", "anyio"])
def test_what_is_not_installed_is_reported(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        for module in [module for module in sys.modules if module.partition(".")[0] == name]:
            patch.setitem(sys.modules, module, None)
        with threadcache.install() as installation:
            assert installation.report()[name] == "not installed"
            assert installation.report()["asyncio"] == "installed"


def test_a_storm_of_installations_while_jobs_are_submitted() -> None:
    """Each call returns what it should, whatever is installed and undone meanwhile; and then all is as it was."""
    stop = threading.Event()
    failed: list[BaseException] = []

    def repeat(target: Callable[[], object]) -> None:
        try:
            while not stop.is_set():
                target()
        except BaseException as error:
            failed.append(error)

    def install() -> None:
        first, second = threadcache.install(), threadcache.install("anyio", "futures")
        first.undo()
        second.undo()

    def check() -> None:
        with threadcache.install() as installation:
            assert {installation.report()[name] for name in ("concurrent.futures", "trio", "anyio")} == {"installed"}

    threads = [threading.Thread(target=repeat, args=(target,)) for target in (install, install, check)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(15):
            for call in CALLS.values():
                assert call() in {False, True}
    finally:
        stop.set()
        for thread in threads:
            thread.join(DEADLINE)
    assert not any(thread.is_alive() for thread in threads)
    assert not failed
    until(is_as_it_was)
