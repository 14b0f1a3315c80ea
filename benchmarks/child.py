"""The child process: one contender, one measurement, a round for each line it reads.

``python child.py CONTENDER MEASUREMENT PARAMS``, where PARAMS is a JSON object; each answer is a line, a JSON object.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import sys

from rows import ROWS

DEADLINE = 90.0  # seconds for a round, the slowest of which takes a few; a lost job shows as every thread's traceback


def main() -> None:
    contender_name, measurement_name, params = sys.argv[1:]
    measurement = next(row.measurement for row in ROWS if row.measurement.name == measurement_name)
    contender = next(one for one in measurement.contenders if one.name == contender_name)
    one_round = measurement.workload(contender.make(), json.loads(params))
    for _line in sys.stdin:
        faulthandler.dump_traceback_later(DEADLINE, exit=True)
        gc.collect()
        gc.disable()  # as timeit does: a collection would land on whoever happens to allocate
        numbers = one_round()
        gc.enable()
        faulthandler.cancel_dump_traceback_later()
        print(json.dumps(numbers), flush=True)
    # What is left are idle workers; how they end is not what is measured.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
