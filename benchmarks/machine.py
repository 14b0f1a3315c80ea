"""What a number depends on: the machine, the interpreter, the versions, and what else the machine was doing."""

from __future__ import annotations

import argparse
import datetime
import gc
import importlib.metadata
import importlib.util
import os
import platform
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import limits

MEASURED = (":/src", ":/benchmarks", ":/setup.py", ":/pyproject.toml")  # what a change of would make numbers others
SETTINGS = ("THREADCACHE_", "PYTHON_GIL", "PYTHONMALLOC", "MALLOC_", "LD_PRELOAD")  # variables that would


def _first(path: str, key: str) -> str:
    """The value of the first ``key: value`` line of a file in /proc, or an empty string."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str:
    command = ("git", "-C", str(Path(__file__).parent), *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def gil_enabled() -> bool:
    check = getattr(sys, "_is_gil_enabled", None)  # 3.13 and later
    return True if check is None else bool(check())


def affinity() -> list[int] | None:
    """The cores this process may use, or None where the platform does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _command(arguments: argparse.Namespace) -> str:
    """What asks for the same numbers, wherever the result goes."""
    words = ["python", "benchmarks/run.py"]
    if arguments.quick:
        words.append("--quick")
    if arguments.rows is not None:
        words += ["--rows", ",".join(arguments.rows)]
    if arguments.rounds is not None:
        words += ["--rounds", str(arguments.rounds)]
    if arguments.pin is not None:
        words += ["--pin", str(arguments.pin)]
    return shlex.join(words)


def _versions(modules: Iterable[str]) -> dict[str, str]:
    """Of the distributions that modules are named like, if they are there, and of what the limits are made with."""
    found = {}
    for name in sorted({*modules}):
        if "." not in name and importlib.util.find_spec(name) is not None:
            found[name] = _version(name) or "(not installed as a package)"
    return found | limits.versions()


def describe(modules: Iterable[str], arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything worth writing down beside the numbers."""
    cpu = _first("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()
    revision = _git("rev-parse", "--short", "HEAD")
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": _command(arguments),
        "quick": arguments.quick,
        "revision": revision + ("+changes" if revision and _git("status", "--porcelain", "--", *MEASURED) else ""),
        "cpu": cpu,
        "virtual machine": "hypervisor" in _first("/proc/cpuinfo", "flags").split(),
        "cores": os.cpu_count(),
        "cores allowed": affinity(),
        "pinned to core": arguments.pin,
        "memory": _first("/proc/meminfo", "MemTotal"),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "gil": gil_enabled(),
        "switch interval (s)": sys.getswitchinterval(),
        "collector": f"{'on' if gc.isenabled() else 'off'}; off while a round is timed",
        "clock": f"perf_counter_ns, resolution {time.get_clock_info('perf_counter').resolution:.0e} s",
        "versions": _versions(modules),
        "environment": {name: os.environ[name] for name in sorted(os.environ) if name.startswith(SETTINGS)},
    }


class OtherLoad:
    """How much of the machine others took: processes that are not ours, and the host (steal).

    The load average does not show it: it is a mean over minutes, and counts us too. Linux only.
    """

    def __init__(self) -> None:
        self._began = self._now()

    @staticmethod
    def _now() -> tuple[float, float, float] | None:
        try:
            fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        except OSError:
            return None
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
        busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
        ours = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return time.monotonic(), busy, sum(usage.ru_utime + usage.ru_stime for usage in ours)

    def cores(self) -> float | None:
        """Cores' worth of others' work since this was made, or None where nothing says; call it when the
        children have been waited for, since their share is not known before."""
        now = self._now()
        if now is None or self._began is None:
            return None
        seconds, busy, ours = (after - before for after, before in zip(now, self._began, strict=True))
        return max(0.0, (busy - ours) / seconds)
