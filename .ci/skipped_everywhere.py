"""Fail if a test was skipped, or expected to fail, in each of the runs whose JUnit reports are the arguments."""

import sys
from pathlib import Path
from xml.etree import ElementTree

executed: set[str] = set()
skipped: dict[str, str] = {}

for report in map(Path, sys.argv[1:]):
    cases = list(ElementTree.parse(report).iter("testcase"))
    if not cases:
        sys.exit(f"{report.name} holds no tests")
    for case in cases:
        name = ".".join(filter(None, (case.get("classname"), case.get("name"))))
        skip = case.find("skipped")
        if skip is None:
            executed.add(name)
        else:
            skipped[name] = skip.get("message", "")

# A module that is skipped as a whole counts as one test, with the module's name.
off = [name for name in skipped if not any(f"{test}.".startswith(f"{name}.") for test in executed)]
for name in sorted(off):
    print(f"skipped in every run: {name}: {skipped[name]}")
sys.exit(bool(off) or not executed)
