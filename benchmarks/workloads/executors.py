"""What executors are asked for: one call at a time, many calls, a pool for a handful of calls."""

from __future__ import annotations

from statistics import fmean, median
from time import perf_counter_ns

from contenders import NewExecutor
from workloads import SAMPLES, Answer, Params, Round
from workloads.jobs import nothing

WARM_UP = 20  # calls; see round_trip


def one_at_a_time(new: NewExecutor, params: Params) -> Round:
    calls = int(params["calls"])
    submit = new(None).submit

    def one_round() -> Answer:
        times: list[int] = []
        for _ in range(WARM_UP + calls):
            began = perf_counter_ns()
            submit(nothing).result()
            times.append(perf_counter_ns() - began)
        del times[:WARM_UP]
        return {"call us": median(times) / 1e3, "call mean us": fmean(times) / 1e3, SAMPLES: times}

    return one_round


def many(new: NewExecutor, params: Params) -> Round:
    calls = int(params["calls"])
    submit = new(None).submit

    def one_round() -> Answer:
        submit(nothing).result()
        began = perf_counter_ns()
        futures = [submit(nothing) for _ in range(calls)]
        submitted = perf_counter_ns()
        for future in futures:
            future.result()
        ended = perf_counter_ns()
        return {"call us": (ended - began) / calls / 1e3, "submit us": (submitted - began) / calls / 1e3}

    return one_round


def same(number: int) -> int:
    return number


def short_lived(new: NewExecutor, params: Params) -> Round:
    executors, workers = int(params["executors"]), int(params["workers"])

    def one_round() -> Answer:
        times: list[int] = []
        for _ in range(executors):
            began = perf_counter_ns()
            with new(workers) as executor:
                list(executor.map(same, range(workers)))
            times.append(perf_counter_ns() - began)
        return {"executor us": median(times) / 1e3, "executor mean us": fmean(times) / 1e3}

    return one_round
