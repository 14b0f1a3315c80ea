"""SHA-256 of every file below a folder, on `threadcache` in two ways and on two peers, side by side.

    python examples/checksum_tree.py PATH [--jobs N] [--output FILE]

Each file is one job for `threadcache.start_thread_soon`, and at most N of them run at a time: how many threads
to use is for the program to say, not for the cache, and `run_limited` below is all that it takes. The same work
is then done with `threadcache.CachedThreadPoolExecutor(N)`, with `concurrent.futures.ThreadPoolExecutor(N)` and
with a new thread for each job, all digests are compared, and a table shows what each way took.

On a terminal a progress bar is drawn on standard error (it needs rich: `pip install "threadcache[cli]"`).
`--output FILE` writes the digests in the form that `sha256sum --check` reads; with `-` they go to standard
output, and the table to standard error.

A link to a file is read, under the link's name, as `sha256sum` does. A link to a folder is not followed (PATH
itself may be one); such links are named at the end. So is whatever cannot be read, with the reason: files,
folders that cannot be listed, dangling links, and FIFOs, sockets and devices, which are never opened.

Exit status: 0 all was read; 1 something could not be; 2 wrong usage, or FILE cannot be written; 3 the ways saw
different things, as they do where a file changes meanwhile; 130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO, NamedTuple, TextIO

import outcome
from outcome import Outcome

import threadcache
from threadcache import CachedThreadPoolExecutor  # heavy, and not to be imported within what is timed

BLOCK_BYTES = 1 << 20  # read at once, without the GIL; Ctrl-C waits for one at most. A round number, no more
EXECUTOR_LEAD = 1000  # jobs in line for the executor: enough to keep it busy, few where there are a million
NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # for a FIFO, which waits to be opened from its other end too
KINDS = {stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}


class Sum(NamedTuple):
    digest: bytes
    size: int


Read = Callable[[str], Sum]
Deliver = Callable[[Outcome[Sum]], object]
Start = Callable[[Callable[[], Sum], Deliver], object]
Done = Callable[[str, Outcome[Sum]], object]  # called in the main thread, once for each path, in any order
Threads = tuple[int, int, int]  # what that took: jobs, threads started for them, most threads at one time
Way = Callable[[Read, Sequence[str], int, Done], Threads]
Step = Callable[[], object]


def checksum(stop: threading.Event, path: str) -> Sum:
    """Read one file, or as much of it as was read before `stop` was set: after that nobody asks for it."""
    require_regular(Path(path).stat())  # before it is opened: to open a device can set something off
    with open(path, "rb", buffering=0, opener=lambda name, flags: os.open(name, flags | NO_WAIT)) as file:
        require_regular(os.fstat(file.fileno()))  # it may have been replaced in between
        digest = hashlib.sha256()
        while (block := file.read(BLOCK_BYTES)) and not stop.is_set():
            digest.update(block)
        return Sum(digest.digest(), file.tell())


def require_regular(info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise OSError(f"Not a regular file ({KINDS.get(stat.S_IFMT(info.st_mode), 'something else')})")


def run_limited(start: Start, read: Read, paths: Sequence[str], jobs: int, done: Done) -> None:
    """Run one job for each path, at most `jobs` at a time. With `start=start_thread_soon` this is the idiom.

    When that many are running, the next one starts only after one has been delivered, so each counts for as long
    as it holds a thread, and finds a thread that has just become free. `deliver` runs in that thread and must not
    block: it hands the result over and does nothing else. Should `start` raise, there is nothing to undo, for then
    it took nothing. A program that starts jobs from several threads would hold a `threading.Semaphore` instead,
    and release it in `deliver`.
    """
    delivered: SimpleQueue[tuple[str, Outcome[Sum]]] = SimpleQueue()

    def deliver(path: str, result: Outcome[Sum]) -> None:
        delivered.put((path, result))

    running = 0
    for path in paths:
        if running == jobs:
            done(*delivered.get())
            running -= 1
        start(partial(read, path), partial(deliver, path))
        running += 1
    for _ in range(running):
        done(*delivered.get())


def on_threadcache(read: Read, paths: Sequence[str], jobs: int, done: Done) -> Threads:
    before = threadcache.default_cache.stats()
    run_limited(threadcache.start_thread_soon, read, paths, jobs, done)
    after = threadcache.default_cache.stats()
    # The peak is the process's, and this run's too as long as nothing else here has used the cache.
    return (after.jobs - before.jobs, after.started - before.started, after.peak)


def run_all(executor: ThreadPoolExecutor, read: Read, paths: Sequence[str], done: Done) -> None:
    """Run one job for each path, as many at a time as the executor may, and shut it down."""
    in_line: deque[tuple[str, Future[outcome.Value[Sum] | outcome.Error]]] = deque()

    def hand_over(leave: int) -> None:
        while len(in_line) > leave:
            path, future = in_line.popleft()
            done(path, future.result())

    try:
        for path in paths:
            in_line.append((path, executor.submit(outcome.capture, read, path)))
            hand_over(EXECUTOR_LEAD)
        hand_over(0)
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)  # after Ctrl-C, what is in line is not to run
        raise
    executor.shutdown()  # which waits


def on_cached_executor(read: Read, paths: Sequence[str], jobs: int, done: Done) -> Threads:
    cache = threadcache.ThreadCache()  # only here, so that it starts with no thread and counts this run's alone
    run_all(CachedThreadPoolExecutor(jobs, cache=cache), read, paths, done)
    cache.drain()  # waits for the threads to end, as the other executor's shutdown does: all have been counted
    stats = cache.stats()
    return (len(paths), stats.started, stats.peak)


def on_executor(read: Read, paths: Sequence[str], jobs: int, done: Done) -> Threads:
    started: list[int] = []  # the executor calls its initializer once in each thread that it starts
    run_all(ThreadPoolExecutor(jobs, initializer=lambda: started.append(threading.get_ident())), read, paths, done)
    return (len(paths), len(started), len(started))  # its threads stay until the end: all make the peak


def on_new_threads(read: Read, paths: Sequence[str], jobs: int, done: Done) -> Threads:
    started = peak = 0
    working: set[threading.Thread] = set()

    def start(fn: Callable[[], Sum], deliver: Deliver) -> None:
        nonlocal started, peak

        def run() -> None:
            result = outcome.capture(fn)
            working.remove(thread)  # one that has nothing left to do but to end isn't in the peak
            deliver(result)

        thread = threading.Thread(target=run, daemon=True)
        working.add(thread)
        peak = max(peak, len(working))
        thread.start()
        started += 1

    run_limited(start, read, paths, jobs, done)
    return (len(paths), started, peak)


WAYS: dict[str, Way] = {
    "threadcache": on_threadcache,
    "CachedThreadPoolExecutor": on_cached_executor,
    "ThreadPoolExecutor": on_executor,
    "a thread a job": on_new_threads,
}


def measure(
    label: str, way: Callable[[Done], Threads], seen: dict[str, Sum | str], differing: set[str], step: Step
) -> list[str]:
    """One row of the table. What is new goes into `seen`; files that are not as seen before into `differing`."""
    files = size = 0

    def done(path: str, result: Outcome[Sum]) -> None:
        nonlocal files, size
        step()
        try:
            now: Sum | str = (summed := result.unwrap())
            files, size = files + 1, size + summed.size
        except OSError as error:
            now = reason(error)
        if seen.setdefault(path, now) != now:
            differing.add(path)

    began = time.perf_counter()
    threads = way(done)
    seconds = time.perf_counter() - began
    return [label, *(f"{number:,}" for number in (files, size, *threads)), f"{seconds:.3f}"]


def table(rows: list[list[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in [rows[0], ["-" * width for width in widths], *rows[1:]]:
        yield "  ".join([first.ljust(widths[0]), *map(str.rjust, others, widths[1:])])


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int], Step]]:
    """Gives what starts a bar, from a label and a total, and returns what takes one step."""
    if sys.stderr.isatty():
        try:
            from rich.console import Console
            from rich.progress import Progress
        except ImportError:
            print('No progress bar without rich: pip install "threadcache[cli]"', file=sys.stderr)
        else:
            with Progress(console=Console(stderr=True), transient=True) as progress:
                yield lambda label, total: partial(progress.advance, progress.add_task(label, total=total))
            return
    yield lambda _label, _total: lambda: None


def find_files(top: str, unreadable: dict[str, str], not_followed: list[str]) -> list[str]:
    """Whatever is no folder. Folders that can't be listed, and links to folders, go into the other two."""
    files, folders = (
        [],
        [top],
    )  # a stack of our own: `os.walk` recurses before Python 3.12, and trees can be deep
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif entry.is_symlink() and os.path.isdir(entry.path):
                        not_followed.append(entry.path)
                    else:
                        files.append(entry.path)
        except OSError as error:
            unreadable[folder] = reason(error)
    return sorted(files)


