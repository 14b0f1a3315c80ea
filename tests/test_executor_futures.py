"""The futures of executors: the races of `_future`'s header forced, strikes, and the standard library's contract."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import gc
import pickle
import sys
import threading
import time
import weakref
from concurrent.futures import CancelledError, InvalidStateError
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import test_executor_contract as contract
from conftest import DEADLINE
from explorer import Deadlock, explore
from steps import OPCODES, at_each_opcode, codes
from test_g7_references import REFCOUNTING
from test_interleavings import everywhere

import threadcache._future
from threadcache import CachedThreadPoolExecutor, default_cache
from threadcache._future import Base, Future, LazyFuture, _Condition, has_known_shape, new_future
from threadcache._pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from explorer import Run

OURS = codes(threadcache._future)
KINDS = {"lazy": LazyFuture, "fallback": Future}
POOL: Any = SimpleNamespace(lease=False, cache=default_cache, stand_by=lambda latch: latch.get(True, 0))
CALL: Any = (None, int, (), {})


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Both classes, of which every pool makes its futures."""
    chosen = KINDS[request.param]
    monkeypatch.setattr(Pool, "new_future", chosen)
    return chosen


@pytest.fixture(params=["stdlib", *KINDS])
def new(request: pytest.FixtureRequest) -> Callable[[], Any]:
    """Both and the standard library's own, alone and not in any line."""
    return Base if request.param == "stdlib" else partial(KINDS[request.param], POOL, CALL)


def in_threads(*calls: Callable[[], object]) -> list[Any]:
    """Make calls at a time, and return what they return or raise."""
    results: list[Any] = [None] * len(calls)

    def run(number: int) -> None:
        try:
            results[number] = calls[number]()
        except BaseException as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive(), "a call hangs"
    return results


# Executors over both


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("limit", [1, 2])
@pytest.mark.parametrize(
    "test",
    [
        contract.test_a_future_has_the_result,
        contract.test_a_future_has_the_very_exception_and_where_it_was_raised,
        contract.test_a_result_that_does_not_come_times_out,
        contract.test_map_raises_what_a_call_has_raised_and_cancels_the_rest,
        contract.test_only_what_has_not_begun_can_be_cancelled,
        contract.test_callbacks_are_called_in_order_and_each_once,
        contract.test_wait_sees_what_is_cancelled,
        contract.test_asyncio_waits_for_jobs,
    ],
)
def test_the_contract(test: Any, limit: int) -> None:
    test(lambda workers=limit: CachedThreadPoolExecutor(workers))


@pytest.mark.usefixtures("kind")
def test_wait_and_as_completed() -> None:
    contract.test_wait_and_as_completed(CachedThreadPoolExecutor)


def test_what_is_made(kind: Any) -> None:
    with CachedThreadPoolExecutor(1) as executor:
        future = executor.submit(int)
        assert type(future) is kind
        assert future.result() == 0
        assert executor.submit(lambda: executor.submit(int).result()).result() == 0  # served within the wait


def test_a_timeout_that_is_shorter_than_a_spin_is_not_spun_for(kind: Any) -> None:
    spins: list[Any] = []

    def stand_by(latch: Any) -> None:
        spins.append(latch)
        future.cached_begin()
        future.cached_resolve(5, None)

    cache = SimpleNamespace(_longest_spin=4 * 35e-6, _new_latch=default_cache._new_latch)
    pool: Any = SimpleNamespace(lease=False, cache=cache, stand_by=stand_by)
    future = kind(pool, CALL)
    for wait in future.result, future.exception:
        for timeout in -1, 0, 1e-9, 35e-6, 4 * 35e-6:  # the last is how long one may take
            with pytest.raises(TimeoutError):
                wait(timeout)
    assert not spins
    for wait, outcome in ("result", 5), ("exception", None):
        for timeout in 5 * 35e-6, DEADLINE, None:
            future = kind(pool, CALL)
            assert getattr(future, wait)(timeout) == outcome
            assert spins.pop() is future.cached_latch


# The standard library's contract


