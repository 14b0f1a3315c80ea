"""``python -m threadcache info``."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from conftest import MAILBOXES

import threadcache
from threadcache._backend import MAILBOX


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "threadcache", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environment}
    )


def test_info_tells_what_is_in_use() -> None:
    done = run("info")
    assert (done.returncode, done.stderr) == (0, "")
    rows = dict(line.split("  ", 1) for line in done.stdout.splitlines())
    rows = {what: value.strip() for what, value in rows.items()}
    gil = "without the GIL" if getattr(sys, "abiflags", "").endswith("t") else "with the GIL"
    version = sys.version.split()[0]
    assert rows["threadcache"] == threadcache.__version__
    assert rows["Python"] == f"{version}, {sys.implementation.name}, {gil}, {sys.platform}"
    assert rows["mailbox"].split(":")[0] == MAILBOX
    assert rows["spin"] == ("20 µs" if MAILBOX == "native" else "never")
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


def test_the_environment_picks_the_mailbox() -> None:
    for mailbox in ("pure", "native"):
        done = run("info", THREADCACHE_MAILBOX=mailbox)
        if mailbox in MAILBOXES:
            assert done.returncode == 0
            assert mailbox in done.stdout.partition("mailbox")[2].partition("\n")[0]
        else:
            assert "THREADCACHE_MAILBOX asks for the native mailbox, which is not there" in done.stderr
    done = run("info", THREADCACHE_MAILBOX="pure")
    assert "pure: THREADCACHE_MAILBOX says so" in done.stdout


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("THREADCACHE_MAILBOX", "fast", "THREADCACHE_MAILBOX must be pure or native, not 'fast'"),
        ("THREADCACHE_SPIN", "-1", "THREADCACHE_SPIN must be 0 to 1,000,000 microseconds, not '-1'"),
        ("THREADCACHE_SPIN", "nan", "THREADCACHE_SPIN must be 0 to 1,000,000 microseconds, not 'nan'"),
        ("THREADCACHE_SPIN", "much", "THREADCACHE_SPIN must be 0 to 1,000,000 microseconds, not 'much'"),
    ],
)
def test_a_setting_that_is_none(name: str, value: str, message: str) -> None:
    done = run("info", **{name: value})
    assert done.returncode == 1
    assert message in done.stderr


@pytest.mark.parametrize("spin", [-1, float("nan"), 1_000_001])
def test_impossible_spins(spin: float) -> None:
    with pytest.raises(ValueError, match="spin must be"):
        threadcache.ThreadCache(spin=spin)
