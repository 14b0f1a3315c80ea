"""G15: sub-interpreters, with and without daemon threads. The other interpreters run this whole suite."""

from __future__ import annotations

import sys
import sysconfig

import pytest
from conftest import child

# The module has had three names so far; none of them was public before Python 3.14.
PRELUDE = """
import sys, textwrap
if sys.version_info >= (3, 14):
    import _interpreters as interpreters
elif sys.version_info >= (3, 13):
    import _interpreters as interpreters
else:
    import _xxsubinterpreters as interpreters
def create(kind):
    if sys.version_info >= (3, 13):
        return interpreters.create(kind)
    return interpreters.create(isolated=kind == "isolated")
def run(interpreter, code):
    error = interpreters.run_string(interpreter, textwrap.dedent(code))
    assert error is None, error
"""
JOBS = """
import threading, threadcache
from threadcache._threads import DAEMON
barrier = threading.Barrier(5)
done = threading.Semaphore(0)
def deliver(outcome):
    outcome.unwrap()
    done.release()
for _ in range(5):
    threadcache.start_thread_soon(lambda: barrier.wait(30), deliver)
for _ in range(5):
    assert done.acquire(timeout=30)
cache = threadcache.default_cache
for _ in range(100):
    threadcache.start_thread_soon(int, deliver)
    assert done.acquire(timeout=30)
stats = cache.stats()
assert stats.jobs == 105 and 5 <= stats.started < 10, stats  # races 1 and 2 may start one too many
print("jobs ran", DAEMON, flush=True)
"""
needs_subinterpreters = pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="only CPython has sub-interpreters"
)


@needs_subinterpreters
@pytest.mark.skipif(
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")) and sys.version_info < (3, 14),
    reason="the free-threaded 3.13 has no sub-interpreters that share anything",
)
def test_g15_in_a_legacy_subinterpreter() -> None:
    """It allows daemon threads; they must be gone when it ends, for it can't end otherwise."""
    kind = "legacy"
    done = child(f"""{PRELUDE}
interpreter = create({kind!r})
run(interpreter, {JOBS + "assert cache.drain(30)"!r})
interpreters.destroy(interpreter)
print("destroyed")
""")
    assert done.stdout == "jobs ran True\ndestroyed\n"


@needs_subinterpreters
@pytest.mark.skipif(sys.version_info < (3, 13), reason="such interpreters can't have threads before Python 3.13")
def test_g15_in_a_subinterpreter_without_daemon_threads() -> None:
    """Idle workers do not hold up its end, and nothing needs to be done about them."""
    done = child(
        f"""{PRELUDE}
interpreter = create("isolated")
run(interpreter, "import threadcache; threadcache.default_cache.idle_timeout = 1000" + {JOBS!r})
interpreters.destroy(interpreter)
print("destroyed")
""",
        timeout=20,
    )
    assert done.stdout == "jobs ran False\ndestroyed\n"


@needs_subinterpreters
@pytest.mark.skipif(sys.version_info < (3, 13), reason="such interpreters can't have threads before Python 3.13")
def test_g15_two_interpreters_have_two_caches() -> None:
    done = child(f"""{PRELUDE}
{JOBS}
interpreter = create("isolated")
run(interpreter, {JOBS!r})
interpreters.destroy(interpreter)
threadcache.start_thread_soon(int, deliver)
assert done.acquire(timeout=30)
""")
    assert done.stdout == "jobs ran True\njobs ran False\n"