@pytest.mark.parametrize("setting", [("set_result", 1), ("set_exception", KeyError())], ids=lambda setting: setting[0])
def test_a_result_that_somebody_else_sets_stays(new: Any, setting: Any) -> None:
    future = new()
    getattr(future, setting[0])(setting[1])
    text = repr(future)
    assert "state=finished" in text
    assert not future.cancel()
    with pytest.raises(RuntimeError, match=r"^Future in unexpected state$"):
        future.set_running_or_notify_cancel()
    for call in (partial(future.set_result, 2), partial(future.set_exception, ValueError())):
        with pytest.raises(InvalidStateError, match=r"^FINISHED: <\w+ at 0x[0-9a-f]+ state=finished r"):
            call()
    assert future.done() and not future.running() and not future.cancelled()
    assert repr(future) == text


def test_a_result_that_somebody_else_sets_while_it_runs(new: Any) -> None:
    future = new()
    assert future.set_running_or_notify_cancel()
    assert future.running() and not future.done() and not future.cancel()
    assert "state=running" in repr(future)
    future.set_result(1)
    assert (future.result(), future.exception()) == (1, None)
    if new is not Base:
        for outcome in ((2, None), (None, ValueError())):
            with pytest.raises(InvalidStateError):
                future.cached_resolve(*outcome)
    assert (future.result(), future.exception()) == (1, None)


def test_cancelling_and_its_announcement(new: Any) -> None:
    future = new()
    called: list[Any] = []
    future.add_done_callback(called.append)
    assert future.cancel() and future.cancel()
    assert called == [future]
    assert future.cancelled() and future.done()
    assert concurrent.futures.wait([future], 0).not_done == {future}
    assert not future.set_running_or_notify_cancel()
    assert concurrent.futures.wait([future], 0).done == {future}
    with pytest.raises(RuntimeError, match=r"^Future in unexpected state$"):
        future.set_running_or_notify_cancel()
    with pytest.raises(InvalidStateError):
        future.set_result(1)
    with pytest.raises(CancelledError):
        future.result()


def test_timeouts(new: Any) -> None:
    future = new()
    for timeout in (-1, 0, 0.0, 0.001):
        with pytest.raises(TimeoutError):
            future.result(timeout)
        with pytest.raises(TimeoutError):
            future.exception(timeout)
    future.set_result(1)
    assert [future.result(timeout) for timeout in (-1, 0, None, "unlooked at")] == [1] * 4
    assert future.exception("unlooked at") is None


@pytest.mark.skipif(sys.implementation.name == "pypy", reason="PyPy's locks can be copied")
def test_copies(new: Any) -> None:
    future = new()
    for copying in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match=r"can(not|'t) pickle"):
            copying(future)
    future.set_result(1)
    assert copy.copy(future).result() == 1


def test_asyncio_takes_over_what_is_done_and_what_is_not(kind: Any) -> None:
    async def main() -> None:
        done, later = kind(POOL, CALL), kind(POOL, CALL)
        done.cached_begin()
        done.cached_resolve(1, None)
        assert await asyncio.wrap_future(done) == 1
        wrapped = asyncio.wrap_future(later)
        later.cached_begin()
        thread = threading.Thread(target=later.cached_resolve, args=(None, KeyError("told")))
        thread.start()
        with pytest.raises(KeyError, match="told"):
            await wrapped
        thread.join()

    asyncio.run(main())


@pytest.mark.skipif(not REFCOUNTING, reason="needs reference counts")
def test_g7_a_future_that_raised_is_in_no_cycle(kind: Any) -> None:
    gc.collect()
    gc.disable()
    try:
        future = kind(POOL, CALL)
        kept: list[BaseException] = []
        future.add_done_callback(lambda future: kept.append(future.exception()))
        future.cached_begin()
        future.cached_resolve(None, KeyError())
        with pytest.raises(KeyError):
            future.result()
        reference = weakref.ref(future)
        kept.clear()
        del future
        assert reference() is None
    finally:
        gc.enable()


# The races


