"""``python -m threadcache run``: what a program sees, and what is seen of it, is what plain Python gives."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import zipfile
from typing import TYPE_CHECKING

import pytest
from conftest import DEADLINE, child

from threadcache.__main__ import main

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
    import sys
    from __future__ import annotations
    def kinds(an: int = 0) -> str:
        told = "__name__", "__file__", "__package__", "__cached__", "__doc__"
        return {k: v if k in told else getattr(v, "__name__", type(v).__name__) for k, v in sorted(globals().items())}
    print(kinds(), kinds.__annotations__, sys.argv, sys.path[0], __spec__, vars(sys.modules["__main__"]) is globals())
    print(sys.stdin.read())
    def fail():
        raise LookupError("on purpose")
    if len(sys.argv) > 1:
        fail()
""".replace("    from __future__ import annotations\n", "")

COMMANDS = {
    "status": "raise SystemExit(3)",
    "status in words": "import sys; sys.exit('goodbye')",
    "no status": "import sys; print('partial', end=''); sys.exit()",
    "error": "def f(): 1 / 0\nf()",
    "chain": "try: 1 / 0\nexcept Exception as e: raise KeyError(1) from e",
    "group": "raise ExceptionGroup('several', [ValueError(1), OSError(2)])",
    "base": "class Stop(BaseException): pass\nraise Stop",
    "syntax": "x = = 1",
    "interrupt": "raise KeyboardInterrupt",
    "os._exit": "import os; os._exit(7)",
    "hook": "import sys\nsys.excepthook = lambda kind, error, tb: print(kind, tb.tb_lineno, tb.tb_next)\n1 / 0",
    "killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "handler": "import os, signal\nsignal.signal(signal.SIGTERM, lambda *_: print('handled'))\n"
    "os.kill(os.getpid(), signal.SIGTERM)",
    "atexit": "import atexit, sys\natexit.register(lambda: print(sys.modules['__main__'].late))\nlate = 'there still'",
    "arguments": "import sys; print(sys.argv)",
    "annotations": "def f(x: int) -> str: ...\nprint(f.__annotations__)\nprint(__name__)",
    "with_traceback": "class E(Exception):\n    def with_traceback(self): ...\nraise E(1)",
    "thread": "import threading\nthreading.Thread(target=lambda: print('waited for')).start()",
    "pickle": "import pickle\nclass C: pass\nprint(type(pickle.loads(pickle.dumps(C()))) is C)",
}


OURS = "-m", "threadcache", "run"


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", *arguments],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


def ended(process: subprocess.Popen[str], stdin: str | None = None) -> tuple[int, str, str]:
    """The exit status and what was said, less the addresses of objects."""
    with process:
        try:
            said, errors = process.communicate(stdin, DEADLINE)
        finally:
            process.kill()
    return process.returncode, *(re.sub("0x[0-9a-f]+", "0x", text) for text in (said, errors))


def python(folder: Path, *arguments: str, stdin: str = "from stdin") -> tuple[int, str, str]:
    return ended(start(folder, *arguments), stdin)


def same(folder: Path, *arguments: str, stdin: str = "from stdin") -> tuple[int, str, str]:
    """Run a program with and without us, and see that nothing tells one from the other."""
    both = start(folder, *arguments), start(folder, *OURS, *arguments)
    plain, ours = (ended(process, stdin) for process in both)
    if sys.implementation.name == "pypy":  # it writes the paths of missing files without quotes
        plain, ours = ((one[0], one[1], one[2].replace("'", "")) for one in (plain, ours))
    assert ours == plain
    return plain


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    code = textwrap.dedent(PROGRAM)
    for path in ("script.py", "package/__main__.py", "folder/__main__.py"):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(code)
    (folder / "package" / "__init__.py").touch()
    (folder / "bare").mkdir()
    (folder / "bare" / "__init__.py").touch()
    (folder / "empty").mkdir()
    (folder / "wrong.py").write_text("x = = 1")
    (folder / "relative.py").symlink_to(folder / "folder" / "__main__.py")
    with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
        archive.writestr("__main__.py", code)
    return folder


@pytest.mark.parametrize("program", ["script.py", "relative.py", "-m script", "-m package", "folder", "archive.zip"])
def test_a_program_sees_and_shows_what_plain_python_gives(programs: Path, program: str) -> None:
    status, said, errors = same(programs, *program.split(), "--report", "-m", "x")
    assert status == 1
    assert "from stdin" in said
    assert "LookupError" in errors


def test_a_program_that_ends_well(programs: Path) -> None:
    assert same(programs, "script.py")[0] == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_ends_as_in_plain_python(programs: Path, name: str) -> None:
    same(programs, "-c", COMMANDS[name], "-c", "--trace")


@pytest.mark.parametrize(
    "program",
    [
        "wrong.py",
        "-m nowhere",
        "-m nowhere.at_all",
        "-m json.nowhere",
        "-m bare",
        "-m script.py",
        "-m .script",
        "empty",
        "nowhere.py",
    ],
)
def test_a_program_that_cannot_be_run_is_refused_in_the_same_words(programs: Path, program: str) -> None:
    status, _, words = same(programs, *program.split())
    assert status
    assert words


