"""Run the benchmarks with and without the GIL, on one core and on all: ``python benchmarks/matrix.py --help``.

Each combination is one run of run.py, and leaves one result for document.py.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from combinations import COMBINATIONS, Combination, result_file

RUN = Path(__file__).with_name("run.py")
ASK = "import sys; print(getattr(sys, '_is_gil_enabled', lambda: True)())"


def _has_gil(python: str) -> bool:
    try:
        done = subprocess.run((python, "-c", ASK), capture_output=True, text=True, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        sys.exit(f"{python}: {error}")
    return done.stdout.strip() == "True"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--with-gil", metavar="PYTHON", help="an interpreter with the GIL (default: this one)")
    parser.add_argument("--without-gil", metavar="PYTHON", help="one without; both have threadcache[bench] installed")
    parser.add_argument("--only", metavar="A,B", help=f"of {', '.join(one.name for one in COMBINATIONS)}")
    parser.add_argument("--core", type=int, default=0, metavar="N", help="which one, where there is to be only one")
    parser.add_argument(
        "--docs", type=Path, default=Path("docs"), metavar="FOLDER", help="results go to its benchmarks/"
    )
    parser.add_argument("--quick", action="store_true", help="see run.py, as for the following")
    parser.add_argument("--rows", metavar="A,B")
    parser.add_argument("--rounds", metavar="N")
    arguments = parser.parse_args()
    names = {one.name for one in COMBINATIONS}
    arguments.only = names if arguments.only is None else set(arguments.only.split(","))
    if unknown := arguments.only - names:
        parser.error(f"--only: no such combination: {', '.join(sorted(unknown))}")
    return arguments


def _pythons(arguments: argparse.Namespace) -> dict[bool, str]:
    """The interpreters, by whether they have the GIL."""
    pythons: dict[bool, str] = {}
    if arguments.with_gil is None and (_has_gil(sys.executable) or arguments.without_gil is None):
        pythons[_has_gil(sys.executable)] = sys.executable
    for given, gil in ((arguments.with_gil, True), (arguments.without_gil, False)):
        if given is not None:
            if _has_gil(given) is not gil:
                sys.exit(f"{given}: {'has no' if gil else 'has the'} GIL")
            pythons[gil] = given
    return pythons


def _command(python: str, combination: Combination, arguments: argparse.Namespace) -> list[str]:
    command = [python, str(RUN), "--json", str(result_file(arguments.docs, combination))]
    if combination.pinned:
        command += ["--pin", str(arguments.core)]
    if arguments.quick:
        command.append("--quick")
    for option in ("rows", "rounds"):
        if (value := getattr(arguments, option)) is not None:
            command += [f"--{option}", value]
    return command


def main() -> int:
    arguments = _arguments()
    pythons = _pythons(arguments)
    status = 0
    for combination in COMBINATIONS:
        if combination.name not in arguments.only:
            continue
        if combination.gil not in pythons:
            print(f"\nleft out: {combination.title} (name an interpreter: see --help)", flush=True)
            continue
        print(f"\n{combination.title}", flush=True)
        done = subprocess.run(_command(pythons[combination.gil], combination, arguments), check=False)
        if done.returncode:
            print(f"{combination.title}: exit status {done.returncode}", flush=True)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
