"""``python -m threadcache info``."""

from __future__ import annotations

import subprocess
import sys

import threadcache


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "threadcache", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_info_tells_what_is_in_use() -> None:
    done = run("info")
    assert (done.returncode, done.stderr) == (0, "")
    rows = dict(line.split("  ", 1) for line in done.stdout.splitlines())
    rows = {what: value.strip() for what, value in rows.items()}
    gil = "without the GIL" if getattr(sys, "abiflags", "").endswith("t") else "with the GIL"
    version = sys.version.split()[0]
    assert rows["threadcache"] == threadcache.__version__
    assert rows["Python"] == f"{version}, {sys.implementation.name}, {gil}, {sys.platform}"
    assert rows["mailbox"] == "pure"
    assert rows["debug mode"] == "off"
    assert rows["name"] == "threadcache worker"
    assert rows["warn_at"] == "1000 threads"
    assert rows["idle_timeout"] == "10.0 s"
    assert rows["max_idle"] == "no limit"
    assert rows["cache"].startswith("workers 0, idle 0, busy 0, peak 0, started 0")


def test_a_command_is_needed() -> None:
    done = run()
    assert done.returncode == 2
    assert "usage: python -m threadcache" in done.stderr
