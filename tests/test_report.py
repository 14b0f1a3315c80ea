"""``run --report`` and ``run --trace``: every number is one that was counted."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE

if TYPE_CHECKING:
    from pathlib import Path

PEAK = 4
ALONE = 5

# Each does ALONE jobs one after another, then PEAK jobs at the same time that wait for each other, and at last
# one more; `job(None)` returns at once, and `job(barrier)` when all have come.
LIBRARIES = {
    "futures": """
        with ThreadPoolExecutor(PEAK + 2) as executor:
            for _ in range(ALONE):
                executor.submit(job, None).result()
                settled(executor)
            list(executor.map(job, [Barrier(PEAK)] * PEAK))
            settled(executor)
            executor.submit(job, None).result()
    """,
    "asyncio": """
        async def main():
            for _ in range(ALONE):
                await asyncio.to_thread(job, None)
                settled(asyncio.get_running_loop()._default_executor)
            barrier = Barrier(PEAK)
            await asyncio.gather(*(asyncio.to_thread(job, barrier) for _ in range(PEAK)))
            settled(asyncio.get_running_loop()._default_executor)
            await asyncio.to_thread(job, None)
        asyncio.run(main())
    """,
    "trio": """
        async def main():
            for _ in range(ALONE):
                await trio.to_thread.run_sync(job, None)
            barrier = Barrier(PEAK)
            async with trio.open_nursery() as nursery:
                for _ in range(PEAK):
                    nursery.start_soon(trio.to_thread.run_sync, job, barrier)
            await trio.to_thread.run_sync(job, None)
        trio.run(main)
    """,
    "anyio": """
        async def main():
            for _ in range(ALONE):
                await anyio.to_thread.run_sync(job, None)
            barrier = Barrier(PEAK)
            async with anyio.create_task_group() as group:
                for _ in range(PEAK):
                    group.start_soon(anyio.to_thread.run_sync, job, barrier)
            await anyio.to_thread.run_sync(job, None)
        anyio.run(main)
    """,
}

PREAMBLE = f"""
    import asyncio, sys, threading, time
    from concurrent.futures import ThreadPoolExecutor
    from threading import Barrier
    import anyio, trio

    ALONE, PEAK = {ALONE}, {PEAK}
    idents = set()

    def job(barrier):
        idents.add(threading.get_native_id())
        if barrier is not None:
            barrier.wait(30)

    def settled(executor):
        # The standard library's threads say that they are idle after their future is done, a moment later.
        while hasattr(executor, "_idle_semaphore") and executor._idle_semaphore._value < len(executor._threads):
            time.sleep(0.001)

"""


def program(name: str) -> str:
    """The program, which says at the end how many threads did its jobs."""
    return textwrap.dedent(PREAMBLE) + textwrap.dedent(LIBRARIES[name]) + "\nprint(len(idents))\n"


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=DEADLINE, check=False, env={**os.environ}
    )
    assert done.returncode == 0, done
    return done


def rows(stderr: str) -> dict[str, dict[str, str]]:
    """The report's table, by front end and heading."""
    lines = stderr.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("front end"))
    headings = re.split(r"  +", lines[first])
    table = {}
    for line in lines[first + 1 :]:
        cells = re.split(r"  +", line)
        if len(cells) < len(headings):
            break
        cells[5:-1] = ["  ".join(cells[5:-1])]  # a job's time and name
        table[cells[0]] = dict(zip(headings, cells, strict=True))
    return table


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_threads_it_would_have_started_are_those_it_starts(name: str) -> None:
    plain = python("-c", program(name))
    watched = python("-m", "threadcache", "run", "--report", "-c", program(name))
    row = rows(watched.stderr)[name]
    assert row["without threadcache"] == plain.stdout.strip() == str(PEAK)
    assert row["threads started"] == watched.stdout.strip()
    assert row["jobs"] == str(ALONE + PEAK + 1)
    assert row["peak"] == str(PEAK)
    assert rows(watched.stderr).keys() == {name}


