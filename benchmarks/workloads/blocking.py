"""Jobs that all block at once, from a cache that has one idle worker: how soon do all of them run?

Wants a process of its own for each round.
"""

from __future__ import annotations

from contenders import Start
from workloads import Numbers, Params, Round
from workloads.jobs import all_at_once


def blocking(start: Start, params: Params) -> Round:
    jobs = int(params["jobs"])

    def one_round() -> Numbers:
        all_at_once(start, 1)
        return {"job us": all_at_once(start, jobs) / jobs / 1e3}

    return one_round
