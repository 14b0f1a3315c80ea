"""The rows of the table, and the latencies: what is read from the measurements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import measurements as m
from async_contenders import TRIO_TO_THREAD
from contenders import NEW_EXECUTOR, THREAD, TRIO, Contender
from measurement import Measurement


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


# A contender that submits at less than this share of the wanted rate does less work, and is no peer in that row. Not
# nearer to 1, for a machine that is busy for a moment makes everyone late by a few milliseconds.
PACE_KEPT = 0.95


def peers(measurement: Measurement[Any]) -> tuple[Contender[Any], ...]:
    """Everyone in it who is neither ours nor a limit."""
    return tuple(one for one in measurement.contenders if one.mailbox is None and not one.limit)


THREADS = ("threads", "{:.0f} thread(s)")
LOST = ("loss %", "{:.1f} %")
LOCK = "start, deliver releases a lock the caller waits on"
IN_FLIGHT = "the same, {clients} calls in flight, per call"
FILE = "{files:,} files of {KiB} KiB read and hashed, {clients} at a time, per file"
CPU = "CPU time per job at {rate:,} jobs a second"
CPU_FLAT = "CPU time per job, the next one started when the last is delivered"
CPU_BURST = "CPU time per job, {jobs:,} submitted at once"
HASHING = "the same, a thread for each core that hashes without the GIL"

ROWS: tuple[Row, ...] = (
    Row("round-trip", LOCK, "µs", m.ROUND_TRIP, "round trip us", (TRIO,)),
    Row("submit", "the same, time in start_thread_soon alone", "µs", m.ROUND_TRIP, "submit us", (TRIO,)),
    Row("chain", "{jobs:,} jobs, each submitted by the deliver before, per job", "µs", m.CHAIN, "job us", (TRIO,)),
    Row("burst", "{jobs:,} empty jobs submitted at once, per job", "µs", m.BURST, "job us", (TRIO,), THREADS),
    Row("burst-cold", "the same, first burst of a process", "µs", m.COLD_BURST, "job us", (TRIO,), THREADS),
    Row("blocking", "{jobs:,} jobs blocking at once, until all run, per job", "µs", m.BLOCKING, "job us", (THREAD,)),
    Row("submit-result", "submit(f).result(), one at a time", "µs", m.ONE_AT_A_TIME, "call us", (NEW_EXECUTOR,)),
    Row("submit-many", "{calls:,} submits, then all results, per call", "µs", m.MANY, "call us", (NEW_EXECUTOR,)),
    Row(
        "short-lived", "an executor of {workers} for as many calls", "µs", m.SHORT_LIVED, "executor us", (NEW_EXECUTOR,)
    ),
    Row("await-1", "await to_thread(f), one at a time", "µs", m.AWAIT_ONE, "call us", m.ASYNC_PEERS),
    Row("await-16", IN_FLIGHT, "µs", m.AWAIT_16, "call us", m.ASYNC_PEERS),
    Row("await-256", IN_FLIGHT, "µs", m.AWAIT_256, "call us", m.MANY_ASYNC_PEERS),
    Row("trio", "trio.to_thread.run_sync(f), one at a time", "µs", m.ON_TRIO, "call us", (TRIO_TO_THREAD,)),
    Row("files", FILE, "µs", m.FILES, "file us", m.MANY_ASYNC_PEERS),
    Row("memory", "memory of an idle worker, of {workers:,}", "KiB", m.MEMORY, "Pss KiB", (TRIO,)),
    Row("cpu-1k", CPU, "µs", m.PACED_1K, "job us", peers(m.PACED_1K)),
    Row("cpu-10k", CPU, "µs", m.PACED_10K, "job us", peers(m.PACED_10K)),
    Row("cpu-20k", CPU, "µs", m.PACED_20K, "job us", peers(m.PACED_20K)),
    Row("cpu-flat-out", CPU_FLAT, "µs", m.ROUND_TRIP, "cpu us", peers(m.ROUND_TRIP)),
    Row("cpu-burst", CPU_BURST, "µs", m.BURST, "cpu us", peers(m.BURST)),
    Row("idle-cpu", "CPU time of {workers} idle workers, per second", "µs", m.IDLE, "us a second", ()),
    Row(
        "neighbour",
        "what a thread that computes in Python loses to {rate:,} jobs a second, per job",
        "µs",
        m.NEIGHBOUR,
        "job us",
        peers(m.NEIGHBOUR),
        LOST,
    ),
    Row("neighbour-no-gil", HASHING, "µs", m.NEIGHBOURS_WITHOUT_GIL, "job us", peers(m.NEIGHBOURS_WITHOUT_GIL), LOST),
)

# Where each call is timed: what is called, and who calls it.
LATENCIES: dict[str, str] = {
    m.ROUND_TRIP.name: "a round trip: start a job, wait for its deliver",
    m.ONE_AT_A_TIME.name: "submit(f).result()",
    m.AWAIT_ONE.name: "await to_thread(f)",
    m.ON_TRIO.name: "await trio.to_thread.run_sync(f)",
}
