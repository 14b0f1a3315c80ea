"""One job at a time, whose ``deliver`` releases a lock that the caller waits on.

The next job is submitted as soon as the last one is delivered: what that costs of all cores is noted too.
"""

from __future__ import annotations

import threading
from statistics import fmean, median
from time import perf_counter_ns, process_time_ns

from contenders import Start
from workloads import SAMPLES, Answer, Params, Round
from workloads.jobs import nothing

WARM_UP = 20  # calls; the processor's caches have forgotten the worker while the other contenders had their rounds


def round_trip(start: Start, params: Params) -> Round:
    calls = int(params["calls"])
    done = threading.Lock()
    done.acquire()

    def deliver(result: object) -> None:
        done.release()

    def one_round() -> Answer:
        whole: list[int] = []
        submit: list[int] = []
        cpu = process_time_ns()
        for _ in range(WARM_UP + calls):
            began = perf_counter_ns()
            start(nothing, deliver)
            submitted = perf_counter_ns()
            done.acquire()
            ended = perf_counter_ns()
            whole.append(ended - began)
            submit.append(submitted - began)
        cpu = process_time_ns() - cpu
        del whole[:WARM_UP], submit[:WARM_UP]
        return {
            "round trip us": median(whole) / 1e3,
            "round trip mean us": fmean(whole) / 1e3,
            "submit us": median(submit) / 1e3,
            "submit mean us": fmean(submit) / 1e3,
            "cpu us": cpu / (WARM_UP + calls) / 1e3,
            SAMPLES: whole,
        }

    return one_round
