"""What idle workers do: CPU time and wake-ups of every thread but the main one. Linux only."""

from __future__ import annotations

import os
import time
from pathlib import Path

from contenders import Start
from workloads import Numbers, Params, Round
from workloads.jobs import all_at_once

SETTLE = 0.3  # seconds for workers to come to rest, those included that spin for a while


def _threads() -> dict[str, tuple[int, int]]:
    """For each thread but the main one: nanoseconds on a processor, and how often it was put on one."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        if task.name != str(os.getpid()):
            run, _waited, slices = map(int, (task / "schedstat").read_text().split())
            found[task.name] = (run, slices)
    return found


def idle(start: Start, params: Params) -> Round:
    workers, seconds = int(params["workers"]), params["seconds"]

    def one_round() -> Numbers:
        all_at_once(start, workers)
        time.sleep(SETTLE)
        before = _threads()
        time.sleep(seconds)
        after = _threads()
        # The window is too short for a worker to retire, so one that is missing afterwards is an error.
        return {
            "us a second": sum(after[task][0] - before[task][0] for task in before) / 1e3 / seconds,
            "wake-ups a second": sum(after[task][1] - before[task][1] for task in before) / seconds,
        }

    return one_round
