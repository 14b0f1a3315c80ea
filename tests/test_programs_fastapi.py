"""An application whose endpoints and dependencies block, with and without the cache: FastAPI."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from programs import BACKENDS, run_both

pytest.importorskip("fastapi", reason="there is no FastAPI here")

from programs.api import ORDERS, PATHS, expected, with_fastapi

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("backend", BACKENDS)
def test_fastapi(tmp_path: Path, backend: str) -> None:
    with_cache, without = run_both(with_fastapi(backend), tmp_path, "anyio", at_a_time=50)
    billed = [path for number, path in enumerate(PATHS) if number % 3]
    for run in (with_cache, without):
        assert run.result["answers"] == expected()
        assert run.result["log"] == dict.fromkeys(
            [f"{what} {path}" for what in ("open", "close") for path in PATHS] + [f"bill {path}" for path in billed], 1
        )
        assert run.result["changed"] == run.result["left"] == []
    assert with_cache.seen.in_cache and not with_cache.seen.elsewhere
    assert without.seen.elsewhere and not without.seen.in_cache
    # One dependency, the two ends of the other, the endpoint; and the task.
    assert len(with_cache.seen.in_cache) == len(without.seen.elsewhere) == 4 * ORDERS + len(billed)
    assert with_cache.jobs >= len(with_cache.seen.in_cache)
    assert without.jobs == without.started == 0
