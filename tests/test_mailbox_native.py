"""The native mailbox alone: when it spins and when it does not, and what it leaves behind.

Whether a thread spins is told by what it uses: a spin lasts its whole length by the clock and burns it, and a wait that
does not spin burns next to nothing, however long the machine lets it wait for its turn. What the module learns is the
process's, so each of these tests has a process of its own.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
from conftest import MAILBOXES, child

from threadcache._threads import GIL

pytestmark = [
    pytest.mark.skipif("native" not in MAILBOXES, reason="the native mailbox is not built here"),
    pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals"),
]

PRELUDE = """
import gc, os, signal, sys, sysconfig, threading, time
from pathlib import Path
from threadcache._native import LONGEST, Mailbox, set_cores
DEADLINE = 30
TALK = 4 if sysconfig.get_config_var("Py_GIL_DISABLED") else 3  # by how much spins are longer in a conversation
LONG = 1e6  # microseconds: the longest that a mailbox takes
SPIN = 0.2  # seconds of a spin that nobody ends
set_cores(2)

def until(condition):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "the deadline has passed"
        time.sleep(0.0005)

def spun(box):
    "Whether an empty mailbox of SPIN spins."
    wall, cpu = time.monotonic(), time.thread_time()
    assert not box.get(True, 0)
    wall, cpu = time.monotonic() - wall, time.thread_time() - cpu
    return wall >= SPIN and cpu >= SPIN / 200

def in_thread(function, *args):
    "Start it; what comes back waits for it and has its result."
    results = []
    thread = threading.Thread(target=lambda: results.append(function(*args)), daemon=True)
    thread.start()
    def finish():
        thread.join(DEADLINE)
        return results[0]
    finish.thread = thread
    return finish
"""
linux = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc")


def run(code: str, *options: str, timeout: float = 60, **environment: str) -> str:
    done = child(PRELUDE + code, *options, timeout=timeout, **environment)
    assert not done.stderr
    return str(done.stdout)


def test_without_a_spin_none_spins() -> None:
    run("""
box = Mailbox(0)
for _ in range(20):
    cpu = time.thread_time()
    assert not box.get(True, 0)
    assert time.thread_time() - cpu < SPIN / 200
""")


def test_a_wait_of_no_time_spins_and_does_not_park() -> None:
    run("assert spun(Mailbox(SPIN * 1e6))")


def test_where_there_is_one_core_nobody_spins() -> None:
    run("""
set_cores(1)
for shared in False, True:
    assert not spun(Mailbox(SPIN * 1e6, shared))
set_cores(2)
for shared in False, True:  # those were no misses
    assert spun(Mailbox(SPIN * 1e6, shared))
set_cores(1)
box = Mailbox(LONG)
finish = in_thread(box.get, True, DEADLINE)
box.put()
assert finish()
""")


def test_each_miss_doubles_the_waits_without_a_spin() -> None:
    """Up to 255, so that a mailbox in vain costs next to nothing."""
    run("""
SPIN = 0.02
box = Mailbox(SPIN * 1e6)
def skipped():
    count = 0
    while not spun(box):
        count += 1
    return count
counts = [skipped() for _ in range(11)]
assert counts == [0, 1, 3, 7, 15, 31, 63, 127, 255, 255, 255], counts
""")


def test_after_a_miss_a_spin_outlasts_a_wake_up_and_trusts_a_late_hit_once() -> None:
    """If both sides park, one must wait for as long as the other takes to wake up, or neither would ever spin again."""
    run("""
import importlib.util
SPIN = 0.05
spec = importlib.util.find_spec("threadcache._native")
assert LONGEST == 4

def lengths(Mailbox):
    "Of four spins in a row, in SPINs, the second of which finds its token after two; 0 for a wait without."
    worker, other = Mailbox(SPIN * 1e6), Mailbox(SPIN * 1e6, True)
    def lasted(box):
        start = time.monotonic()
        box.get(True, 0)
        return (time.monotonic() - start) / SPIN
    def late():
        time.sleep(2 * SPIN)
        worker.put()
    yield lasted(worker)
    yield lasted(worker)
    finish = in_thread(late)
    yield lasted(worker)
    finish()
    yield lasted(worker)
    yield lasted(other)  # longer, since the worker's was a hit: they may be in conversation
    # The hit was late, and so that was the second miss in a row: three waits without a spin, and then another probe.
    for _ in range(3):
        yield lasted(worker)
    yield lasted(worker)

