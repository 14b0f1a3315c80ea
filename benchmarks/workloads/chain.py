"""Jobs submitted one after another, each by the ``deliver`` of the one before."""

from __future__ import annotations

import threading
from time import perf_counter_ns

from contenders import Start
from workloads import Numbers, Params, Round
from workloads.jobs import nothing

WARM_UP = 100  # jobs


def chain(start: Start, params: Params) -> Round:
    jobs = int(params["jobs"])

    def run(length: int) -> int:
        left = length
        finished = threading.Event()

        def deliver(result: object) -> None:
            nonlocal left
            left -= 1
            if left:
                start(nothing, deliver)
            else:
                finished.set()

        began = perf_counter_ns()
        start(nothing, deliver)
        finished.wait()
        return perf_counter_ns() - began

    def one_round() -> Numbers:
        run(WARM_UP)
        return {"job us": run(jobs) / jobs / 1e3}

    return one_round
