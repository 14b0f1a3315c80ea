"""The child process: one contender, one measurement, a round for each line it reads.

``python child.py CONTENDER MEASUREMENT PARAMS``, where PARAMS is a JSON object; each answer is a line, a JSON object.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import sys
from typing import Any

from contenders import Contender
from machine import gil_enabled
from measurements import MEASUREMENTS

DEADLINE = 90.0  # seconds for a round, the slowest of which takes a few; a lost job shows as every thread's traceback


def _make(contender: Contender[Any]) -> Any:
    """The contender's adapter, if it is what it is taken for."""
    assert contender.make is not None
    had_gil = gil_enabled()
    adapter = contender.make()
    if contender.mailbox is not None:
        from threadcache._backend import MAILBOX

        if contender.mailbox != MAILBOX:
            raise AssertionError(f"{contender.name} is about to be measured with the {MAILBOX} mailbox")
    if gil_enabled() and not had_gil:
        raise AssertionError(f"{contender.name} imports an extension that turns the GIL on")
    return adapter


def main() -> None:
    contender_name, measurement_name, params = sys.argv[1:]
    measurement = next(one for one in MEASUREMENTS if one.name == measurement_name)
    contender = next(one for one in measurement.contenders if one.name == contender_name)
    one_round = measurement.workload(_make(contender), json.loads(params))
    for _line in sys.stdin:
        faulthandler.dump_traceback_later(DEADLINE, exit=True)
        gc.collect()
        gc.disable()  # as timeit does: a collection would land on whoever happens to allocate
        answer = one_round()
        gc.enable()
        faulthandler.cancel_dump_traceback_later()
        print(json.dumps(answer), flush=True)
    # What is left are idle workers; how they end is not what is measured.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
