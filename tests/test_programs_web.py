"""An application whose endpoints block, with and without the cache: Starlette, on each of AnyIO's backends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from programs import BACKENDS, run_both
from programs.web import ROUNDS, expected, with_starlette

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("backend", BACKENDS)
def test_starlette(tmp_path: Path, backend: str) -> None:
    with_cache, without = run_both(with_starlette(backend), tmp_path, "anyio", at_a_time=50)
    for run in (with_cache, without):
        assert run.result["answers"] == expected()
        assert sorted(run.result["done"]) == sorted(f"{number} /later/{number}" for number in range(ROUNDS))
        assert run.result["changed"] == []
    assert with_cache.result == without.result
    assert with_cache.seen.in_cache and not with_cache.seen.elsewhere
    assert without.seen.elsewhere and not without.seen.in_cache
    assert len(with_cache.seen.in_cache) == len(without.seen.elsewhere)
    # Static files are looked up, and files opened, in jobs that cannot tell.
    assert with_cache.jobs > len(with_cache.seen.in_cache)
    assert without.jobs == without.started == 0
