"""Calls a function before each opcode or line of the core that a thread executes, for the explorer and injections.

From Python 3.12 on through `sys.monitoring`, before through `sys.settrace`, whose opcode events later versions lose.
PyPy tells of lines only; there, lines stand for opcodes.
"""

from __future__ import annotations

import dis
import gc
import sys
import threading
import types
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import threadcache._cache
import threadcache._future
import threadcache._pool
import threadcache._runner
import threadcache._threads
import threadcache._worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODEL = (threadcache._cache, threadcache._worker, threadcache._pool, threadcache._runner, threadcache._future)
"""Where the explorer looks. Not in `_threads`: it takes a lock of the interpreter's, which the explorer can't see."""
OPCODES = not hasattr(sys, "pypy_version_info")

_local = threading.local()
_lock = threading.Lock()
_users = 0
_injections = 0
_collecting = True


def _codes(thing: Any, filename: str) -> Iterator[types.CodeType]:
    if isinstance(thing, types.CodeType):
        yield thing
        for constant in thing.co_consts:
            yield from _codes(constant, filename)
    elif isinstance(thing, types.FunctionType):
        if getattr(thing.__code__, "co_filename", None) == filename:
            yield from _codes(thing.__code__, filename)
    elif isinstance(thing, property):
        yield from _codes(thing.fget, filename)
        yield from _codes(thing.fset, filename)
    elif isinstance(thing, type):
        for member in vars(thing).values():
            if not isinstance(member, type):
                yield from _codes(member, filename)


def codes(*modules: types.ModuleType) -> set[types.CodeType]:
    """All code objects of some modules."""
    things = [(thing, str(module.__file__)) for module in modules for thing in vars(module).values()]
    return {code for thing, filename in things for code in _codes(thing, filename)}


CODES = codes(*MODEL, threadcache._threads)


@contextmanager
def steps(callback: Callable[[types.CodeType, int], object], *, opcodes: bool) -> Iterator[None]:
    """Have ``callback(code, offset)`` called in this thread, before each opcode or (offset -1) line of the core."""
    _local.callback = callback
    try:
        with _monitoring(opcodes) if sys.version_info >= (3, 12) else _tracing(opcodes):
            yield
    finally:
        _local.callback = None


def _step(code: types.CodeType, offset: int) -> None:
    callback = getattr(_local, "callback", None)
    if callback is not None:
        callback(code, offset)


@contextmanager
def _tracing(opcodes: bool) -> Iterator[None]:
    def trace(frame: Any, event: str, _: object) -> Any:
        if frame.f_code not in CODES:
            return None
        if event == "call":
            frame.f_trace_opcodes = opcodes and OPCODES
            frame.f_trace_lines = not frame.f_trace_opcodes
        elif event in {"line", "opcode"}:
            _step(frame.f_code, frame.f_lasti if event == "opcode" else -1)
        return trace

    old = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(old)


@contextmanager
def _monitoring(opcodes: bool) -> Iterator[None]:
    global _users
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined]
    event = monitoring.events.INSTRUCTION if opcodes else monitoring.events.LINE
    with _lock:
        _users += 1
        if _users == 1:
            monitoring.use_tool_id(4, "steps")
            monitoring.register_callback(4, event, _step if opcodes else lambda code, line: _step(code, -1))
            for code in CODES:
                monitoring.set_local_events(4, code, event)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                for code in CODES:
                    monitoring.set_local_events(4, code, 0)
                monitoring.register_callback(4, event, None)
                monitoring.free_tool_id(4)


@contextmanager
def _no_collector() -> Iterator[None]:
    """Have the collector find nothing: it would run a finalizer in whatever thread, and that be struck as the call."""
    global _collecting, _injections
    with _lock:
        if _injections == 0:
            _collecting = gc.isenabled()
            gc.disable()
        _injections += 1
    try:
        yield
    finally:
        with _lock:
            _injections -= 1
            if _injections == 0 and _collecting:
                gc.enable()


class Injection:
    """``injection(action, fn)`` runs ``fn()`` and, before its n-th opcode in the core, ``action()``.

    It does so in a thread of its own, since what an exception out of a handler's midst leaves of that thread's state is
    nothing to go on with; and returns what was raised. With ``between_calls``, only those opcodes count before which
    the interpreter looks for something to raise: the first of a function, and those after a call or a jump back.
    """

    def __init__(self, target: int, between_calls: bool = False, where: set[types.CodeType] = CODES) -> None:
        self.target = target
        self.where = where
        self.between_calls = between_calls
        self.seen = 0
        self.struck = False

    def __call__(self, action: Callable[[], object], fn: Callable[[], object]) -> BaseException | None:
        raised: list[BaseException] = []
        thread = threading.Thread(target=self._run, args=(action, fn, raised), daemon=True)
        thread.start()
        thread.join(60)
        assert not thread.is_alive(), "the call hangs"
        return raised[0] if raised else None

    def _run(self, action: Callable[[], object], fn: Callable[[], object], raised: list[BaseException]) -> None:
        last: dict[types.CodeType, str] = {}

        def step(code: types.CodeType, offset: int) -> None:
            if code not in self.where:
                return
            if self.between_calls:
                before = last.get(code, "")
                last[code] = now = dis.opname[code.co_code[offset]]
                if not before.startswith(("RESUME", "CALL", "JUMP_BACKWARD", "POP_JUMP_BACKWARD")):
                    return
                if before.endswith("NO_INTERRUPT") or now == "PUSH_EXC_INFO":
                    return  # a call that raises goes to its handler without a look
            self.seen += 1
            if self.seen == self.target:
                self.struck = True
                _local.callback = None
                action()

        try:
            with _no_collector(), steps(step, opcodes=True):
                fn()
        except BaseException as error:
            raised.append(error)


def at_each_opcode(between_calls: bool = False, where: set[types.CodeType] = CODES) -> Iterator[Injection]:
    """Injections for the first opcode, the second, and so on, until one comes too late to strike."""
    target = 0
    while True:
        target += 1
        injection = Injection(target, between_calls, where)
        yield injection
        if not injection.struck:
            return
