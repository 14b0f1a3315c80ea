"""Programs that work on files, with and without the cache: aiofiles, AnyIO, Trio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from programs import ASYNCIO, BACKENDS, run_both
from programs.files import FILES, expected, with_aiofiles, with_anyio, with_trio

if TYPE_CHECKING:
    from pathlib import Path

    from programs import Both


def check(both: Both, opened: int) -> None:
    for run in both:
        assert run.result == expected()
        assert len(run.seen.in_cache + run.seen.elsewhere) == opened
    assert both.with_cache.seen.in_cache and not both.with_cache.seen.elsewhere
    assert both.without.seen.elsewhere and not both.without.seen.in_cache
    assert both.without.jobs == both.without.started == 0


@pytest.mark.parametrize("backend", ASYNCIO)
def test_aiofiles(tmp_path: Path, backend: str) -> None:
    both = run_both(with_aiofiles(backend), tmp_path, "asyncio")
    check(both, opened=3 * FILES)
    assert both.with_cache.jobs


@pytest.mark.parametrize("backend", BACKENDS)
def test_anyio(tmp_path: Path, backend: str) -> None:
    both = run_both(with_anyio(backend), tmp_path, "anyio")
    check(both, opened=2 * FILES)
    # Each call is a job. Of paths there are a read, a stat, a rename, half an unlink; of files at least 7.
    assert both.with_cache.jobs >= 10.5 * FILES


def test_trio(tmp_path: Path) -> None:
    both = run_both(with_trio(), tmp_path, "trio")
    check(both, opened=2 * FILES)
    assert both.with_cache.jobs >= 10.5 * FILES  # as above
