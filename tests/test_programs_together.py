"""All the programs in one process: one set of threads serves them all."""

from __future__ import annotations

import ast
import math
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE, child
from programs import ASYNCIO, BACKENDS, available, cached_threads, run
from programs.downloads import serving, with_requests
from programs.files import with_aiofiles, with_anyio, with_trio
from programs.sqlite import with_aiosqlite
from programs.web import with_starlette

import threadcache
from threadcache import default_cache

if TYPE_CHECKING:
    from collections.abc import Iterator

    from programs import Program, Run

AT_A_TIME = 8
DEFAULT_EXECUTOR = ("aiofiles", "aiosqlite", "sqlalchemy")  # what these do in threads is done by the loop's


@pytest.fixture(scope="module")
def programs() -> Iterator[dict[str, Program]]:
    """Every program that can run here, on every backend of its."""
    libraries = [
        ("aiofiles", ASYNCIO, with_aiofiles),
        ("aiosqlite", ASYNCIO, with_aiosqlite),
        ("anyio", BACKENDS, with_anyio),
        ("starlette", BACKENDS, with_starlette),
    ]
    if find_spec("fastapi") is not None:
        from programs.api import with_fastapi

        libraries.append(("fastapi", BACKENDS, with_fastapi))
    if find_spec("sqlalchemy") is not None and find_spec("greenlet") is not None:
        from programs.orm import with_sqlalchemy

        libraries.append(("sqlalchemy", ASYNCIO, with_sqlalchemy))
    found: dict[str, Program] = {
        f"{name} on {backend}": with_library(backend)
        for name, backends, with_library in libraries
        for backend in available(backends)
    }
    found["trio"] = with_trio()
    with serving() as url:
        found["requests"] = with_requests(url, 40)
        yield found


@pytest.fixture(scope="module")
def results(programs: dict[str, Program], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What comes out without the cache."""
    folder = tmp_path_factory.mktemp("without")
    runs = {name: run(program, folder / name, AT_A_TIME) for name, program in programs.items()}
    assert not any(got.jobs or got.seen.in_cache for got in runs.values())
    return {name: got.result for name, got in runs.items()}


@pytest.fixture
def no_retirement() -> Iterator[None]:
    """Begin and end without threads, and let none leave meanwhile, however long it takes."""
    assert default_cache.drain(DEADLINE)
    before, default_cache.idle_timeout = default_cache.idle_timeout, math.inf
    yield
    default_cache.idle_timeout = before
    assert default_cache.drain(DEADLINE)


def check(runs: dict[str, Run], results: dict[str, Any]) -> None:
    assert {name: got.result for name, got in runs.items()} == results
    for name, got in runs.items():
        assert got.seen.in_cache and not got.seen.elsewhere, name
        assert bool(got.seen.apart.elsewhere) is name.startswith(("aiosqlite", "sqlalchemy"))
        assert not got.seen.apart.in_cache, name


@pytest.mark.usefixtures("no_retirement")
def test_one_job_at_a_time_takes_one_thread_for_all_libraries(
    tmp_path: Path, programs: dict[str, Program], results: dict[str, Any]
) -> None:
    """An executor's future is done before its thread is idle, so the loops' default executors may use more than one."""
    by_default = [name for name in programs if name.startswith(DEFAULT_EXECUTOR)]
    others = [name for name in programs if name not in by_default]
    runs: dict[str, Run] = {}
    before = default_cache.stats()
    with threadcache.install():
        for name in others:
            runs[name] = run(programs[name], tmp_path / name, 1)
        assert default_cache.stats().started - before.started == 1
        assert len({ident for got in runs.values() for ident in got.seen.in_cache}) == 1
        for name in by_default:
            idle = cached_threads()
            runs[name] = run(programs[name], tmp_path / name, 1)
            assert runs[name].seen.in_cache[0] in idle, name
    check(runs, results)


@pytest.mark.usefixtures("no_retirement")
def test_at_the_same_time_they_share_their_threads(
    tmp_path: Path, programs: dict[str, Program], results: dict[str, Any]
) -> None:
    before = default_cache.stats()
    runs: dict[str, Run] = {}

    def run_one(name: str, program: Program) -> None:
        runs[name] = run(program, tmp_path / name, AT_A_TIME)

    with threadcache.install():
        threads = [threading.Thread(target=run_one, args=item) for item in programs.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    check(runs, results)
    started = default_cache.stats().started - before.started
    served = [set(got.seen.in_cache) for got in runs.values()]
    assert len(set().union(*served)) <= started <= AT_A_TIME * len(programs)
    assert sum(len(idents) for idents in served) > started  # so some have served several


def test_installed_before_any_library_is_imported(tmp_path: Path) -> None:
    """Nothing is left to say or to wait for at the end, either."""
    done = child(f"""
        import sys
        import threadcache
        installation = threadcache.install()
        assert not {{"anyio", "asyncio", "trio", "uvloop"}} & set(sys.modules)

        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        from programs import ASYNCIO, BACKENDS, available, run
        from programs.downloads import serving, with_requests
        from programs.files import with_aiofiles, with_trio
        from programs.web import with_starlette

        folder = Path({str(tmp_path)!r})
        programs = [with_trio(), *map(with_aiofiles, available(ASYNCIO)), *map(with_starlette, available(BACKENDS))]
        with serving() as url:
            for number, program in enumerate([*programs, with_requests(url, 40)]):
                seen = run(program, folder / str(number)).seen
                assert seen.in_cache and not seen.elsewhere, number
        print(installation.report())
    """)
    report = ast.literal_eval(done.stdout)
    assert report.pop("uvloop") == ("not installed" if find_spec("uvloop") is None else "installed")
    assert [report[name] for name in ("concurrent.futures", "asyncio", "trio", "anyio")] == ["installed"] * 4
    assert not done.stderr
