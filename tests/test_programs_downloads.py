"""A program that downloads many files, with and without the cache: requests in a `ThreadPoolExecutor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from programs import run_both
from programs.downloads import FILES, expected, serving, with_requests

if TYPE_CHECKING:
    from pathlib import Path


def test_requests(tmp_path: Path) -> None:
    with serving() as url:
        with_cache, without = run_both(with_requests(url), tmp_path, "futures", at_a_time=16)
    assert with_cache.result == without.result == expected()
    assert len(with_cache.seen.in_cache) == len(without.seen.elsewhere) == FILES
    assert not with_cache.seen.elsewhere and not without.seen.in_cache
    assert with_cache.jobs and with_cache.started
    assert without.jobs == without.started == 0
