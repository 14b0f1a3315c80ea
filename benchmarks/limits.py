"""How far one could get: programs that do the same, or nearly nothing, without Python. They compete with nobody.

They are compiled when they are needed, into a folder that goes away with the run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from contenders import Contender, LeftOutError

SOURCES = Path(__file__).with_name("limits")
PATIENCE = 120  # seconds for a compiler


def _find(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise LeftOutError(f"there is no {program}")
    return found


def _compiler() -> str:
    return _find(os.environ.get("CC", "cc"))


def _compile(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode:
        raise LeftOutError(f"does not compile: {done.stderr.strip()}")


def _ping_pong(way: str, folder: Path) -> tuple[str, ...]:
    compiler, program = _compiler(), folder / "ping_pong"
    if not program.exists():
        _compile(compiler, "-std=gnu11", "-O2", "-pthread", "-o", program, SOURCES / "ping_pong.c")
    return str(program), way


def _cached_pool(folder: Path) -> tuple[str, ...]:
    java, compiler = _find("java"), _find("javac")
    _compile(compiler, "-d", folder, SOURCES / "CachedPool.java")
    return java, "-cp", str(folder), "CachedPool"


def _limit(name: str, program: Callable[[Path], tuple[str, ...]], cores: int = 1) -> Contender[Any]:
    return Contender(name, None, program=program, limit=True, cores=cores)


C_PARKS = _limit("C (parks)", partial(_ping_pong, "park"))
C_SPINS = _limit("C (spins)", partial(_ping_pong, "spin"), cores=2)
JAVA = _limit("Java", _cached_pool)


def versions() -> dict[str, str]:
    """The first line of what the C compiler and Java say of themselves, as far as they are there."""
    found = {}
    for name, command in (("C compiler", (os.environ.get("CC", "cc"), "--version")), ("Java", ("java", "-version"))):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
        except (OSError, subprocess.SubprocessError):
            continue
        found[name] = (done.stdout or done.stderr).partition("\n")[0].strip()
    return found
