"""What an idle worker keeps of the machine's memory. Wants a process of its own for each round. Linux only."""

from __future__ import annotations

import gc
import time
from pathlib import Path

from contenders import Start
from workloads import Numbers, Params, Round
from workloads.jobs import all_at_once

SETTLE = 0.05  # seconds for workers to come from deliver to where they wait


def _sizes() -> dict[str, int]:
    """The sizes of this process's memory, in KiB: resident ("Rss"), the same with shared pages shared ("Pss"), ..."""
    gc.collect()
    time.sleep(SETTLE)
    lines = (line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    return {fields[0].rstrip(":"): int(fields[1]) for fields in lines}


def memory(start: Start, params: Params) -> Round:
    workers = int(params["workers"])

    def one_round() -> Numbers:
        all_at_once(start, 1)  # imports and first uses are nothing that a worker keeps
        before = _sizes()
        all_at_once(start, workers + 1)
        after = _sizes()
        return {f"{key} KiB": (after[key] - before[key]) / workers for key in ("Rss", "Pss")}

    return one_round
