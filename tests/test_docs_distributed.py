"""The programs of docs/when-one-process-is-not-enough.md, each in a process of its own, and on real clusters."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from conftest import child

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "when-one-process-is-not-enough.md").read_text("utf-8")
PROGRAM, THREADS, CLUSTER, DASK, WORKER = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

# Looked for and not imported, for what they import may warn, which would be an error here.
needs_distributed = pytest.mark.skipif(find_spec("distributed") is None, reason="distributed is not installed")


class Seen(NamedTuple):
    pid: str
    jobs: int  # of the default cache in the program's own process
    places: set[tuple[str, str]]  # process and name of thread, where calls ran


@pytest.fixture
def run(tmp_path: Path) -> Callable[[str], Seen]:
    def run(code: str) -> Seen:
        before = "print(sum(len(Path(path).read_text('utf-8', 'replace').split()) for path in PATHS))\n"
        after = "import threadcache\nprint(os.getpid(), threadcache.default_cache.stats().jobs)\n"
        done = child(PROGRAM + before + code + after, DASK_TEMPORARY_DIRECTORY=str(tmp_path))
        assert "threadcache" not in done.stderr, done  # which would tell of jobs that the exit has left
        expected, total, *places, last = done.stdout.splitlines()
        assert total == expected != "0"
        pid, jobs = last.split()
        return Seen(pid, int(jobs), {(process, name) for process, _, name in (line.partition(" ") for line in places)})

    return run


@pytest.mark.parametrize(
    ("code", "prefix"),
    [
        pytest.param(THREADS, "words", id="threads"),
        pytest.param(DASK, "dask", id="dask", marks=needs_distributed),
        pytest.param(WORKER, "worker", id="worker", marks=needs_distributed),
    ],
)
def test_calls_run_in_this_process_in_threads_of_the_cache(run: Callable[[str], Seen], code: str, prefix: str) -> None:
    seen = run(code)
    assert seen.jobs
    assert seen.places and seen.places <= {(seen.pid, f"{prefix}_{number}") for number in range(4)}


@needs_distributed
def test_calls_run_in_other_processes(run: Callable[[str], Seen]) -> None:
    seen = run(CLUSTER)
    assert seen.jobs == 0
    assert len({seen.pid, *(process for process, _ in seen.places)}) == 3
    assert all("Dask-Default-Threads" in name for _, name in seen.places)


@needs_distributed
def test_calls_run_in_other_processes_in_threads_of_their_caches(run: Callable[[str], Seen]) -> None:
    (statement,) = re.findall(r'`(worker\.executors\["default"\] = .*?)`', PAGE)
    plugin = f"""
from distributed import WorkerPlugin
from threadcache import CachedThreadPoolExecutor

class Plugin(WorkerPlugin):
    def setup(self, worker):
        {statement}

"""
    count = "        count_all("
    assert count in CLUSTER
    seen = run(plugin + CLUSTER.replace(count, f"        client.register_plugin(Plugin())\n{count}"))
    assert seen.jobs == 0
    assert len({seen.pid, *(process for process, _ in seen.places)}) == 3
    assert {name for _, name in seen.places} == {"threadcache worker"}