def reason(error: OSError) -> str:
    return error.strerror or str(error)


def shown(path: str) -> str:
    return path if path.isprintable() else repr(path)  # names may hold line breaks, or bytes that are no text


def name_all(heading: str, lines: list[str]) -> None:
    if lines:
        print(f"{heading} ({len(lines):,}):", *sorted(lines), sep="\n  ", file=sys.stderr)


def write_digests(file: BinaryIO | None, seen: dict[str, Sum | str]) -> None:
    if file is None:
        return
    with file:
        for path, result in sorted(seen.items()):
            if isinstance(result, Sum):
                name = os.fsencode(path)  # escaped, and marked with a backslash, just where `sha256sum` does it
                escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
                file.write(b"\\" * (escaped != name) + result.digest.hex().encode() + b"  " + escaped + b"\n")


def parse(arguments: Sequence[str] | None) -> tuple[str, int, BinaryIO | None, TextIO]:
    """PATH, N, where the digests go if anywhere, and where the table goes."""
    parser = argparse.ArgumentParser(description="SHA-256 of every file below PATH, on threadcache and two peers.")
    parser.add_argument("path", metavar="PATH", help="a folder")
    default = min(32, (os.cpu_count() or 1) + 4)  # the executor's own default, for want of a better reason
    parser.add_argument("--jobs", metavar="N", type=int, default=default, help="at a time (%(default)s)")
    parser.add_argument("--output", metavar="FILE", help="write digests as sha256sum does (-: standard output)")
    options = parser.parse_args(arguments)
    top, output = Path(options.path), options.output
    if options.jobs < 1:
        parser.error("--jobs: at least 1")
    try:
        if not stat.S_ISDIR(top.stat().st_mode):
            parser.error(f"{shown(options.path)}: not a folder")
        if output is None:
            return options.path, options.jobs, None, sys.stdout
        if output == "-":
            return options.path, options.jobs, open(1, "wb", closefd=False), sys.stderr
        if Path(output).resolve().is_relative_to(top.resolve()):
            parser.error(f"{shown(output)}: lies in {shown(options.path)}, and would be one of its files")
        # Opened now, since a mistake is better told before all the work.
        return options.path, options.jobs, Path(output).open("wb"), sys.stdout
    except OSError as error:
        parser.error(f"{shown(str(error.filename))}: {reason(error)}")