@pytest.mark.parametrize(
    "arguments",
    [
        ("-c", "import sys; print(sys.argv)", "--", "a"),
        ("-cimport sys; print(sys.argv)", "-m", "a"),
        ("-mscript", "-c"),
        ("script.py", "--", "-m"),
        ("folder/../script.py",),
        ("script.py", "-h"),
    ],
)
def test_the_programs_arguments_are_its_own(programs: Path, arguments: tuple[str, ...]) -> None:
    assert same(programs, *arguments)[1]


@pytest.mark.parametrize("option", ["-P", "-I"])
@pytest.mark.parametrize("program", ["folder", "archive.zip", "script.py"])
def test_programs_that_are_not_to_import_from_everywhere(programs: Path, program: str, option: str) -> None:
    """Only they themselves are on `sys.path`, if they are a folder or an archive. (-I would not find us here.)"""
    code = "import sys; from threadcache.__main__ import main; main(sys.argv[1:])"
    path = f"import sys; sys.path[1:1] = {[entry for entry in sys.path if entry]!r}; "
    ours = python(programs, option, "-c", path + code, "run", program)
    plain = python(programs, option, program)
    assert ours[0] == plain[0] == 0
    assert ours[1].split()[-2:] == plain[1].split()[-2:]
    first = str(programs / program)
    assert (f"] {first} " in ours[1]) == (f"] {first} " in plain[1]) == (program != "script.py")


def test_a_module_whose_package_misses_something_says_where(programs: Path) -> None:
    (programs / "broken").mkdir()
    (programs / "broken" / "__init__.py").write_text("import nowhere_at_all")
    (programs / "broken" / "__main__.py").touch()
    status, _, errors = python(programs, *OURS, "-m", "broken")
    assert status == 1
    assert 'broken/__init__.py", line 1, in <module>' in errors
    assert errors.endswith("ModuleNotFoundError: No module named 'nowhere_at_all'\n")
    assert "threadcache" not in errors


def test_a_program_from_stdin(programs: Path) -> None:
    assert same(programs, "-", "x", stdin="import sys; print(sys.argv, __name__, __file__, sorted(globals()))")[1]


def interrupted(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run a program that says "ready" again and again, interrupt it then, and return how it ended."""
    process = start(folder, *arguments)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    status, _, errors = ended(process)
    return status, re.sub("^[ ~^]+\n", "", errors, flags=re.MULTILINE)  # which part of the line it struck in


def test_ctrl_c_interrupts_the_program_as_ever(programs: Path) -> None:
    (programs / "waiting.py").write_text("import time\nwhile not print('ready', flush=True): time.sleep(0.01)\n")
    plain = interrupted(programs, "waiting.py")
    assert interrupted(programs, *OURS, "waiting.py") == plain
    assert plain[0] != 0
    assert "KeyboardInterrupt" in plain[1]


def test_the_program_runs_on_the_cache_and_its_executor_is_waited_for(programs: Path) -> None:
    (programs / "working.py").write_text(
        textwrap.dedent(
            """
            import asyncio, sys, threading
            from concurrent.futures import ThreadPoolExecutor

            def where():
                return threading.current_thread().name.startswith("threadcache")

            async def main():
                return await asyncio.to_thread(where)

            print(asyncio.run(main()), ThreadPoolExecutor().submit(where).result())
            gate = threading.Event()
            ThreadPoolExecutor().submit(lambda: gate.wait(30) and print("waited for"))
            import atexit
            atexit.register(gate.set)
            """
        )
    )
    assert python(programs, *OURS, "working.py") == (0, "True True\nwaited for\n", "")


def test_processes_that_the_program_spawns_find_its_main_module(programs: Path) -> None:
    (programs / "spawning.py").write_text(
        textwrap.dedent(
            """
            import multiprocessing

            def double(number):
                return 2 * number

            if __name__ == "__main__":
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    print(pool.map(double, range(4)))
            """
        )
    )
    assert same(programs, "spawning.py")[1] == "[0, 2, 4, 6]\n"
    assert same(programs, "-m", "spawning")[1] == "[0, 2, 4, 6]\n"


@pytest.mark.parametrize("arguments", [(), ("--report",), ("-m",), ("-c",)])
def test_nothing_to_run(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["run", *arguments])
    assert "there is nothing to run" in capsys.readouterr().err


def test_what_is_refused_at_once_is_said_on_stderr() -> None:
    done = child(
        """
        import sys, types
        sys.argv = ["threadcache", "run", "-c", "print('runs')"]
        import trio._core._thread_cache
        del trio._core._thread_cache.THREAD_CACHE
        from threadcache.__main__ import main
        main(sys.argv[1:])
        """
    )
    assert done.stdout == "runs\n"
    assert re.match(r"threadcache: trio refused: .*trio \d.*THREAD_CACHE", done.stderr)
