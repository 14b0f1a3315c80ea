"""Something real: many small files read and hashed by threads, from an event loop, some at a time.

The files are written before each round, and so are in the system's memory: no disk is measured.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import perf_counter_ns

from async_contenders import Front
from workloads import Numbers, Params, Round


def _write(folder: Path, files: int, size: int) -> list[Path]:
    paths = [folder / f"{number:05}" for number in range(files)]
    for number, path in enumerate(paths):
        path.write_bytes(number.to_bytes(4).ljust(size, b"x"))  # no two alike
    return paths


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def files(front: Front, params: Params) -> Round:
    count, size, clients = int(params["files"]), int(params["KiB"] * 1024), int(params["clients"])
    call = front.call

    async def client(paths: Iterator[Path], digests: list[object]) -> None:
        # Clients share the iterator, and so the work.
        digests.extend([await call(partial(_digest, path)) for path in paths])

    async def checksums(paths: list[Path]) -> list[object]:
        remaining = iter(paths)
        digests: list[object] = []
        await front.together([partial(client, remaining, digests)] * clients)
        return digests

    async def main(paths: list[Path], times: list[int]) -> None:
        await checksums(paths[: len(paths) // 10])  # warms the threads
        began = perf_counter_ns()
        digests = await checksums(paths)
        times.append(perf_counter_ns() - began)
        assert len(set(digests)) == len(paths)

    def one_round() -> Numbers:
        times: list[int] = []
        with tempfile.TemporaryDirectory() as folder:
            front.run(partial(main, _write(Path(folder), count, size), times))
        return {"file us": times[0] / count / 1e3}

    return one_round