def run(arguments: Sequence[str] | None, read: Read) -> int:
    top, jobs, digests, out = parse(arguments)
    unreadable: dict[str, str] = {}  # by path: why
    not_followed: list[str] = []
    seen: dict[str, Sum | str] = {}  # by path: the sum, or why there is none
    differing: set[str] = set()
    rows = [["way", "files", "bytes", "jobs", "threads started", "peak", "seconds"]]
    files = find_files(top, unreadable, not_followed)
    with progress_bars() as bar:
        step = bar("reading ahead", len(files))
        on_new_threads(read, files, jobs, lambda _path, _result: step())
        for label, way in WAYS.items():
            timed = partial(way, read, files, jobs)
            rows.append(measure(label, timed, seen, differing, bar(label, len(files))))
    print(*table(rows), sep="\n", file=out)
    print(
        f"At most {jobs} jobs at a time; {platform.python_implementation()} {platform.python_version()}.",
        file=out,
    )
    print("Every file was read once beforehand, by a thread a job, so each way finds it in memory.", file=out)
    out.flush()
    unreadable |= {path: why for path, why in seen.items() if isinstance(why, str)}
    name_all("Links to folders, not followed", [shown(path) for path in not_followed])
    name_all("Unreadable", [f"{shown(path)}: {why}" for path, why in unreadable.items()])
    name_all("Not the same in all ways", [shown(path) for path in differing])
    try:
        write_digests(digests, seen)
    except OSError as error:
        print(f"The digests could not be written: {reason(error)}", file=sys.stderr)
        return 2
    return 3 if differing else 1 if unreadable else 0


def main(arguments: Sequence[str] | None = None, read: Callable[[threading.Event, str], Sum] = checksum) -> int:
    stop = threading.Event()
    try:
        return run(arguments, partial(read, stop))
    except KeyboardInterrupt:
        stop.set()  # the interpreter waits for the executor's threads; the others are daemons
        print("Interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
