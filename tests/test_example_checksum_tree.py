"""examples/checksum_tree.py, run as a user runs it: as a program, on trees that are made here."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

PROGRAM = Path(__file__).parent.parent / "examples" / "checksum_tree.py"
WAYS = ["threadcache", "CachedThreadPoolExecutor", "ThreadPoolExecutor", "a thread a job"]
DEADLINE = 60.0  # seconds; a run takes well under one, so only one that hangs gets there


def environment(**changes: str) -> dict[str, str]:
    """What the program gets to see: nothing that makes rich think of a terminal, or the cache talk."""
    unwanted = {"FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "THREADCACHE_DEBUG"}
    return {name: value for name, value in os.environ.items() if name not in unwanted} | changes


def command(*arguments: str | Path) -> list[str | Path]:
    return [sys.executable, "-W", "error", PROGRAM, *arguments]


def run(*arguments: str | Path, **env: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command(*arguments), capture_output=True, timeout=DEADLINE, env=environment(**env), check=False
    )


def rows(table: bytes) -> dict[str, list[int]]:
    """The table's rows by label: files, bytes, jobs, threads started, peak."""
    header, rule, *lines = table.decode().splitlines()
    assert re.split(r" {2,}", header) == [
        "way",
        "files",
        "bytes",
        "jobs",
        "threads started",
        "peak",
        "seconds",
    ]
    assert set(rule) == {"-", " "}
    split = [re.split(r" {2,}", line) for line in lines[: len(WAYS)]]
    assert all(re.fullmatch(r"\d+\.\d{3}", row[-1]) for row in split)
    assert lines[len(WAYS)].startswith("At most ")
    return {label: [int(number.replace(",", "")) for number in numbers[:-1]] for label, *numbers in split}


