"""CPU time a job, at so many jobs a second."""

from __future__ import annotations

from contenders import Start
from workloads import Numbers, Params, Round
from workloads.pacer import no_start, pace, sharpen_sleep

WARM_UP = 0.05  # seconds


def paced(start: Start, params: Params) -> Round:
    rate, seconds = params["rate"], params["seconds"]
    sharpen_sleep()

    def one_round() -> Numbers:
        pace(start, rate, WARM_UP)
        # A sleep of the pacer costs about as much as a job. Sleeps are measured alone, in the same round, and taken
        # off as often as there were any, since a pacer that is late sleeps less often.
        alone = pace(no_start, rate, seconds / 2)
        both = pace(start, rate, seconds)
        sleeping = alone.cpu / max(1, alone.sleeps) * both.sleeps
        return {
            "job us": (both.cpu - sleeping) / both.jobs * 1e6,
            "job and pacer us": both.cpu / both.jobs * 1e6,
            "kept": both.kept,
        }

    return one_round
