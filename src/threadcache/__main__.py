"""``python -m threadcache info``: what is in use here."""

from __future__ import annotations

import argparse
import sys
import sysconfig

from . import __version__, _debug, default_cache
from ._backend import MAILBOX


def info() -> str:
    """Version, Python build, mailbox, settings, and the state of the process's cache."""
    build = "without the GIL" if sysconfig.get_config_var("Py_GIL_DISABLED") else "with the GIL"
    cache = default_cache
    rows = {
        "threadcache": __version__,
        "Python": f"{sys.version.split()[0]}, {sys.implementation.name}, {build}, {sys.platform}",
        "mailbox": MAILBOX,
        "debug mode": "on" if _debug.enabled() else "off",
        "name": cache._name,
        "idle_timeout": f"{cache.idle_timeout} s",
        "max_idle": "no limit" if cache.max_idle is None else cache.max_idle,
        "warn_at": f"{cache._warn_at:g} threads",
        "cache": ", ".join(f"{what} {number}" for what, number in cache.stats()._asdict().items()),
    }
    width = max(map(len, rows))
    return "\n".join(f"{what:{width}}  {value}" for what, value in rows.items())


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m threadcache", description="The thread cache for Python.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="version, Python build, mailbox in use, settings and state of the cache")
    parser.parse_args(arguments)
    print(info())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