def make(folder: Path, files: dict[str, bytes]) -> list[bytes]:
    """Make the files, and return the lines that `sha256sum` would print for them, sorted by name."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return [
        f"{hashlib.sha256(files[name]).hexdigest()}  {folder / name}".encode()
        for name in sorted(files, key=lambda name: str(folder / name))
    ]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def example() -> Iterator[ModuleType]:
    """The program as a module, for what can only be seen from inside."""
    spec = importlib.util.spec_from_file_location("checksum_tree", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Let child processes be interrupted even where this one was started with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("jobs", [1, 4])
def test_digests_and_table(tree: Path, tmp_path: Path, jobs: int) -> None:
    files = {
        "a": b"abc",
        "empty": b"",
        "deep/er/b c": b"x" * 1000,
        "deep/blocks": bytes(range(256)) * 4097 * 3,
    }
    files |= {f"many/{n}": b"%d" % n for n in range(40)}
    lines = make(tree, files)
    done = run(tree, "--jobs", str(jobs), "--output", tmp_path / "sums")
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "sums").read_bytes().splitlines() == lines
    size = sum(map(len, files.values()))
    found = rows(done.stdout)
    assert list(found) == WAYS
    assert all(numbers[:3] == [len(files), size, len(files)] for numbers in found.values())
    for way in WAYS[2:]:
        assert 1 <= found[way][4] <= jobs
    assert found["ThreadPoolExecutor"][3] == found["ThreadPoolExecutor"][4]
    assert found["a thread a job"][3] == len(files)
    # One job after another takes one thread of the cache (G5). Four at a time may take a few more than four, for a
    # worker can be neither busy nor listed as idle yet when one is needed; but by far not one for each job. An executor
    # may ask for a thread too many as well. One that is about to start is in the peak, and not yet among the started;
    # one that starts when others have left is among these alone.
    for way in WAYS[:2]:
        _, _, _, *threads = found[way]
        assert 1 <= min(threads) <= max(threads) <= (1 if (way, jobs) == ("threadcache", 1) else len(files) // 2)
    assert f"At most {jobs} jobs at a time".encode() in done.stdout


def test_digests_on_standard_output_leave_the_table_to_standard_error(tree: Path) -> None:
    lines = make(tree, {"a": b"abc", "b/c": b"def"})
    done = run(tree, "--output", "-")
    assert done.returncode == 0
    assert done.stdout.splitlines() == lines
    assert rows(done.stderr)["threadcache"][0] == 2


def test_names_of_any_bytes(tree: Path, tmp_path: Path) -> None:
    names = [b"plain", b"caf\xc3\xa9", b"latin-1 \xe9", b"two\nlines", b"back\\slash", b"carriage\rreturn"]
    try:
        for name in names:
            (tree / os.fsdecode(name)).write_bytes(name)
    except OSError as error:
        pytest.skip(f"the file system takes no such names: {error}")
    (tree / os.fsdecode(b"dangling\xff\n")).symlink_to("nowhere")
    sums = tmp_path / "sums"
    done = run(tree, "--output", sums, LC_ALL="C", PYTHONIOENCODING="ascii")
    assert done.returncode == 1
    assert f"{str(tree)[1:]}/dangling\\udcff\\n': {os.strerror(errno.ENOENT)}".encode() in done.stderr
    escapes = {
        b"two\nlines": b"two\\nlines",
        b"back\\slash": b"back\\\\slash",
        b"carriage\rreturn": b"carriage\\rreturn",
    }
    assert sorted(sums.read_bytes().split(b"\n")[:-1]) == sorted(
        b"\\" * (name in escapes)
        + hashlib.sha256(name).hexdigest().encode()
        + b"  %b/%b" % (os.fsencode(tree), escapes.get(name, name))
        for name in names
    )
    if sha256sum := shutil.which("sha256sum"):
        subprocess.run([sha256sum, "--check", "--strict", sums], check=True, capture_output=True, timeout=DEADLINE)


def test_each_thing_that_cannot_be_read_is_named_with_its_reason(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = make(tree, {"a": b"abc", "z/z": b"xyz"})
    os.mkfifo(tree / "z" / "fifo")
    (tree / "device").symlink_to(os.devnull)
    (tree / "dangling").symlink_to("nowhere")
    (tree / "loop").symlink_to("loop")
    expected = {
        "z/fifo": "Not a regular file (FIFO)",
        "socket": "Not a regular file (socket)",
        "device": "Not a regular file (device)",
        "dangling": os.strerror(errno.ENOENT),
        "loop": os.strerror(errno.ELOOP),
    }
    if Path("/proc/self/mem").exists():  # a file that can be opened, and fails at the first byte
        (tree / "failing").symlink_to("/proc/self/mem")
        expected["failing"] = os.strerror(errno.EIO)
    monkeypatch.chdir(tree)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")  # a short name, for there is a limit of about 100 bytes
        done = run(tree, "--output", tmp_path / "sums", "--jobs", "2")
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        f"Unreadable ({len(expected)}):",
        *sorted(f"  {tree / name}: {reason}" for name, reason in expected.items()),
    ]
    assert (tmp_path / "sums").read_bytes().splitlines() == lines
    for numbers in rows(done.stdout).values():
        assert numbers[:3] == [2, 6, 2 + len(expected)]


def test_a_folder_that_cannot_be_listed_is_named(tree: Path) -> None:
    make(tree, {"a": b"abc"})
    # Root would not notice permissions, so its path is too long to be said; hence it is made from folder to folder.
    longest, step, folder = os.pathconf(tree, "PC_PATH_MAX"), "d" * 200, str(tree)
    with ExitStack() as cleaning:
        parent = os.open(tree, os.O_RDONLY)
        cleaning.callback(os.close, parent)
        while len(folder) < longest:
            os.mkdir(step, dir_fd=parent)
            cleaning.callback(os.rmdir, step, dir_fd=parent)
            parent = os.open(step, os.O_RDONLY, dir_fd=parent)
            cleaning.callback(os.close, parent)
            folder += f"/{step}"
        done = run(tree)
    assert done.returncode == 1
    assert done.stderr.decode() == f"Unreadable (1):\n  {folder}: {os.strerror(errno.ENAMETOOLONG)}\n"
    assert rows(done.stdout)["threadcache"][:3] == [1, 3, 1]


def test_folders_nested_deeper_than_recursion_goes(tree: Path) -> None:
    folders = [tree]
    while len(folders) <= sys.getrecursionlimit() + 50:
        folders.append(folders[-1] / "d")
        folders[-1].mkdir()
    (folders[-1] / "f").write_bytes(b"abc")
    try:
        done = run(tree)
    finally:
        (folders[-1] / "f").unlink()
        for folder in reversed(folders):  # for pytest's own way of doing it recurses
            folder.rmdir()
    assert (done.returncode, done.stderr) == (0, b"")
    assert rows(done.stdout)["threadcache"][:2] == [1, 3]


def test_links_to_files_are_read_and_links_to_folders_are_named(tree: Path, tmp_path: Path) -> None:
    lines = make(tree, {"file": b"abc", "sub/file": b"def"})
    (tree / "link").symlink_to("sub/file")
    (tree / "sub" / "up").symlink_to(tree)
    top = tmp_path / "top"
    top.symlink_to(tree)
    done = run(top, "--output", tmp_path / "sums")
    assert done.returncode == 0
    assert done.stderr.decode() == f"Links to folders, not followed (1):\n  {top}/sub/up\n"
    lines.insert(1, lines[1].replace(b"sub/file", b"link"))
    assert (tmp_path / "sums").read_bytes().splitlines() == [
        line.replace(os.fsencode(tree), os.fsencode(top)) for line in lines
    ]


def test_an_empty_folder_is_no_error(tree: Path) -> None:
    (tree / "empty too").mkdir()
    done = run(tree)
    assert (done.returncode, done.stderr) == (0, b"")
    assert rows(done.stdout)["ThreadPoolExecutor"] == [0] * 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: PATH"),
        (["{tree}/none"], f"{{tree}}/none: {os.strerror(errno.ENOENT)}"),
        (["{tree}/a"], "{tree}/a: not a folder"),
        (["{tree}", "--jobs", "0"], "--jobs: at least 1"),
        (["{tree}", "--jobs", "many"], "--jobs: invalid int value: 'many'"),
        (["{tree}", "--output", "{tree}/sums"], "{tree}/sums: lies in {tree}, and would be one of its files"),
        (
            ["{tree}", "--output", "{tree}/../none/sums"],
            f"{{tree}}/../none/sums: {os.strerror(errno.ENOENT)}",
        ),
    ],
)
def test_wrong_usage(tree: Path, arguments: list[str], message: str) -> None:
    make(tree, {"a": b"abc"})
    done = run(*(argument.format(tree=tree) for argument in arguments))
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().endswith(f"{message.format(tree=tree)}\n")
    assert [path.name for path in tree.iterdir()] == ["a"]


def test_digests_that_cannot_be_written(tree: Path) -> None:
    make(tree, {"a": b"abc"})
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as broken:
        done = subprocess.run(
            command(tree, "--output", "-"),
            stdout=broken,
            stderr=subprocess.PIPE,
            timeout=DEADLINE,
            env=environment(),
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.decode().endswith(f"The digests could not be written: {os.strerror(errno.EPIPE)}\n")


@pytest.mark.parametrize("differing", WAYS[1:])
def test_ways_that_differ_are_an_error(
    tree: Path, example: ModuleType, capsys: pytest.CaptureFixture[str], differing: str
) -> None:
    make(tree, {"a": b"abc", "b": b"def"})
    (tree / "dangling").symlink_to("nowhere")
    passes = 0

    def read(stop: threading.Event, path: str) -> Any:
        nonlocal passes
        passes += path.endswith("/b")
        if path.endswith("/b") and passes == 2 + WAYS.index(differing):  # the first pass only reads ahead
            (tree / "b").write_bytes(b"new")
        return example.checksum(stop, path)

    # With status 3 rather than 1, the lesser trouble; from the third way on the file is the new one.
    assert example.main([str(tree)], read) == 3
    assert f"Not the same in all ways (1):\n  {tree}/b\n" in capsys.readouterr().err


def test_an_error_that_is_not_the_file_s_is_not_taken_for_one(tree: Path, example: ModuleType) -> None:
    make(tree, {"a": b"abc"})

    def read(stop: threading.Event, path: str) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        example.main([str(tree)], read)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("jobs", [1, 4])
def test_as_many_jobs_at_a_time_as_allowed_and_no_more(example: ModuleType, way: str, jobs: int) -> None:
    together = threading.Barrier(jobs, timeout=DEADLINE)  # which all must reach, or it breaks
    lock = threading.Lock()
    running = most = 0
    paths = [f"{n}" for n in range(25 * jobs)]
    done: list[tuple[str, Any, threading.Thread]] = []

    def read(path: str) -> Any:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        together.wait()
        with lock:
            running -= 1
        return example.Sum(path.encode(), 1)

    def keep(path: str, result: Any) -> None:
        done.append((path, result.unwrap(), threading.current_thread()))

    counted, started, peak = example.WAYS[way](read, paths, jobs, keep)
    assert sorted(done) == sorted((path, (path.encode(), 1), threading.current_thread()) for path in paths)
    assert most == jobs
    assert counted == len(paths)
    if way == "CachedThreadPoolExecutor":  # with a few more, see above
        assert jobs <= peak <= started <= len(paths) // 2
    elif way != "threadcache":  # whose numbers are the process's, and other tests have had their share in them
        assert (started, peak) == (len(paths) if way == "a thread a job" else jobs, jobs)


def test_the_executor_drops_what_is_in_line_when_interrupted(example: ModuleType) -> None:
    before = set(threading.enumerate())
    released = threading.Event()
    reached: list[str] = []

    def read(path: str) -> Any:
        reached.append(path)
        if path != "0":
            assert released.wait(DEADLINE)

    def interrupt(path: str, result: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        example.on_executor(read, [f"{n}" for n in range(50)], 2, interrupt)
    released.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(DEADLINE)
    # The one that is done, and those that the two threads have begun.
    assert set(reached) <= {"0", "1", "2"}


def test_no_bar_without_a_terminal(tree: Path) -> None:
    make(tree, {"a": b"abc"})
    assert run(tree, FORCE_COLOR="1", TTY_COMPATIBLE="1").stderr == b""


def on_a_terminal(*arguments: str | Path, **env: str) -> tuple[int, str, bytes]:
    """Run with a terminal as standard error: exit status, what the terminal got, and standard output."""
    deadline = time.monotonic() + DEADLINE
    terminal, side = pty.openpty()
    with os.fdopen(terminal, "rb", buffering=0) as screen:
        try:
            child = subprocess.Popen(
                command(*arguments),
                stdout=subprocess.PIPE,
                stderr=side,
                env=environment(TERM="xterm", COLUMNS="100", LINES="25", **env),
            )
        finally:
            os.close(side)
        with child:
            try:
                seen = b""
                while select.select([screen], [], [], deadline - time.monotonic())[0]:
                    try:
                        seen += screen.read(4096) or b""
                    except OSError:  # Linux says so when the other side is closed
                        break
                output, _ = child.communicate(timeout=max(0.0, deadline - time.monotonic()))
            except BaseException:
                child.kill()
                raise
    return child.returncode, seen.decode().replace("\r\n", "\n"), output


def test_a_bar_on_a_terminal(tree: Path) -> None:
    pytest.importorskip("rich")
    make(tree, {f"{n}": b"abc" for n in range(300)})
    status, screen, output = on_a_terminal(tree)
    assert status == 0
    assert rows(output)["threadcache"][0] == 300
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)
    for label in ["reading ahead", *WAYS]:
        assert re.search(f"{label} +\N{BOX DRAWINGS HEAVY HORIZONTAL}+ 100%", plain)
    assert screen.endswith("\x1b[2K")  # gone at the end: the table says it all


def test_without_rich_a_terminal_is_told_so(tree: Path, tmp_path: Path) -> None:
    make(tree, {"a": b"abc"})
    make(tmp_path / "no rich", {"rich/__init__.py": b"raise ImportError"})
    path = os.pathsep.join(filter(None, [str(tmp_path / "no rich"), os.environ.get("PYTHONPATH")]))
    status, screen, output = on_a_terminal(tree, PYTHONPATH=path)
    assert (status, screen) == (0, 'No progress bar without rich: pip install "threadcache[cli]"\n')
    assert rows(output)["threadcache"][0] == 1


def test_a_file_is_read_no_further_once_the_program_stops(tree: Path, example: ModuleType) -> None:
    make(tree, {"a": b"x" * 3 * example.BLOCK_BYTES})
    stop = threading.Event()
    assert example.checksum(stop, str(tree / "a")).size == 3 * example.BLOCK_BYTES
    stop.set()
    assert example.checksum(stop, str(tree / "a")).size <= example.BLOCK_BYTES


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_while_reading(tree: Path, tmp_path: Path) -> None:
    with (tree / "endless").open("wb") as file:
        file.truncate(1 << 40)  # a hole of a TiB, which takes no room, and much longer than the deadline to read
    make(tree, {f"{n}": b"abc" for n in range(10)})
    os.mkfifo(tmp_path / "sums")
    with subprocess.Popen(
        [
            sys.executable,
            PROGRAM,
            tree,
            "--output",
            tmp_path / "sums",
        ],  # warnings as usual: a file stays open
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as child:
        try:
            with (tmp_path / "sums").open("rb") as sums:  # which waits until the program has opened it too
                child.send_signal(signal.SIGINT)
                output, errors = child.communicate(timeout=DEADLINE)
                assert sums.read() == b""
        except BaseException:
            child.kill()
            raise
    assert (child.returncode, output, errors) == (130, b"", b"Interrupted\n")


INTERRUPTED = """
import atexit, os, runpy, signal, sys, threading
program, tree, number = sys.argv[1:]
example = runpy.run_path(program)
passes, reached = {}, []
both = threading.Barrier(2)

def read(stop, path):
    passes[path] = passes.get(path, 0) + 1
    if passes[path] == int(number):
        reached.append(path)
        if len(reached) <= 2 and both.wait() == 0:
            # This one ends, for a signal does not wake a main thread that is just about to wait: a result does.
            os.kill(os.getpid(), signal.SIGINT)
        else:
            stop.wait()
    return example["checksum"](stop, path)

atexit.register(lambda: print(len(reached)))
sys.exit(example["main"]([tree, "--jobs", "2"], read))
"""


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("way", ["reading ahead", *WAYS])
def test_ctrl_c_in_each_way_starts_no_further_job(tree: Path, way: str) -> None:
    make(tree, {f"{n}": b"abc" for n in range(50)})
    number = 1 + ["reading ahead", *WAYS].index(way)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", INTERRUPTED, PROGRAM, tree, str(number)],
        capture_output=True,
        timeout=DEADLINE,
        env=environment(),
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, b"Interrupted\n")
    # Two jobs were running, and the executor's thread that had done the first may have been quick to take another.
    assert 2 <= int(done.stdout) <= 3
