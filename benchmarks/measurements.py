"""The measurements: which workload, by whom, how much of it, and how often.

Peers that cannot do a measurement's work are not in it: the README says which, and why.
"""

from __future__ import annotations

from typing import Any

from async_contenders import (
    ANYIO,
    ANYIO_WITHOUT_LIMIT,
    ASYNCIO_TO_THREAD,
    GEVENT,
    RUN_IN_EXECUTOR,
    RUN_SYNC,
    TO_THREAD,
    TRIO_ON_THE_CACHE,
    TRIO_TO_THREAD,
    TWISTED,
)
from contenders import (
    CACHED_EXECUTOR,
    EXECUTOR,
    EXECUTOR_DEFAULT,
    GEVENT_EXECUTOR,
    GEVENT_POOL,
    NEW_EXECUTOR,
    THREAD,
    THREADCACHE,
    TRIO,
    TWISTED_POOL,
)
from limits import C_PARKS, C_SPINS, JAVA
from measurement import Measurement
from workloads.awaited import await_many, await_one
from workloads.blocking import blocking
from workloads.burst import cold_burst, warm_burst
from workloads.chain import chain
from workloads.executors import many, one_at_a_time, short_lived
from workloads.files import files
from workloads.idle import idle
from workloads.memory import memory
from workloads.neighbour import neighbour, neighbours_without_gil
from workloads.paced import paced
from workloads.round_trip import round_trip

WITH_IDLE_WORKERS = (*THREADCACHE, TRIO, TWISTED_POOL, EXECUTOR)
EVERYONE = (*WITH_IDLE_WORKERS, THREAD)
WITH_DEFAULT = (*WITH_IDLE_WORKERS, EXECUTOR_DEFAULT, THREAD)
# Where what counts is the rate. A pool that could be larger is no other one then, and only costs time.
AT_A_RATE = (*THREADCACHE, TRIO, TWISTED_POOL, EXECUTOR_DEFAULT, THREAD)

ROUND_TRIP = Measurement(
    "round trip",
    round_trip,
    (*EVERYONE, GEVENT_POOL, C_PARKS, C_SPINS, JAVA),
    TRIO,
    {"calls": 400},
    {"calls": 200},
    rounds=40,
)
CHAIN = Measurement("chain", chain, (*EVERYONE, GEVENT_POOL, JAVA), TRIO, {"jobs": 10_000}, {"jobs": 2_000}, rounds=8)
BURST = Measurement("burst", warm_burst, (*WITH_DEFAULT, GEVENT_POOL, JAVA), TRIO, {"jobs": 1_000})
COLD_BURST = Measurement(
    "cold burst",
    cold_burst,
    (*WITH_DEFAULT, GEVENT_POOL),
    TRIO,
    {"jobs": 1_000},
    rounds=10,
    quick_rounds=2,
    per_child=1,
)
BLOCKING = Measurement(
    "blocking", blocking, (*EVERYONE, JAVA), THREAD, {"jobs": 1_000}, rounds=10, quick_rounds=2, per_child=1
)
MEMORY = Measurement(
    "memory",
    memory,
    WITH_IDLE_WORKERS,
    TRIO,
    {"workers": 1_000},
    rounds=4,
    quick_rounds=2,
    per_child=1,
    linux_only=True,
)
IDLE = Measurement(
    "idle",
    idle,
    WITH_IDLE_WORKERS,
    TRIO,
    {"workers": 50, "seconds": 0.7},
    {"seconds": 0.5},
    rounds=3,
    quick_rounds=1,
    linux_only=True,
)