def test_every_front_end_has_a_row_and_they_share_their_threads() -> None:
    code = textwrap.dedent(PREAMBLE) + "".join(map(textwrap.dedent, LIBRARIES.values())) + "\nprint(len(idents))\n"
    watched = python("-m", "threadcache", "run", "--report", "-c", code)
    table = rows(watched.stderr)
    assert table.keys() == LIBRARIES.keys()
    assert sum(int(row["threads started"]) for row in table.values()) == int(watched.stdout)
    # A thread may have been started for a job that another one was quicker to take.
    assert int(re.findall(r"The process-wide cache: (\d+) threads started", watched.stderr)[0]) >= int(watched.stdout)


def test_the_longest_job_and_the_idle_time() -> None:
    code = """
        import asyncio, time

        def brief():
            pass

        def long():
            time.sleep(0.2)

        async def main():
            await asyncio.to_thread(brief)
            time.sleep(0.3)
            await asyncio.to_thread(long)
            await asyncio.to_thread(brief)

        asyncio.run(main())
    """
    row = rows(python("-m", "threadcache", "run", "--report", "-c", textwrap.dedent(code)).stderr)["asyncio"]
    seconds, name = re.fullmatch(r"([0-9.]+) s +(\w+)", row["longest job"]).groups()  # type: ignore[union-attr]
    assert name == "long"
    assert 0.2 <= float(seconds) < DEADLINE
    assert 0.3 <= float(row["idle"].removesuffix(" s")) < DEADLINE


def test_it_says_what_could_not_be_installed_and_what_keeps_its_threads() -> None:
    code = """
        import concurrent.futures, trio._core
        class Own(concurrent.futures.ThreadPoolExecutor): ...
    """
    watched = python("-m", "threadcache", "run", "--report", "-c", textwrap.dedent(code))
    assert "__main__.Own: keeps threads of its own: a subclass" in watched.stderr
    assert "anyio: not imported yet" in watched.stderr


def test_the_report_comes_after_the_jobs_that_exit_waits_for() -> None:
    code = """
        import atexit, threading
        from concurrent.futures import ThreadPoolExecutor
        gate = threading.Event()
        ThreadPoolExecutor().submit(gate.wait, 30)
        atexit.register(gate.set)
    """
    watched = python("-m", "threadcache", "run", "--report", "-c", textwrap.dedent(code))
    assert rows(watched.stderr)["futures"]["jobs"] == "1"
    assert "Event.wait" in rows(watched.stderr)["futures"]["longest job"]


def test_a_forked_child_reports_nothing() -> None:
    if not hasattr(os, "fork"):
        pytest.skip("there is no fork here")
    code = """
        import asyncio, os, sys
        asyncio.run(asyncio.to_thread(int))
        if os.fork():
            os.wait()
        else:
            asyncio.run(asyncio.to_thread(int))
            print("child")
            sys.exit()
    """
    watched = python(
        "-W", "ignore::DeprecationWarning", "-m", "threadcache", "run", "--report", "-c", textwrap.dedent(code)
    )
    assert watched.stdout == "child\n"
    assert watched.stderr.startswith("front end")
    assert watched.stderr.count("\nfront end") == 0
    assert rows(watched.stderr)["asyncio"]["jobs"] == "1"


@pytest.mark.parametrize(("before", "jobs"), [(True, "1"), (False, "0")], ids=["cancelled, then refused", "refused"])
def test_calls_that_are_cancelled_or_refused_are_no_jobs_and_leave_the_count_right(before: bool, jobs: str) -> None:
    code = f"""
        import threading
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(1) as executor:
            if {before}:
                gate = threading.Event()
                first = executor.submit(gate.wait, 30)
                assert executor.submit(int).cancel()
                gate.set()
                first.result()
        try:
            executor.submit(int)
        except RuntimeError:
            print("refused")
    """
    watched = python("-m", "threadcache", "run", "--report", "-c", textwrap.dedent(code))
    assert watched.stdout == "refused\n"
    row = rows(watched.stderr)["futures"]
    assert (row["jobs"], row["without threadcache"]) == (jobs, jobs)


