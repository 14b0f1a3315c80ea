"""``python -m threadcache``: ``info`` tells what is in use here, ``run PROGRAM`` runs a program on the cache."""

from __future__ import annotations

import argparse
import os
import sys
import sysconfig

from . import __version__, _debug, default_cache
from ._backend import MAILBOX, WHY


def info() -> str:
    """Version, Python build, mailbox, settings, and the state of the process's cache."""
    build = "without the GIL" if sysconfig.get_config_var("Py_GIL_DISABLED") else "with the GIL"
    cache = default_cache
    rows = {
        "threadcache": __version__,
        "Python": f"{sys.version.split()[0]}, {sys.implementation.name}, {build}, {sys.platform}",
        "mailbox": MAILBOX + (WHY and f": {WHY}"),
        "spin": f"{cache._spin:g} µs" if MAILBOX == "native" else "never",
        "debug mode": "on" if _debug.enabled() else "off",
        "name": cache._name,
        "idle_timeout": f"{cache.idle_timeout} s",
        "max_idle": "no limit" if cache.max_idle is None else cache.max_idle,
        "warn_at": f"{cache._warn_at:g} threads",
        "cache": ", ".join(f"{what} {number}" for what, number in cache.stats()._asdict().items()),
    }
    width = max(map(len, rows))
    return "\n".join(f"{what:{width}}  {value}" for what, value in rows.items())


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Our own arguments, and from the program on those that are none of our business."""
    if arguments[:1] != ["run"]:
        return arguments, []
    words = enumerate(arguments)
    next(words)
    for index, word in words:
        if word == "--trace":
            next(words, None)
        elif word[:2] in {"-m", "-c"} or word == "-" or not word.startswith("-"):
            return arguments[:index], arguments[index:]
    return arguments, []


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m threadcache", description="The thread cache for Python.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="version, Python build, mailbox in use, settings and state of the cache")
    run = commands.add_parser(
        "run",
        help="run a program with its threads taken from the cache",
        usage="%(prog)s [--report] [--trace FILE] PROGRAM|-m MODULE|-c CODE [ARG...]",
        allow_abbrev=False,
    )
    run.add_argument("--report", action="store_true", help="say at the end on stderr what became of its threads")
    run.add_argument("--trace", metavar="FILE", help="write when which job ran where, for Perfetto or Chromium")
    run.add_argument("-m", metavar="MODULE", help="run a module, as python -m does")
    run.add_argument("-c", metavar="CODE", help="run a command, as python -c does")
    run.add_argument("PROGRAM", nargs="?", help="a script, a directory or zip file with a __main__, or - for stdin")
    ours, program = _split(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(ours)
    if options.command == "info":
        print(info())
        return

    kind = program[0][:2] if program and program[0][:2] in {"-m", "-c"} else ""
    if kind:
        program = [program[0][2:], *program[1:]] if program[0] != kind else program[1:]
    if not program:
        run.error("there is nothing to run")
    trace = None
    if options.trace is not None:
        try:
            trace = os.open(options.trace, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        except OSError as error:
            run.error(f"the trace cannot be written: {error}")
    from ._run import run as run_program

    run_program(kind, program[0], program[1:], report=options.report, trace=trace)


if __name__ == "__main__":
    main()
