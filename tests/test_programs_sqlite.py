"""A program with a database, with and without the cache: aiosqlite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from programs import ASYNCIO, run_both
from programs.sqlite import CONNECTIONS, TABLES, expected, with_aiosqlite

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("backend", ASYNCIO)
def test_aiosqlite(tmp_path: Path, backend: str) -> None:
    """aiosqlite starts a `threading.Thread` for each connection, and that stays as it is; the rest is on the cache."""
    with_cache, without = run_both(with_aiosqlite(backend), tmp_path, "asyncio")
    assert with_cache.result == without.result == expected()
    for run in (with_cache, without):
        assert len(run.seen.apart.elsewhere) == TABLES and not run.seen.apart.in_cache
        assert len(set(run.seen.apart.elsewhere)) == CONNECTIONS
    assert len(with_cache.seen.in_cache) == len(without.seen.elsewhere) == TABLES
    assert not with_cache.seen.elsewhere and not without.seen.in_cache
    assert 1 <= with_cache.jobs <= TABLES
    assert without.jobs == without.started == 0