def see_all(future: Any, other: Any) -> list[Any]:
    return [each.result(0) for each in concurrent.futures.as_completed([future, other], DEADLINE)]


def wait_for(future: Any, _: object) -> bool:
    start = time.monotonic()
    return future in concurrent.futures.wait([future], DEADLINE).done and time.monotonic() - start < DEADLINE


LOOKS: list[tuple[Callable[[Any, Any], Any], Any, range]] = [
    (lambda future, _: future.result(DEADLINE), 1, range(1, 7)),
    (lambda future, _: future.exception(DEADLINE), None, range(1, 5)),
    (wait_for, True, range(1, 3)),
    (see_all, [1, 2], range(1, 2)),
    (lambda future, _: future.add_done_callback(lambda _: None), None, range(1, 2)),
    (lambda future, _: future.cancel(), False, range(1, 2)),
]
"""What looks at a future's state, what it returns, and at which of its looks before it waits the future ends."""


@pytest.mark.parametrize(
    ("look", "returned", "targets"), LOOKS, ids=["result", "exception", "wait", "as_completed", "callback", "cancel"]
)
def test_race_1_a_future_ends_at_each_look_at_its_state(look: Any, returned: Any, targets: range) -> None:
    """The resolver goes on until it wants the lock, or is done; then whoever looks goes on, and may wait for it."""
    for target in targets:
        assert end_at(target, look) == returned


def end_at(target: int, look: Callable[[Any, Any], Any]) -> Any:
    looks = 0
    went_on = threading.Event()
    looker = threading.get_ident()

    def resolve() -> None:
        future.cached_resolve(1, None)
        went_on.set()
        other.cached_resolve(2, None)

    class Condition(threading.Condition):
        def __enter__(self) -> bool:
            if threading.get_ident() != looker:
                went_on.set()
            return super().__enter__()

    class Watched(LazyFuture[int]):
        _condition = _Condition(Condition)

        def __getattribute__(self, name: str) -> Any:
            nonlocal looks
            if name == "_state" and self is future and threading.get_ident() == looker:
                looks += 1
                if looks == target:
                    resolver.start()
                    assert went_on.wait(DEADLINE)
            return super().__getattribute__(name)

    resolver = threading.Thread(target=resolve, daemon=True)
    future, other = (LazyFuture.__new__(Watched) for _ in range(2))
    for each in (future, other):
        each.__init__(POOL, CALL)  # type: ignore[misc]
        assert each.cached_call.pop()  # as `cached_begin`, which looks
        each._state = "RUNNING"
    called: list[Any] = []
    if target > 1:
        future._condition  # somebody has looked before  # noqa: B018
    returned = look(future, other)
    resolver.join(DEADLINE)
    assert not resolver.is_alive()
    future.add_done_callback(called.append)
    assert called == [future]
    return returned


def make(run: Run, kind: Any) -> Any:
    """A future whose lock the explorer sees, in no line."""
    pool: Any = SimpleNamespace(lease=False, cache=SimpleNamespace(_new_latch=run.mailbox), stand_by=POOL.stand_by)
    if kind is LazyFuture:

        class Virtual(LazyFuture[Any]):
            _condition = _Condition(run.condition)

        return Virtual(pool, CALL)
    future = kind(pool, CALL)
    future._condition = run.condition()
    return future


def ends(kind: Any, error: BaseException | None, run: Run) -> Any:
    """A future begins and ends, while others wait for it, add callbacks, and look twice while they have the lock."""
    future = make(run, kind)
    seen: list[Any] = []

    class Waiter:
        def add_result(self, future: Any) -> None:
            seen.append("told")

        add_exception = add_result

    def resolve() -> None:
        assert future.cached_begin() is CALL
        future.cached_resolve(None if error else 1, error)

    def wait() -> None:
        assert future.exception() is error
        seen.append("waited")

    def look() -> None:
        with future._condition:
            before = future._state == "FINISHED"
            run.wait(lambda: True)
            assert (future._state == "FINISHED") == before
            future._waiters.append(Waiter())
        if before:
            seen.append("told")
        future.add_done_callback(lambda _: seen.append("called"))

    for target in (resolve, wait, look):
        run.spawn(target)

    def check() -> None:
        assert sorted(seen) == ["called", "told", "waited"]
        assert future.done() and future.exception(0) is error

    return check


