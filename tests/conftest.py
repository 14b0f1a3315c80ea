"""What the tests share: caches that must end empty, children with deadlines, and waiting that is not sleeping."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

import threadcache
from threadcache._mailbox import Mailbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEADLINE = 30.0
"""Seconds after which a test gives up waiting for what must come; nothing is decided by how long it took."""

MAILBOXES: dict[str, Any] = {"pure": Mailbox}
with contextlib.suppress(ImportError):  # where it was not built; CI says so, for there it must be
    from threadcache._native import Mailbox as NativeMailbox

    MAILBOXES["native"] = NativeMailbox


class Harness:
    """Makes caches over one mailbox implementation, and calls into them."""

    def __init__(self, mailbox: Callable[[], Any]) -> None:
        self.mailbox = mailbox
        self.caches: list[threadcache.ThreadCache] = []

    def __call__(self, **arguments: Any) -> threadcache.ThreadCache:
        cache = threadcache.ThreadCache(**{"_new_mailbox": self.mailbox, **arguments})
        self.caches.append(cache)
        return cache


@pytest.fixture(params=sorted(MAILBOXES))
def make_cache(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """A factory of caches, which must be empty again after the test."""
    harness = Harness(MAILBOXES[request.param])
    yield harness
    for cache in harness.caches:
        assert cache.drain(DEADLINE), cache
        assert not cache._workers and not cache._idle and not cache._line


@pytest.fixture
def cache(make_cache: Harness) -> threadcache.ThreadCache:
    return make_cache()


def call(cache: Any, fn: Callable[[], Any], name: str | None = None) -> Any:
    """Run ``fn`` as a job, and return or raise what it did."""
    results: SimpleQueue[Any] = SimpleQueue()
    cache.start_thread_soon(fn, results.put, name)
    return results.get(timeout=DEADLINE).unwrap()


def until(condition: Callable[[], object]) -> None:
    """Wait until ``condition()`` holds, which it must before the deadline."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "the deadline has passed"
        time.sleep(0.0005)


def child(code: str, *options: str, timeout: float = 60, check: bool = True, **environment: str) -> Any:
    """Run ``code`` in a Python of its own, which must end by itself before ``timeout`` seconds."""
    done = subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, **environment},
    )
    if check:
        assert done.returncode == 0, done
    return done
