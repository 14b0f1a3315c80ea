"""Blocking calls awaited from an event loop: one at a time, and by several clients at once."""

from __future__ import annotations

from functools import partial
from statistics import fmean, median
from time import perf_counter_ns

from async_contenders import Front
from workloads import SAMPLES, Answer, Params, Round
from workloads.jobs import nothing

WARM_UP = 20  # calls; see round_trip
WARM_UP_EACH = 3  # calls of each client: threads are there, and have been idle once


def await_one(front: Front, params: Params) -> Round:
    calls = int(params["calls"])
    call = front.call

    async def client(times: list[int]) -> None:
        for _ in range(WARM_UP + calls):
            began = perf_counter_ns()
            await call(nothing)
            times.append(perf_counter_ns() - began)

    def one_round() -> Answer:
        times: list[int] = []
        front.run(partial(client, times))
        del times[:WARM_UP]
        return {"call us": median(times) / 1e3, "call mean us": fmean(times) / 1e3, SAMPLES: times}

    return one_round


def await_many(front: Front, params: Params) -> Round:
    """As many clients as calls in flight, each of which awaits one call after another."""
    clients, calls = int(params["clients"]), int(params["calls each"])
    call = front.call

    async def client(calls: int) -> None:
        for _ in range(calls):
            await call(nothing)

    async def main(times: list[int]) -> None:
        await front.together([partial(client, WARM_UP_EACH)] * clients)
        began = perf_counter_ns()
        await front.together([partial(client, calls)] * clients)
        times.append(perf_counter_ns() - began)

    def one_round() -> Answer:
        times: list[int] = []
        front.run(partial(main, times))
        return {"call us": times[0] / (clients * calls) / 1e3}

    return one_round