def test_a_job_that_runs_at_the_end_is_not_idle() -> None:
    code = """
        import threading, time, trio
        begun = threading.Event()

        def forever():
            begun.set()
            time.sleep(60)

        async def main():
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(lambda: trio.to_thread.run_sync(forever, abandon_on_cancel=True))
                    while not begun.is_set():
                        await trio.sleep(0)
                    scope.cancel()

        trio.run(main)
        time.sleep(0.2)
    """
    row = rows(python("-m", "threadcache", "run", "--report", "-c", textwrap.dedent(code)).stderr)["trio"]
    assert float(row["longest job"].split()[0]) >= 0.2
    assert row["idle"] == "0.000 s"


def test_a_function_that_says_nothing_of_itself_is_a_job_like_any_other() -> None:
    code = """
        from concurrent.futures import ThreadPoolExecutor

        class Proxy:
            def __call__(self):
                return "called"

            def __getattr__(self, name):
                raise RuntimeError(f"not bound: {name}")

        print(ThreadPoolExecutor().submit(Proxy()).result())
    """
    assert python("-m", "threadcache", "run", "--report", "-c", textwrap.dedent(code)).stdout == "called\n"


def test_a_program_without_a_stderr_hears_nothing() -> None:
    watched = python("-m", "threadcache", "run", "--report", "-c", "import sys; sys.stderr = sys.__stderr__ = None")
    assert watched.stdout == watched.stderr == ""


def test_a_program_that_closes_our_file_does_not_find_the_trace_in_its_own(tmp_path: Path) -> None:
    code = f"""
        import asyncio, os
        os.closerange(3, 64)
        async def main():
            for _ in range(20):
                await asyncio.gather(*(asyncio.to_thread(int) for _ in range(50)))
        with open({str(tmp_path / "data")!r}, "w") as own:
            asyncio.run(main())
            own.write("own")
    """
    trace = tmp_path / "trace.json"
    watched = python("-m", "threadcache", "run", "--report", "--trace", str(trace), "-c", textwrap.dedent(code))
    assert (tmp_path / "data").read_text() == "own"
    assert "the trace is not complete: " in watched.stderr


def test_the_trace_has_each_job_once(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    code = """
        import asyncio

        def job(number):
            return number

        async def main():
            for start in range(0, 1500, 50):
                await asyncio.gather(*(asyncio.to_thread(job, start + n) for n in range(50)))

        asyncio.run(main())
    """
    watched = python("-m", "threadcache", "run", "--trace", str(path), "-c", textwrap.dedent(code))
    assert watched.stderr == ""
    events: list[dict[str, Any]] = json.loads(path.read_text())
    jobs = [event for event in events if event["ph"] == "X"]
    assert len(jobs) == 1500  # more than are kept in memory
    assert {event["name"] for event in jobs} == {"job"}
    assert {event["args"]["front end"] for event in jobs} == {"asyncio"}
    assert all(event["dur"] >= 0 and event["ts"] >= 0 and event["args"]["waited (us)"] >= 0 for event in jobs)
    threads = {event["tid"] for event in events if event["name"] == "thread_name"}
    assert {event["tid"] for event in jobs} <= threads
    for thread in threads:
        spans = sorted((event["ts"], event["dur"]) for event in jobs if event["tid"] == thread)
        for (one, took), (other, _) in pairwise(spans):
            assert one + took <= other + 0.2  # microseconds; both are rounded


def test_a_trace_that_cannot_be_written_is_an_error_before_the_program_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "threadcache", "run", "--trace", str(tmp_path), "-c", "print('runs')"],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert str(tmp_path) in done.stderr.splitlines()[-1]


def test_a_full_disk_costs_the_trace_and_no_job() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no disk here that is always full")
    code = "import asyncio\nprint(asyncio.run(asyncio.to_thread(int)))"
    watched = python("-m", "threadcache", "run", "--report", "--trace", "/dev/full", "-c", code)
    assert watched.stdout == "0\n"
    assert "the trace is not complete: [Errno 28]" in watched.stderr