def is_cancelled(kind: Any, _: object, run: Run) -> Any:
    """A future begins while two cancel it and one waits for it: it runs, or is cancelled and that announced."""
    future = make(run, kind)
    seen: list[Any] = []
    cancelled: list[bool] = []
    future.add_done_callback(lambda _: seen.append("called"))

    def begin() -> None:
        call = future.cached_begin()
        if call is not None:
            seen.append("run")
            future.cached_resolve(1, None)

    def wait() -> None:
        try:
            future.result()
        except CancelledError:
            seen.append("cancelled")

    for target in (begin, wait, *[lambda: cancelled.append(future.cancel())] * 2):
        run.spawn(target)

    def check() -> None:
        assert cancelled in ([False, False], [True, True])
        assert sorted(seen) == sorted(["called", "cancelled" if cancelled[0] else "run"])
        assert not future.cached_call
        assert future._state == ("CANCELLED_AND_NOTIFIED" if cancelled[0] else "FINISHED")

    return check


SCENARIOS: list[Any] = [(ends, None), (ends, KeyError()), (is_cancelled, None)]


@pytest.mark.storm
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize(("scenario", "error"), SCENARIOS, ids=["returns", "raises", "is_cancelled"])
def test_races_1_and_2_every_schedule(scenario: Any, kind: Any, error: Any) -> None:
    everywhere(partial(scenario, kind, error))
    if OPCODES:
        explore(partial(scenario, kind, error), bound=1, opcodes=True)


def test_race_2_whoever_cancels_is_interrupted() -> None:
    """Between taking the call and saying so. The runner cancels it then, and tells everybody."""
    future = LazyFuture[int](POOL, CALL)
    called: list[Any] = []
    future.add_done_callback(called.append)
    future.cached_call.pop()
    assert not future.done()
    assert future.cached_begin() is None
    assert future.cancelled()
    assert called == [future]
    assert concurrent.futures.wait([future], 0).done == {future}


# What strikes from outside


def strike() -> None:
    raise KeyboardInterrupt


@pytest.mark.skipif(not OPCODES, reason="needs to know where an interrupt can strike")
@pytest.mark.parametrize("looked", [False, True])
@pytest.mark.parametrize("error", [None, KeyError()], ids=["returns", "raises"])
def test_g9_whoever_resolves_is_struck(looked: bool, error: Any) -> None:
    """The runner tries again if it is not done; nobody waits for ever, and the outcome is one or the other."""
    struck = 0
    for inject in at_each_opcode(between_calls=True, where=OURS):
        future = LazyFuture[int](POOL, CALL)
        future.cached_begin()
        waiting = threading.Event()
        if looked:
            future._condition = SlowCondition(waiting)  # type: ignore[assignment]
            future.cached_first.append(None)
        waiter = threading.Thread(target=future.exception, args=(None,), daemon=True)
        told: list[Any] = []
        if looked:
            future._waiters.append(SimpleNamespace(add_result=told.append, add_exception=told.append))
            waiter.start()
            assert waiting.wait(DEADLINE)
        raised = inject(strike, partial(future.cached_resolve, None if error else 1, error))
        assert inject.struck == isinstance(raised, KeyboardInterrupt)
        if not future.done():
            future.cached_resolve(None, raised)
        if looked:
            waiter.join(DEADLINE)
            assert not waiter.is_alive(), f"waits for ever, struck at {inject.target}"
            assert told == [future]
        assert future.exception(0) in {error, raised}
        struck += inject.struck
    assert struck > (3 if looked else 0)


class SlowCondition(threading.Condition):
    """Says when somebody is about to wait: whoever gets the lock after that finds them waiting."""

    def __init__(self, waiting: threading.Event) -> None:
        super().__init__()
        self.waiting = waiting

    def wait(self, timeout: float | None = None) -> bool:
        self.waiting.set()
        return super().wait(timeout)


