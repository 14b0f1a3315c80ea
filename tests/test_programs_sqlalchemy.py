"""A program with a database, with and without the cache: SQLAlchemy's asyncio engine on SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from programs import ASYNCIO, run_both

pytest.importorskip("sqlalchemy", reason="there is no SQLAlchemy here")
pytest.importorskip("greenlet", reason="there is no greenlet here that SQLAlchemy's asyncio could use")

from programs.orm import AUTHORS, expected, with_sqlalchemy

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("backend", ASYNCIO)
def test_sqlalchemy(tmp_path: Path, backend: str) -> None:
    """The asyncio engine uses no executor: greenlets in the loop's thread, and a thread of aiosqlite's a connection.

    That thread stays as it is. The calls that the program makes in threads, to the blocking engine, are on the cache.
    """
    with_cache, without = run_both(with_sqlalchemy(backend), tmp_path, "asyncio")
    assert with_cache.result == without.result == expected()
    for run in (with_cache, without):
        assert len(run.seen.apart.elsewhere) == AUTHORS and not run.seen.apart.in_cache
    assert len(with_cache.seen.in_cache) == len(without.seen.elsewhere) == AUTHORS
    assert not with_cache.seen.elsewhere and not without.seen.in_cache
    assert 1 <= with_cache.jobs <= AUTHORS
    assert without.jobs == without.started == 0
