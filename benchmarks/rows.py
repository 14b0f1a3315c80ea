"""The rows of the table, and the measurements they are read from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic

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
    NEW_EXECUTOR,
    THREAD,
    THREADCACHE,
    TRIO,
    Adapter,
    Contender,
)
from workloads import Params, Round
from workloads.awaited import await_many, await_one
from workloads.blocking import blocking
from workloads.burst import cold_burst, warm_burst
from workloads.chain import chain
from workloads.executors import many, one_at_a_time, short_lived
from workloads.files import files
from workloads.idle import idle
from workloads.memory import memory
from workloads.neighbour import neighbour
from workloads.paced import paced
from workloads.round_trip import round_trip


@dataclass(frozen=True)
class Measurement(Generic[Adapter]):
    """One workload, done by several contenders in turn."""

    name: str
    workload: Callable[[Adapter, Params], Round]
    contenders: tuple[Contender[Adapter], ...]
    twice: Contender[Adapter]  # who is compared with itself
    params: Mapping[str, float]
    quick: Mapping[str, float] = field(default_factory=dict)  # parameters that --quick changes
    rounds: int = 20
    quick_rounds: int = 4
    # Rounds until a contender gets a new process. How a process and its threads happen to lie in memory and on the
    # cores lasts as long as it does: more rounds of the same one would be surer of the same chance.
    per_child: int = 4
    linux_only: bool = False


@dataclass(frozen=True)
class Row:
    """One line of the table: one number of a measurement, against the cheapest of some peers."""

    name: str
    title: str  # with the measurement's parameters in braces
    unit: str
    measurement: Measurement[Any]
    number: str
    against: tuple[Contender[Any], ...]  # nobody if the goal is a value
    detail: tuple[str, str] | None = None  # a further number, and how it is shown behind the first


EVERYONE = (THREADCACHE, TRIO, EXECUTOR, THREAD)
WITH_DEFAULT = (THREADCACHE, TRIO, EXECUTOR, EXECUTOR_DEFAULT, THREAD)
WITH_IDLE_WORKERS = (THREADCACHE, TRIO, EXECUTOR)
PEERS = tuple(contender for contender in WITH_DEFAULT if contender.mailbox is None)

# A contender that submits at less than this share of the wanted rate does less work, and is no peer in that row. Not
# nearer to 1, for a machine that is busy for a moment makes everyone late by a few milliseconds.
PACE_KEPT = 0.95

ROUND_TRIP = Measurement(
    "round trip", round_trip, EVERYONE, TRIO, {"calls": 400}, {"calls": 200}, rounds=40, quick_rounds=8
)
CHAIN = Measurement("chain", chain, EVERYONE, TRIO, {"jobs": 10_000}, {"jobs": 2_000}, rounds=8)
BURST = Measurement("burst", warm_burst, WITH_DEFAULT, TRIO, {"jobs": 1_000}, rounds=24)
COLD_BURST = Measurement(
    "cold burst", cold_burst, WITH_DEFAULT, TRIO, {"jobs": 1_000}, rounds=12, quick_rounds=3, per_child=1
)
BLOCKING = Measurement("blocking", blocking, EVERYONE, THREAD, {"jobs": 1_000}, rounds=12, quick_rounds=3, per_child=1)
MEMORY = Measurement(
    "memory",
    memory,
    WITH_IDLE_WORKERS,
    TRIO,
    {"workers": 200},
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
    {"workers": 50, "seconds": 1.0},
    {"seconds": 0.5},
    rounds=3,
    quick_rounds=1,
    linux_only=True,
)
EXECUTORS = (CACHED_EXECUTOR, NEW_EXECUTOR)
ONE_AT_A_TIME = Measurement(
    "submit and result",
    one_at_a_time,
    EXECUTORS,
    NEW_EXECUTOR,
    {"calls": 400},
    {"calls": 200},
    rounds=40,
    quick_rounds=8,
)
MANY = Measurement("many futures", many, EXECUTORS, NEW_EXECUTOR, {"calls": 10_000}, {"calls": 2_000}, rounds=16)
SHORT_LIVED = Measurement(
    "short-lived executors",
    short_lived,
    EXECUTORS,
    NEW_EXECUTOR,
    {"executors": 50, "workers": 8},
    {"executors": 20},
    rounds=20,
)
ASYNC_PEERS = (ASYNCIO_TO_THREAD, RUN_IN_EXECUTOR, ANYIO, TWISTED, GEVENT)
MANY_ASYNC_PEERS = (*ASYNC_PEERS, ANYIO_WITHOUT_LIMIT)  # for more calls in flight than AnyIO's limiter lets through
ASYNC = (TO_THREAD, RUN_SYNC, *ASYNC_PEERS, TRIO_TO_THREAD)
MANY_ASYNC = (TO_THREAD, RUN_SYNC, *MANY_ASYNC_PEERS, TRIO_TO_THREAD)
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
    rounds=20,
    quick_rounds=2,
)
ON_TRIO = Measurement(
    "on Trio",
    await_one,
    (TRIO_ON_THE_CACHE, TRIO_TO_THREAD),
    TRIO_TO_THREAD,
    {"calls": 400},
    {"calls": 200},
    rounds=40,
    quick_rounds=8,
)
FILES = Measurement(
    "files",
    files,
    (*MANY_ASYNC, TRIO_ON_THE_CACHE),
    ASYNCIO_TO_THREAD,
    {"files": 2_000, "KiB": 4, "clients": 64},
    {"files": 500},
    rounds=16,
    quick_rounds=2,
)
NEIGHBOUR = Measurement(
    "neighbour",
    neighbour,
    WITH_DEFAULT,
    TRIO,
    {"rate": 1_000, "slice seconds": 0.2, "slices": 3},
    {"slices": 1},
    rounds=6,
    quick_rounds=2,
)


def _paced(name: str, rate: float) -> Measurement[Any]:
    params, quick = {"rate": rate, "seconds": 0.4}, {"seconds": 0.15}
    return Measurement(name, paced, WITH_DEFAULT, TRIO, params, quick, rounds=8, quick_rounds=3)


PACED_1K, PACED_10K, PACED_20K = _paced("paced 1k", 1_000), _paced("paced 10k", 10_000), _paced("paced 20k", 20_000)

THREADS = ("threads", "{:.0f} thread(s)")
LOCK = "start, deliver releases a lock the caller waits on"
IN_FLIGHT = "the same, {clients} calls in flight, per call"
FILE = "{files:,} files of {KiB} KiB read and hashed, {clients} at a time, per file"
CPU = "CPU time per job at {rate:,} jobs a second"

ROWS: tuple[Row, ...] = (
    Row("round-trip", LOCK, "µs", ROUND_TRIP, "round trip us", (TRIO,)),
    Row("submit", "the same, time in start_thread_soon alone", "µs", ROUND_TRIP, "submit us", (TRIO,)),
    Row("chain", "{jobs:,} jobs, each submitted by the deliver before, per job", "µs", CHAIN, "job us", (TRIO,)),
    Row("burst", "{jobs:,} empty jobs submitted at once, per job", "µs", BURST, "job us", (TRIO,), THREADS),
    Row("burst-cold", "the same, first burst of a process", "µs", COLD_BURST, "job us", (TRIO,), THREADS),
    Row("blocking", "{jobs:,} jobs blocking at once, until all run, per job", "µs", BLOCKING, "job us", (THREAD,)),
    Row("submit-result", "submit(f).result(), one at a time", "µs", ONE_AT_A_TIME, "call us", (NEW_EXECUTOR,)),
    Row("submit-many", "{calls:,} submits, then all results, per call", "µs", MANY, "call us", (NEW_EXECUTOR,)),
    Row("short-lived", "an executor of {workers} for as many calls", "µs", SHORT_LIVED, "executor us", (NEW_EXECUTOR,)),
    Row("await-1", "await to_thread(f), one at a time", "µs", AWAIT_ONE, "call us", ASYNC_PEERS),
    Row("await-16", IN_FLIGHT, "µs", AWAIT_16, "call us", ASYNC_PEERS),
    Row("await-256", IN_FLIGHT, "µs", AWAIT_256, "call us", MANY_ASYNC_PEERS),
    Row("trio", "trio.to_thread.run_sync(f), one at a time", "µs", ON_TRIO, "call us", (TRIO_TO_THREAD,)),
    Row("files", FILE, "µs", FILES, "file us", MANY_ASYNC_PEERS),
    Row("memory", "memory of an idle worker", "KiB", MEMORY, "Pss KiB", (TRIO,)),
    Row("cpu-1k", CPU, "µs", PACED_1K, "job us", PEERS),
    Row("cpu-10k", CPU, "µs", PACED_10K, "job us", PEERS),
    Row("cpu-20k", CPU, "µs", PACED_20K, "job us", PEERS),
    Row("idle-cpu", "CPU time of {workers} idle workers, per second", "µs", IDLE, "us a second", ()),
    Row("neighbour", "computing lost beside {rate:,} jobs a second, per job", "µs", NEIGHBOUR, "job us", PEERS),
)
