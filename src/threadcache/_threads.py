"""What a worker needs of the platform: a thread, its name, its signal mask, and where to report errors."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
import warnings
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, NoReturn

from ._backend import name_system_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# Linux lets a thread write its own name here, of which it keeps 15 bytes (proc(5), "comm").
_COMM = "/proc/thread-self/comm"


GIL = sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()
"""Whether a look at a container is ordered with everything before and after it by itself."""


def _main_thread_mask() -> Iterable[int] | None:
    """The signals that the main thread blocks now, or None where threads have no signal mask."""
    if not hasattr(signal, "pthread_sigmask"):
        return None
    if threading.current_thread() is not threading.main_thread():
        # A thread can ask for no mask but its own; Linux shows the main thread's as the process's.
        with suppress(OSError, ValueError), open("/proc/self/status", "rb") as status:
            for line in status:
                if line.startswith(b"SigBlk:"):
                    bits = int(line.split()[1], 16)
                    return {number for number in signal.valid_signals() if bits >> (number - 1) & 1}
    return signal.pthread_sigmask(signal.SIG_BLOCK, ())


_MASK = _main_thread_mask()


def set_signal_mask() -> None:
    """Give the calling thread the mask that the main thread had when this module was imported."""
    if _MASK is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, _MASK)


def _daemon_threads_allowed() -> bool:
    """Whether this interpreter allows daemon threads; sub-interpreters may forbid them, and say so only here."""
    try:
        threading.Thread(daemon=True, name="threadcache")  # a name, or it would use up one of Thread-1, Thread-2...
    except RuntimeError:
        return False
    return True


DAEMON = _daemon_threads_allowed()


def _start_no_thread(target: Callable[[], object], args: tuple[()]) -> NoReturn:
    raise RuntimeError(f"threadcache needs threads, and {sys.platform} has none")


def _start_waiting_thread(target: Callable[[], object], args: tuple[()]) -> None:
    # An interpreter without daemon threads waits for every thread it knows, and breaks on any other.
    threading.Thread(target=Context().run, args=(target, *args), daemon=False).start()


start_thread: Callable[[Callable[[], object], tuple[()]], object]
"""``start_thread(target, ())`` starts a daemon thread that runs ``target()`` in an empty context.

It is one call of a C function that does not wait for the thread, where `threading.Thread.start` is a dozen lines of
Python and waits. So no exception finds a thread half started, nothing can be submitted from within the start (by a
signal handler, say), and the caller goes on sooner.

Raises:
    RuntimeError: The platform has no threads, the operating system has none left, or the interpreter shuts down.
    MemoryError: There is no memory for one.
"""
if sys.platform in {"emscripten", "wasi"}:
    start_thread = _start_no_thread
elif DAEMON:
    start_thread = _thread.start_new_thread
else:
    start_thread = _start_waiting_thread


def adopt_thread(name: str) -> threading.Thread:
    """Make the calling thread known to `threading`, under a name, and return its object."""
    thread = threading.current_thread()
    name_thread(thread, name)
    return thread


def forget_thread() -> None:
    """Undo `adopt_thread` in a thread that is about to end."""
    if sys.version_info < (3, 13):
        # Later versions do this by themselves. These two do not change any more, so their private names may be used.
        with threading._active_limbo_lock:  # type: ignore[attr-defined]
            active: dict[int, threading.Thread] = threading._active  # type: ignore[attr-defined]
            if isinstance(active.get(threading.get_ident()), threading._DummyThread):
                del active[threading.get_ident()]


def _tell_no_system(name: bytes) -> None:
    pass


def _tell_linux(name: bytes) -> None:
    # Three system calls, each of which gives the GIL away: 7 us alone, and several times that in a busy program.
    comm = os.open(_COMM, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(comm, name)
    finally:
        os.close(comm)


if sys.version_info >= (3, 14):
    _tell_system: Callable[[bytes], object] = _tell_no_system  # setting the thread's name does it
else:
    _tell_system = name_system_thread or (_tell_linux if sys.platform.startswith("linux") else _tell_no_system)


def name_thread(thread: threading.Thread, name: str) -> None:
    """Name the calling thread, ``thread``, in Python and for the operating system."""
    with suppress(Exception):  # a name is a label: it must not cost a job or a worker
        thread.name = name
        _tell_system(name.encode(errors="replace"))


def _hook_name(get: Callable[[], object]) -> str | None:
    """The name of the global that a function of `threading` returns, if that is all it does."""
    code, simple = getattr(get, "__code__", None), _hook_name_model.__code__
    if code is None or code.co_code != simple.co_code or get.__globals__ is not vars(threading):
        return None
    return str(code.co_names[0])


def _hook_name_model() -> object:
    return GIL


HOOK_NAMES = _hook_name(threading.gettrace), _hook_name(threading.getprofile)
"""Where `threading` keeps the trace and the profile function of new threads, for those to whom a call is dear."""


def on_shutdown(callback: Callable[[], object]) -> None:
    """Have ``callback()`` called when the interpreter begins to wait for its non-daemon threads.

    No public function does this: `atexit` runs after that wait. Where the private one is missing, the interpreter's
    exit takes as long as the idle timeout. Only interpreters without daemon threads ever need it.
    """
    register = getattr(threading, "_register_atexit", None)
    if register is not None:
        register(callback)


def report(error: BaseException) -> None:
    """Report what was raised where nobody can catch it, through `threading.excepthook`. Never raises."""
    try:
        thread = threading.current_thread()
        threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, thread)))
    except BaseException:
        # The hook is broken, and so may be the next one: there is nothing left to tell it to.
        with suppress(BaseException):
            sys.excepthook(type(error), error, error.__traceback__)


def warn(message: str) -> None:
    """Issue a `RuntimeWarning`; where the program has made that an error, report it like one. Never raises."""
    try:
        warnings.warn(message, RuntimeWarning, stacklevel=3)
    except BaseException as error:
        report(error)


def wait_for_end(native_id: int, deadline: float) -> bool:
    """Wait until a thread of the system's has ended, or until ``deadline`` (`time.monotonic`), and say whether it has.

    A thread that nobody can join still has some microseconds to go after its last line of Python. Linux shows when it
    is gone, and there alone it matters: `os.fork` counts threads. A second is far more than it takes; if the number is
    still in use then, it is another thread's.
    """
    path = f"/proc/self/task/{native_id}"
    enough = time.monotonic() + 1
    while os.path.exists(path):
        now = time.monotonic()
        if now >= deadline or now >= enough:
            return now < deadline
        time.sleep(0.0001)
    return True
