"""The parent's side of a child process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from contenders import Contender
from measurement import Measurement
from workloads import Answer

DEADLINE = 120.0  # seconds for a round; longer than the child's own, so that it can say what went wrong


class ChildFailedError(Exception):
    """A child process ended, or did not answer in time; the text is what it said."""


class Child:
    """One contender at work on one measurement, in a process of its own."""

    def __init__(
        self,
        measurement: Measurement[Any],
        contender: Contender[Any],
        params: Mapping[str, float],
        command: Sequence[str] = (),
    ) -> None:
        """``command`` is the contender's program, or nothing if it is one of ours to make."""
        python = (sys.executable, str(Path(__file__).with_name("child.py")), contender.name)
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in close()
        self._process = subprocess.Popen(
            (*(command or python), measurement.name, json.dumps(dict(params))),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, **contender.environment},
        )

    def round(self) -> Answer:
        """Have one round done.

        Raises:
            ChildFailedError: the child ended, or took longer than the deadline (and was killed).
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        timer = threading.Timer(DEADLINE, self._process.kill)
        timer.start()
        try:
            self._process.stdin.write("round\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if not line:
            raise ChildFailedError(f"exit status {self._process.wait()}: {self.said()}")
        answer: Answer = json.loads(line)
        return answer

    def said(self) -> str:
        """What the child wrote to its standard error so far; where things lie on this machine is nobody's business."""
        self._errors.seek(0)
        text = self._errors.read().strip()
        for folder in (sys.prefix, sys.base_prefix, str(Path(__file__).parents[1])):
            text = text.replace(folder, "...")
        return text

    def close(self) -> str:
        """End the child, wait for it, and return what it said."""
        try:
            self._process.communicate(timeout=10)  # closes its standard input, which ends it
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        said = self.said()
        self._errors.close()
        return said
