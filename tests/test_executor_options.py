"""Contexts, `map` with a buffer, and what is said of wrong arguments."""

from __future__ import annotations

import contextvars
import itertools
import math
import threading
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE, call

import threadcache
from threadcache import CachedThreadPoolExecutor, SerialExecutor

if TYPE_CHECKING:
    from collections.abc import Callable

    from threadcache import ThreadCache

LIMITS = [1, 2, 8, math.inf]
KINDS: list[Callable[..., CachedThreadPoolExecutor]] = [CachedThreadPoolExecutor, SerialExecutor]


def test_a_job_has_a_fresh_context_or_a_copy_of_the_submitters(cache: ThreadCache) -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    def swap(value: str) -> str:
        before = variable.get()
        variable.set(value)
        return before

    def check() -> None:
        variable.set("submitter's")
        with CachedThreadPoolExecutor(1, cache=cache) as executor:
            assert list(executor.map(swap, "ab")) == ["unset", "unset"]
        with CachedThreadPoolExecutor(1, cache=cache, context="copy") as executor:
            assert list(executor.map(swap, "ab")) == ["submitter's"] * 2
            assert variable.get() == "submitter's"
            variable.set("later")
            assert executor.submit(variable.get).result(DEADLINE) == "later"

    contextvars.Context().run(check)


def test_context_variables_that_the_initializer_sets_are_seen_by_jobs(cache: ThreadCache) -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    def swap() -> str:
        before = variable.get()
        variable.set("job's")
        return before

    with CachedThreadPoolExecutor(2, "", variable.set, ("initializer's",), cache=cache) as executor:
        assert {executor.submit(swap).result(DEADLINE) for _ in range(20)} == {"initializer's"}
    assert call(cache, variable.get) == "unset"


def test_a_copied_context_is_used_although_it_is_empty(cache: ThreadCache) -> None:
    """Whether jobs see what the initializer has set does not depend on what else the submitter has set."""
    variable = contextvars.ContextVar("variable", default="unset")
    other = contextvars.ContextVar("other", default="unset")

    def seen(value: str | None) -> str:
        if value is not None:
            other.set(value)
        with CachedThreadPoolExecutor(2, "", variable.set, ("set",), cache=cache, context="copy") as executor:
            return executor.submit(variable.get).result(DEADLINE)

    assert contextvars.Context().run(seen, None) == contextvars.Context().run(seen, "something")


@pytest.mark.parametrize("kind", KINDS)
def test_arguments_are_checked(kind: Callable[..., Any]) -> None:
    for at_exit in ("", "Wait", "leave", -1, -0.5, math.nan):
        with pytest.raises(ValueError, match="at_exit must be"):
            kind(at_exit=at_exit)
    for wrong in ([1], None, object()):
        with pytest.raises(TypeError, match="at_exit must be"):
            kind(at_exit=wrong)
    for at_exit in ("wait", "abandon", 0, 1.5, math.inf):
        kind(at_exit=at_exit).shutdown()
    for context in ("Copy", "", contextvars.copy_context().__class__, 1):
        with pytest.raises(ValueError, match="context must be None or"):
            kind(context=context)
    for cache in ("default", threadcache.ThreadCache, 1):
        with pytest.raises(TypeError, match="cache must be a ThreadCache, not "):
            kind(cache=cache)
    with pytest.raises(TypeError):
        kind(1, "", None, (), "wait")


def test_not_a_number_is_no_number_of_workers() -> None:
    with pytest.raises(ValueError, match=r"^max_workers must be greater than 0$"):
        CachedThreadPoolExecutor(math.nan)


@pytest.mark.parametrize("workers", LIMITS)
def test_map_takes_from_endless_iterables_what_the_buffer_holds(cache: ThreadCache, workers: float) -> None:
    taken = itertools.count()
    pulled = [0]

    def numbers() -> Any:
        for pulled[0] in itertools.count(1):
            yield pulled[0] - 1

    with CachedThreadPoolExecutor(workers, cache=cache) as executor:
        results = executor.map(pow, numbers(), itertools.repeat(2), buffersize=5)
        assert pulled == [5]
        for number in itertools.islice(taken, 50):
            assert next(results) == number**2
            assert pulled == [6 + number]
        results.close()
        assert executor.submit(int).result(DEADLINE) == 0
    assert pulled == [55]


def test_map_with_a_buffer_gives_what_map_gives(cache: ThreadCache) -> None:
    with CachedThreadPoolExecutor(3, cache=cache) as executor:
        for buffersize in (1, 2, 7, 100):
            assert list(executor.map(pow, range(20), [2] * 30, buffersize=buffersize)) == [n**2 for n in range(20)]
            assert list(executor.map(pow, [], [], buffersize=buffersize)) == []
            with pytest.raises(ZeroDivisionError):
                list(executor.map(divmod, [4, 3, 2], [2, 0, 1], buffersize=buffersize, timeout=DEADLINE))
            with pytest.raises(RuntimeError, match="StopIteration"):
                list(executor.map(next, [iter(())], buffersize=buffersize))
        release = threading.Event()
        with pytest.raises(TimeoutError):
            next(executor.map(release.wait, [DEADLINE], buffersize=2, timeout=0))
        release.set()
        for value in (1.0, "1", [1]):
            with pytest.raises(TypeError, match=r"^buffersize must be an integer or None$"):
                executor.map(int, buffersize=value)
        for value in (0, -1):
            with pytest.raises(ValueError, match=r"^buffersize must be None or > 0$"):
                executor.map(int, buffersize=value)


def test_closing_the_iterator_of_a_map_with_a_buffer_cancels_the_rest(cache: ThreadCache) -> None:
    started, release = threading.Event(), threading.Event()
    ran = []

    def job(number: int) -> int:
        if number == 1:
            started.set()
            assert release.wait(DEADLINE)
        ran.append(number)
        return number

    with CachedThreadPoolExecutor(1, cache=cache) as executor:
        results = executor.map(job, itertools.count(), buffersize=4)
        assert next(results) == 0
        assert started.wait(DEADLINE)
        results.close()
        release.set()
    assert ran == [0, 1]