expected = [1, 0, 2, 1, TALK, 0, 0, 0, 4]
for attempt in range(10):  # the machine may be slow
    module = importlib.util.module_from_spec(spec)  # which has learnt nothing yet
    spec.loader.exec_module(module)
    module.set_cores(2)
    found = [int(length + 0.02) for length in lengths(module.Mailbox)]
    if found == expected:
        break
else:
    raise AssertionError(found)
""")


def test_what_does_not_wait_does_not_count() -> None:
    """Neither a look without waiting, nor a get that finds the token, nor one of a mailbox that never spins."""
    run("""
box, never = Mailbox(SPIN * 1e6), Mailbox(0)
assert spun(box)  # so the next one does not
for _ in range(10):
    assert not box.get(False, -1)
    box.put()
    assert box.get(True, 0)
    assert not never.get(True, 0)
assert not spun(box)
assert spun(box)
""")


def test_workers_and_others_learn_apart() -> None:
    run("""
worker, other = Mailbox(SPIN * 1e6), Mailbox(SPIN * 1e6, True)
assert spun(worker)
assert spun(other)
assert not spun(worker)
assert spun(worker)  # a second miss, and so three waits without
assert [spun(Mailbox(SPIN * 1e6)) for _ in range(4)] == [False, False, False, True], "workers learn together"
""")


def test_a_hit_ends_the_spin_and_the_back_off() -> None:
    """Four misses, which are to skip 15 waits; and then a spinner finds its token."""
    run("""
box, hit = Mailbox(SPIN * 1e6), Mailbox(LONG)
for _ in range(1 + 1 + 1 + 3 + 1 + 7 + 1):
    box.get(True, 0)
for _ in range(15):
    assert not spun(box)
# A hit, now that it may spin: the wait is of no time, so only a spin can have seen the token.
finish = in_thread(hit.get, True, 0)
hit.put()
assert finish()
ended = []
for attempt in range(20):  # until the token has come while it spun, rather than before
    begin = threading.Event()
    finish = in_thread(lambda: (begin.set(), hit.get(True, 0))[1])
    begin.wait()
    time.sleep(0.001)
    hit.put()
    if not finish():
        assert hit.get(False, -1)
        break
    ended.append(True)
assert ended
assert spun(box)
""")


@pytest.mark.parametrize("shared", [False, True])
def test_a_hit_of_one_kind_has_the_other_spin_too(shared: bool) -> None:
    """Both sides of a hand-off find back to it together."""
    run(f"""
one, other = Mailbox(LONG, {shared}), Mailbox(SPIN * 1e6, {not shared})
assert spun(other)  # so the next one does not
finish = in_thread(one.get, True, 0)
until(lambda: one.is_spinning() or not finish.thread.is_alive())
one.put()
assert finish()
assert spun(other)
""")


@pytest.mark.parametrize("shared", [False, True])
def test_after_a_hit_of_one_kind_four_spins_of_the_other_are_longer(shared: bool) -> None:
    """The two may be in conversation."""
    run(f"""
def hit(box):
    finish = in_thread(box.get, True, 0)
    until(lambda: box.is_spinning() or not finish.thread.is_alive())
    box.put()
    assert finish()
for spins, length in (0, TALK), (3, TALK), (4, 1):
    hit(Mailbox(LONG, {shared}))
    for _ in range(spins):
        hit(Mailbox(LONG, {not shared}))
    start = time.monotonic()
    assert not Mailbox(SPIN * 1e6, {not shared}).get(True, 0)
    lasted = (time.monotonic() - start) / SPIN
    assert length <= lasted < length + 0.9, (spins, lasted)
""")


@pytest.mark.skipif(not GIL, reason="without the GIL, nobody has to wait for it")
def test_a_spinner_takes_its_token_when_it_has_the_gil_again() -> None:
    """Until then it is seen to spin, and on its way; and whoever puts relies on what it does afterwards."""
    run("""
sys.setswitchinterval(1000)  # nobody gets the GIL but from who waits
for limit in DEADLINE, 0:
    for attempt in range(20):
        box = Mailbox(LONG, True)
        finish = in_thread(box.get, True, limit)
        until(lambda: box.is_spinning() or not finish.thread.is_alive())
        spinning = box.is_spinning()
        box.put()
        end = time.monotonic() + 0.05
        while spinning and time.monotonic() < end:
            assert box.is_spinning()
            assert not box.is_empty()
        if finish():
            assert not box.is_spinning() and box.is_empty()
        if spinning:
            break
    assert spinning
