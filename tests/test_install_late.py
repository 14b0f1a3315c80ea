"""`threadcache.install` before the libraries are imported: in processes of their own."""

from __future__ import annotations

import itertools
from importlib.util import find_spec

import pytest
from conftest import child

CHECK = """
import sys, threading, threadcache
installation = threadcache.install(*NAMES)
assert not {"asyncio", "uvloop", "trio", "anyio"} & set(sys.modules)
report = installation.report()
assert not {"asyncio", "uvloop", "trio", "anyio"} & set(sys.modules)
def is_ours():
    from threadcache._worker import worker_idents
    return threading.get_ident() in worker_idents
def states(*names):
    return [installation.report()[name] for name in names]
def in_asyncio():
    import asyncio
    return asyncio.run(asyncio.to_thread(is_ours))
def in_uvloop():
    import asyncio, uvloop
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(asyncio.to_thread(is_ours))
def in_trio():
    import trio
    return trio.run(trio.to_thread.run_sync, is_ours)
def in_anyio():
    import anyio
    return anyio.run(anyio.to_thread.run_sync, is_ours)
def in_anyio_on_trio():
    import anyio
    return anyio.run(anyio.to_thread.run_sync, is_ours, backend="trio")
"""
CALLS = ["in_asyncio", "in_trio", "in_anyio", "in_anyio_on_trio"]
if find_spec("uvloop") is not None:
    CALLS.append("in_uvloop")


def run(code: str, *options: str, names: tuple[str, ...] = ()) -> str:
    done = child(f"NAMES = {names}\n{CHECK}\n{code}", *options)
    assert not done.stderr
    return str(done.stdout)


@pytest.mark.parametrize("first", CALLS)
def test_whatever_is_imported_first(first: str) -> None:
    """And in whatever order the others come."""
    others = [call for call in CALLS if call != first]
    code = f"""
assert set(report.values()) <= {{"installed", "not imported yet", "not installed"}}, report
assert report["concurrent.futures"] == "installed" and report["trio"] == report["anyio"] == "not imported yet"
before = sys.meta_path[1:]
for call in {first}, {", ".join(others)}:
    assert call() is True, call
assert states("asyncio", "trio", "anyio") == ["installed"] * 3
if in_uvloop.__name__ in {CALLS}:
    assert states("uvloop") == ["installed"]
    assert sys.meta_path == before  # nothing is waited for any more
installation.undo()
for call in {first}, {", ".join(others)}:
    assert call() is False, call
assert sys.meta_path == before
"""
    run(code, "-W", "error")


@pytest.mark.parametrize("name", ["asyncio", "trio", "anyio"])
def test_only_what_is_named(name: str) -> None:
    run(
        f"""
covered = {{"asyncio": {{in_asyncio}}, "trio": {{in_trio, in_anyio_on_trio}},
           "anyio": {{in_anyio, in_trio, in_anyio_on_trio}}}}[{name!r}]
for call in in_anyio, in_asyncio, in_trio, in_anyio_on_trio:
    assert call() is (call in covered), call
""",
        names=(name,),
    )


@pytest.mark.parametrize("library", ["trio", "anyio"])
def test_the_front_ends_of_a_library_import_it_themselves(library: str) -> None:
    child(f"""
import sys, threadcache.{library} as front_end
assert {library!r} not in sys.modules
front_end.install()
assert {library!r} in sys.modules
{CHECK.partition("def is_ours")[1] + CHECK.partition("def is_ours")[2]}
import threading
assert in_{library}()
front_end.uninstall()
assert not in_{library}()
""")


def test_what_is_undone_before_it_is_imported_is_left_alone() -> None:
    run("""
installation.undo()
assert not any(type(finder).__module__.startswith("threadcache") for finder in sys.meta_path)
for call in in_anyio, in_asyncio, in_trio, in_anyio_on_trio:
    assert call() is False
assert set(states("concurrent.futures", "asyncio", "trio", "anyio")) == {"off"}
""")


def test_a_late_library_of_another_shape_is_warned_about_and_works() -> None:
    done = child(f"""
NAMES = ()
{CHECK}
import importlib.util
class Breaking:
    # A Trio whose threads are somewhere else.
    def find_spec(self, name, path, target=None):
        if name == "trio._core._thread_cache" and self in sys.meta_path:
            sys.meta_path.remove(self)
            spec = importlib.util.find_spec(name)
            load = spec.loader.exec_module
            def exec_module(module):
                load(module)
                module.OTHER_CACHE = module.THREAD_CACHE
                del module.THREAD_CACHE
                module.start_thread_soon = lambda *args: module.OTHER_CACHE.start_thread_soon(*args)
            spec.loader.exec_module = exec_module
            return spec
sys.meta_path.append(Breaking())
sys.meta_path.insert(0, sys.meta_path.pop())
assert in_trio() is False
assert installation.report()["trio"].startswith("refused: "), installation
assert in_asyncio() is True
assert in_anyio() is True
""")
    from importlib.metadata import version

    assert done.stderr.count("RuntimeWarning") == 1
    assert f"RuntimeWarning: threadcache cannot give trio {version('trio')} its threads" in done.stderr
    assert "has no THREAD_CACHE with a method start_thread_soon" in done.stderr


def test_modules_are_what_they_would_have_been() -> None:
    """Their loaders, specifications and sources are, and so is what `sys.modules` has of them."""
    code = """
import sys, inspect, asyncio, trio, anyio._backends._asyncio
for name in "asyncio", "trio", "anyio._backends._asyncio":
    module = sys.modules[name]
    print(name, type(module.__spec__.loader), module.__spec__.cached, len(inspect.getsource(module)))
    print(module.__spec__.origin, module.__spec__.has_location, sorted(vars(module)))
"""
    assert run(code) == child(code).stdout


@pytest.mark.parametrize("together", list(itertools.combinations(["asyncio", "trio", "anyio._backends._asyncio"], 2)))
def test_imported_by_two_threads_while_it_is_installed(together: tuple[str, str]) -> None:
    child(f"""
import importlib, sys, threading, threadcache
names = {together}
from threadcache import install
start = threading.Barrier(5)
installations, failed = [], []
def load(name):
    start.wait(30)
    importlib.import_module(name)
def switch():
    start.wait(30)
    installations.append(install())
def no_error(function, *args):
    try:
        function(*args)
    except BaseException as error:
        failed.append(error)
threads = [threading.Thread(target=no_error, args=(load, name)) for name in names * 2]
threads.append(threading.Thread(target=no_error, args=(switch,)))
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(30)
assert not failed, failed
(installation,) = installations
report = installation.report()
for name in names:
    assert report[name.partition(".")[0]] == "installed", report
""")
