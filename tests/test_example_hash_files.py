"""The example that knows nothing of the cache, and what ``make demo`` shows of it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from conftest import DEADLINE

PROGRAM = Path(__file__).parents[1] / "examples" / "hash_files.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=DEADLINE, check=False)


def test_the_digest_is_the_same_on_the_cache_which_reports_each_read(tmp_path: Path) -> None:
    contents = [bytes([number]) * number for number in range(100)]
    for number, content in enumerate(contents):
        (tmp_path / f"{number:03}").write_bytes(content)
    expected = hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in contents)).hexdigest()

    plain = run(str(PROGRAM), str(tmp_path))
    assert (plain.returncode, plain.stdout, plain.stderr) == (0, f"{expected}  100 files\n", "")

    ours = run("-m", "threadcache", "run", "--report", str(PROGRAM), str(tmp_path))
    assert (ours.returncode, ours.stdout) == (0, plain.stdout)
    name, jobs, *_, peak, _seconds, _unit, _job, _idle, _s = next(
        line.split() for line in ours.stderr.splitlines() if line.startswith("asyncio")
    )
    assert (name, jobs) == ("asyncio", "101")
    assert 1 <= int(peak) <= 16


def test_wrong_arguments_end_as_they_do_in_plain_python() -> None:
    plain = run(str(PROGRAM))
    ours = run("-m", "threadcache", "run", str(PROGRAM))
    assert (ours.returncode, ours.stderr) == (plain.returncode, plain.stderr) == (1, "usage: hash_files.py FOLDER\n")