""")


def test_one_thread_spins_at_a_time_the_last_to_begin() -> None:
    """It takes the place of the one before, which would have gone on for a second, and parks."""
    run("""
def wait(box):
    start = time.monotonic()
    return box.get(True, 0), time.monotonic() - start
for attempt in range(10):
    # Mailboxes that share no back-off, or who is displaced would keep the next one from spinning.
    boxes = [Mailbox(LONG), Mailbox(LONG, True)]
    first = in_thread(wait, boxes[0])
    time.sleep(0.05)
    second = in_thread(wait, boxes[1])
    first.thread.join(DEADLINE)
    if second.thread.is_alive():
        boxes[1].put()
    (got, seconds), (hit, _) = first(), second()
    if not got and 0.05 <= seconds < 0.9 and hit:
        break
    for shared in False, True:  # until they may spin again
        while not spun(Mailbox(SPIN * 1e6, shared)):
            pass
        box = Mailbox(LONG, shared)
        finish = in_thread(box.get, True, DEADLINE)
        box.put()
        assert finish()
else:
    raise AssertionError("nobody gives up his place")
""")


def test_who_is_displaced_has_not_missed() -> None:
    """It has not spun for as long as it might have, and so the next one of its kind spins, too."""
    run("""
import importlib.util
spec = importlib.util.find_spec("threadcache._native")
def wait(box):
    start = time.monotonic()
    assert not box.get(True, 0)
    return time.monotonic() - start
for attempt in range(10):
    module = importlib.util.module_from_spec(spec)  # which has learnt nothing yet
    spec.loader.exec_module(module)
    module.set_cores(2)
    first = module.Mailbox(LONG)
    finish = in_thread(wait, first)
    until(lambda: first.is_spinning() or not finish.thread.is_alive())
    last = spun(module.Mailbox(SPIN * 1e6, True))
    if finish() < 0.9 and last:
        break
else:
    raise AssertionError("nobody gives up his place")
assert spun(module.Mailbox(SPIN * 1e6))
""")


def test_who_waits_for_a_result_is_not_displaced_by_who_waits_for_work() -> None:
    """Nor a worker at the end of its work by one that has none. They park, and that is no miss."""
    run("""
import importlib.util
spec = importlib.util.find_spec("threadcache._native")
def kept(first, second, second_seconds):
    "Whether the first goes on spinning while the second waits."
    finish = in_thread(first.get, True, 0)
    until(lambda: first.is_spinning() or not finish.thread.is_alive())
    assert not in_thread(second.get, True, second_seconds)()
    first.put()
    return finish()
def tries(*arguments):
    for attempt in range(10):
        module = importlib.util.module_from_spec(spec)  # which has learnt nothing yet
        spec.loader.exec_module(module)
        module.set_cores(2)
        if kept(*[module.Mailbox(LONG, shared) for shared in arguments[:2]], arguments[2]):
            box = module.Mailbox(LONG)  # nobody is there any more
            finish = in_thread(box.get, True, DEADLINE)
            until(lambda: box.is_spinning() or not finish.thread.is_alive())
            spins = box.is_spinning()
            box.put()
            if finish() and spins:
                return
    raise AssertionError(arguments)
tries(True, False, 0.05)
tries(True, False, 0)
tries(False, False, 0.05)
""")


def test_in_a_forked_process_nobody_spins_any_more() -> None:
    """Or who was there, and is no thread of the child's, would keep its workers from spinning."""
    run(
        """
box = Mailbox(LONG, True)
finish = in_thread(box.get, True, 0)
until(box.is_spinning)
child = os.fork()
if not child:
    os._exit(spun(Mailbox(SPIN * 1e6)))
box.put()
assert finish()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
""",
        *("-W", "ignore::DeprecationWarning"),
    )


def test_a_signal_during_the_spin_is_not_slept_through() -> None:
    """Parking does not notice a signal that has come before, so somebody must look in between."""
    run(
        """
class Strike(Exception):
    pass
def handler(*_):
    raise Strike
signal.signal(signal.SIGUSR1, handler)
box = Mailbox(LONG, True)
main = threading.get_ident()
def send():
    time.sleep(0.2)  # by then it spins, and if it does not, the signal comes before, which is no error
    signal.pthread_kill(main, signal.SIGUSR1)
finish = in_thread(send)
try:
    box.get(True, -1)
except Strike:
    print("struck")
box.put()
assert box.get(True, -1)
""",
        timeout=20,
    )