ONE_AT_A_TIME = Measurement(
    "submit and result",
    one_at_a_time,
    (*CACHED_EXECUTOR, NEW_EXECUTOR, GEVENT_EXECUTOR, C_PARKS, C_SPINS, JAVA),
    NEW_EXECUTOR,
    {"calls": 400},
    {"calls": 200},
    rounds=40,
)
MANY = Measurement(
    "many futures",
    many,
    (*CACHED_EXECUTOR, NEW_EXECUTOR, GEVENT_EXECUTOR, JAVA),
    NEW_EXECUTOR,
    {"calls": 10_000},
    {"calls": 2_000},
    rounds=12,
    quick_rounds=2,
)
SHORT_LIVED = Measurement(
    "short-lived executors",
    short_lived,
    (*CACHED_EXECUTOR, NEW_EXECUTOR, GEVENT_EXECUTOR),
    NEW_EXECUTOR,
    {"executors": 50, "workers": 8},
    {"executors": 20},
    rounds=20,
)

ASYNC_PEERS = (ASYNCIO_TO_THREAD, RUN_IN_EXECUTOR, ANYIO, TWISTED, GEVENT)
MANY_ASYNC_PEERS = (*ASYNC_PEERS, ANYIO_WITHOUT_LIMIT)  # for more calls in flight than AnyIO's limiter lets through
ASYNC = (*TO_THREAD, *RUN_SYNC, *ASYNC_PEERS, TRIO_TO_THREAD)
MANY_ASYNC = (*TO_THREAD, *RUN_SYNC, *MANY_ASYNC_PEERS, TRIO_TO_THREAD)
AWAIT_ONE = Measurement(
    "await one", await_one, ASYNC, ASYNCIO_TO_THREAD, {"calls": 400}, {"calls": 200}, rounds=40, quick_rounds=4
)
AWAIT_16 = Measurement(
    "await 16",
    await_many,
    ASYNC,
    ASYNCIO_TO_THREAD,
    {"clients": 16, "calls each": 100},
    {"calls each": 20},
    rounds=20,
    quick_rounds=2,
)
AWAIT_256 = Measurement(
    "await 256",
    await_many,
    MANY_ASYNC,
    ASYNCIO_TO_THREAD,
    {"clients": 256, "calls each": 10},
    {"calls each": 2},
    rounds=12,
    quick_rounds=2,
)
ON_TRIO = Measurement(
    "on Trio",
    await_one,
    (*TRIO_ON_THE_CACHE, TRIO_TO_THREAD),
    TRIO_TO_THREAD,
    {"calls": 400},
    {"calls": 200},
    rounds=40,
)
FILES = Measurement(
    "files",
    files,
    (*MANY_ASYNC, *TRIO_ON_THE_CACHE),
    ASYNCIO_TO_THREAD,
    {"files": 2_000, "KiB": 4, "clients": 64},
    {"files": 500},
    rounds=6,
    quick_rounds=2,
)

SLICES = {"rate": 1_000, "slice seconds": 0.17, "slices": 3}
NEIGHBOUR = Measurement(
    "neighbour", neighbour, AT_A_RATE, TRIO, SLICES, {"slices": 1}, rounds=6, quick_rounds=2, per_child=2
)
NEIGHBOURS_WITHOUT_GIL = Measurement(
    "neighbours without the GIL",
    neighbours_without_gil,
    AT_A_RATE,
    TRIO,
    SLICES,
    {"slices": 1},
    rounds=6,
    quick_rounds=2,
    per_child=2,
)


def _paced(name: str, rate: float) -> Measurement[Any]:
    params, quick = {"rate": rate, "seconds": 0.4}, {"seconds": 0.15}
    return Measurement(name, paced, AT_A_RATE, TRIO, params, quick, rounds=8, quick_rounds=2)


PACED_1K, PACED_10K, PACED_20K = _paced("paced 1k", 1_000), _paced("paced 10k", 10_000), _paced("paced 20k", 20_000)

MEASUREMENTS: tuple[Measurement[Any], ...] = (
    ROUND_TRIP,
    CHAIN,
    BURST,
    COLD_BURST,
    BLOCKING,
    ONE_AT_A_TIME,
    MANY,
    SHORT_LIVED,
    AWAIT_ONE,
    AWAIT_16,
    AWAIT_256,
    ON_TRIO,
    FILES,
    MEMORY,
    PACED_1K,
    PACED_10K,
    PACED_20K,
    IDLE,
    NEIGHBOUR,
    NEIGHBOURS_WITHOUT_GIL,
)