@pytest.mark.skipif(not OPCODES, reason="needs to know where an interrupt can strike")
@pytest.mark.parametrize("name", ["result", "exception", "cancel"])
def test_g10_whoever_looks_is_interrupted(name: str) -> None:
    """The future can go on, and others get what they want of it."""
    struck = 0
    for inject in at_each_opcode(between_calls=True, where=OURS):
        future = LazyFuture[int](POOL, CALL)
        if name != "cancel":
            future.cached_begin()
        look = getattr(future, name)
        raised = inject(strike, look if name == "cancel" else partial(look, 0.001))
        assert isinstance(raised, KeyboardInterrupt) == inject.struck
        if name == "cancel":
            call = future.cached_begin()
            assert (call is None) == future.cancelled()
            if call is None:
                (result,) = in_threads(future.result)
                assert isinstance(result, CancelledError)
                struck += inject.struck
                continue
        future.cached_resolve(1, None)
        assert in_threads(future.result, future.exception, future.cancel) == [1, None, False]
        struck += inject.struck
    assert struck > 3


def test_g10_a_claimed_future_goes_back_where_the_wait_is_struck() -> None:
    """In a pool of one, whoever waits in a job serves the line; struck before a future has begun, it is not lost."""

    class Once(LazyFuture[Any]):
        armed = False

        def cached_begin(self) -> Any:
            if self.armed:
                self.armed = False
                raise KeyboardInterrupt
            return super().cached_begin()

    def outer() -> Any:
        inner = executor.submit(int)
        inner.armed = True  # type: ignore[attr-defined]
        with pytest.raises(KeyboardInterrupt):
            inner.result()
        return inner

    with CachedThreadPoolExecutor(1) as executor:
        executor._CachedThreadPoolExecutor__pool.new_future = Once  # type: ignore[attr-defined]
        assert executor.submit(outer).result(DEADLINE).result(DEADLINE) == 0


# Which class it is


class InSlots:
    __slots__ = ("_condition",)


def as_base(*leave_out: str, **more: Any) -> Any:
    """A class like the standard library's future, but for some methods."""
    methods = {name: value for name, value in vars(Base).items() if name not in {"__dict__", "__weakref__", *leave_out}}
    return type("Future", (), {**methods, **more})


def made_with(change: Callable[[Any], object]) -> Any:
    def make(self: Any) -> None:
        Base.__init__(self)
        change(vars(self))

    return as_base(__init__=make)


def test_the_shape_is_known() -> None:
    assert new_future is LazyFuture
    assert has_known_shape(Base)
    assert has_known_shape(as_base())


@pytest.mark.parametrize(
    "base",
    [
        made_with(lambda attributes: attributes.update(_more=None)),
        made_with(lambda attributes: attributes.pop("_waiters")),
        made_with(lambda attributes: attributes.update(_state=0)),
        made_with(lambda attributes: attributes.update(_condition=threading.Lock())),
        as_base(more=lambda self: self._more()),
        as_base("cancel", "set_result", "set_exception"),
        InSlots,
    ],
    ids=[
        *("more_attributes", "fewer_attributes", "another_state", "another_lock"),
        *("more_names", "fewer_names", "no_attributes"),
    ],
)
def test_the_shape_is_not_known(base: Any) -> None:
    assert not has_known_shape(base)


def test_the_explorer_finds_a_state_that_is_written_without_a_look() -> None:
    """The explorer can fail: a resolver that does not see that somebody has looked, and wakes nobody."""

    class Careless(LazyFuture[Any]):
        def cached_resolve(self, result: Any, error: Any) -> None:
            self._result, self._exception, self._state = result, error, "FINISHED"

    def scenario(run: Run) -> Any:
        future = make(run, LazyFuture)
        future.__class__ = type("Virtual", (Careless,), {"_condition": _Condition(run.condition)})
        run.spawn(lambda: [future.cached_begin(), future.cached_resolve(1, None)])
        run.spawn(future.result)
        return lambda: None

    with pytest.raises(Deadlock):
        explore(scenario, bound=2)