@linux
def test_an_idle_process_uses_no_processor() -> None:
    """Workers that have missed are parked: no thread of theirs so much as wakes up."""
    run("""
boxes = [Mailbox(1000) for _ in range(20)]
finish = [in_thread(box.get, True, -1) for box in boxes]
def status():
    texts = [Path(f"/proc/self/task/{one.thread.native_id}/status").read_text() for one in finish]
    return [[line for line in text.splitlines() if line.startswith("State") or "ctxt" in line] for text in texts]
until(lambda: all("sleeping" in lines[0] for lines in status()))
until(lambda: (status(), time.sleep(0.05))[0] == status())
before = status()
time.sleep(0.5)
assert status() == before
for box in boxes:
    box.put()
assert all(one() for one in finish)
""")


@pytest.mark.parametrize("spin", [-1, 1_000_001, float("nan"), float("inf"), "1", None])
def test_spins_that_make_no_sense(spin: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        MAILBOXES["native"](spin)


def test_its_type_is_sealed() -> None:
    """Nothing may come between the C functions and whoever calls them."""
    box = MAILBOXES["native"](0)
    with pytest.raises(AttributeError):
        box.other = 1
    with pytest.raises(TypeError):
        type(box).put = None
    with pytest.raises(TypeError):
        type("Sub", (type(box),), {})
    with pytest.raises(TypeError):
        box.get(True)
    with pytest.raises(TypeError):
        box.get(True, -1, 0)


LEAKS = """
import tracemalloc
def life():
    box = Mailbox(1, True)
    for _ in range(3):
        box.put()
        assert box.get(True, 1.5)
    try:
        box.put(), box.put()
    except RuntimeError:
        pass
    box.get(False, -1)
    assert not box.get(True, 1e-6)  # makes the lock, and parks
    for wait in (True, -2), (True, "x"), (False, 1), (True, float("inf")), (True,):
        try:
            box.get(*wait)
        except (ValueError, TypeError, OverflowError):
            pass
    for arguments in (-1,), ("x",), (0, 0, 0):
        try:
            Mailbox(*arguments)
        except (ValueError, TypeError):
            pass
    box.is_empty()
    # Gone while it is full, and while it is empty; parked in before, or not.
    box.put()
    Mailbox().put()
watched = [None, True, False, Mailbox, RuntimeError, ValueError, 1.5, "x"]
def counts():
    gc.collect()
    total = sys.gettotalrefcount() if hasattr(sys, "gettotalrefcount") else 0
    return [sys.getrefcount(thing) for thing in watched] + [total, sys.getallocatedblocks()]
"""


def test_it_leaks_neither_references_nor_memory() -> None:
    """Over all the ways through its functions: references, memory blocks, and all that was allocated."""
    run(
        LEAKS
        + """
ROUNDS = 2000
for _ in range(100):
    life()
before = counts()
tracemalloc.start()
for _ in range(100):
    life()
gc.collect()
traced = tracemalloc.get_traced_memory()[0]
for _ in range(ROUNDS):
    life()
gc.collect()
traced = tracemalloc.get_traced_memory()[0] - traced
tracemalloc.stop()
after = counts()
grown = [new - old for old, new in zip(before, after)]
# One of anything a round would be 2,000; caches of the interpreter's come and go.
assert all(abs(number) < ROUNDS / 10 for number in grown), grown
assert traced < ROUNDS * 2, traced
"""
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's /proc")
def test_the_process_does_not_grow() -> None:
    """What no count of Python's sees: locks come from the platform."""
    run(
        LEAKS
        + """
def resident():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
for _ in range(5000):
    life()
before = resident()
for _ in range(20000):
    life()
assert resident() - before < 20000 * 16, resident() - before
"""
    )


def test_it_can_be_imported_anew_and_forgotten() -> None:
    """The type dies with its module and its last mailbox, and each module has a state of its own."""
    run("""
import importlib.util, weakref
spec = importlib.util.find_spec("threadcache._native")
def load():
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
load()
gone = []
boxes = []
for _ in range(50):
    module = load()
    assert module.Mailbox is not Mailbox
    box = module.Mailbox(1)
    boxes.append(box)
    box.put()
    assert box.get(True, 1) and not box.get(True, 0)
    gone.append(weakref.ref(module.Mailbox))
del module, box
gc.collect()
assert all(ref() for ref in gone)
for box in boxes:  # whose module is in no dictionary any more
    box.put()
    assert box.get(True, -1)
del boxes, box
gc.collect()
assert not any(ref() for ref in gone)
""")
