"""Many empty jobs submitted at once, by one thread, until all are delivered."""

from __future__ import annotations

from time import perf_counter_ns, process_time_ns

from contenders import Start
from workloads import Numbers, Params, Round
from workloads.jobs import Countdown, nothing


def _burst(start: Start, jobs: int, note_threads: bool) -> Numbers:
    countdown = Countdown(jobs)
    deliver = countdown.deliver_and_note if note_threads else countdown.deliver
    cpu = process_time_ns()
    began = perf_counter_ns()
    for _ in range(jobs):
        start(nothing, deliver)
    submitted = perf_counter_ns()
    countdown.wait()
    ended = perf_counter_ns()
    cpu = process_time_ns() - cpu
    numbers = {
        "job us": (ended - began) / jobs / 1e3,
        "submit us": (submitted - began) / jobs / 1e3,
        "cpu us": cpu / jobs / 1e3,
    }
    return numbers | {"threads": countdown.threads()} if note_threads else numbers


def warm_burst(start: Start, params: Params) -> Round:
    """A burst right after one of the same size, which is the one whose threads are counted."""
    jobs = int(params["jobs"])

    def one_round() -> Numbers:
        before = _burst(start, jobs, note_threads=True)
        return before | _burst(start, jobs, note_threads=False)

    return one_round


def cold_burst(start: Start, params: Params) -> Round:
    """The first burst of a cache that has one idle worker; wants a process of its own for each round."""
    jobs = int(params["jobs"])

    def one_round() -> Numbers:
        _burst(start, 1, note_threads=False)
        return _burst(start, jobs, note_threads=True)

    return one_round
