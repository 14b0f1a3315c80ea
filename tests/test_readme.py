"""The README's examples run, and the tests that its table names exist."""

from __future__ import annotations

import re
from pathlib import Path

from conftest import child

TESTS = Path(__file__).resolve().parent
README = (TESTS.parent / "README.md").read_text(encoding="utf-8")


def test_the_examples_run() -> None:
    jobs, calls = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    output, _, stats = child(jobs).stdout.rstrip().rpartition("\n")
    assert len(re.findall(r"Value\(\[|Error\(gaierror\(", output)) == 3
    assert re.match(r"Stats\(workers=0, idle=0, busy=0, peak=\d, started=\d, retired=\d, jobs=3, ", stats)
    assert child(calls).stdout == "3\n['c', 'b', 'a']\n"


def test_every_guarantee_names_tests_that_exist() -> None:
    rows = [line for line in README.splitlines() if re.match(r"\| G\d+ ", line)]
    assert [row.split()[1] for row in rows] == [f"G{number}" for number in range(1, 17)]
    sources = "".join(path.read_text(encoding="utf-8") for path in TESTS.glob("test_*.py"))
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named, row
        for name in named:
            assert f"def {name}(" in sources, name
