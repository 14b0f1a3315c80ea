"""Files written, read, looked at, renamed and deleted, with aiofiles, with AnyIO and with Trio."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiofiles
import aiofiles.os
import anyio
import trio

from . import Program, Seen, on_anyio, on_asyncio

FILES = 12


def text(number: int) -> str:
    return "".join(f"line {line} of file {number}\n" for line in range(number + 1))


def expected() -> tuple[dict[int, tuple[int, int, str]], list[str]]:
    """What each of the programs returns: lines, size and checksum of each file, and the names of what is left."""
    texts = {number: text(number).encode() for number in range(FILES)}
    facts = {number: (number + 1, len(data), sha256(data).hexdigest()) for number, data in texts.items()}
    return facts, sorted(f"{number}.old" for number in range(0, FILES, 2))


def opener(seen: Seen) -> Callable[[str, int], int]:
    """What opens a file, wherever it is called, and tells where that was."""

    def open_here(path: str, flags: int) -> int:
        seen.here()
        return os.open(path, flags, 0o600)

    return open_here


def with_aiofiles(backend: str) -> Program:
    async def main(folder: Path, seen: Seen, at_a_time: int) -> Any:
        limit = asyncio.Semaphore(at_a_time)
        open_file = partial(aiofiles.open, opener=opener(seen), encoding="utf-8", newline="\n")

        async def handle(number: int) -> tuple[int, tuple[int, int, str]]:
            async with limit:
                path = folder / f"{number}.txt"
                async with open_file(path, "w") as file:
                    await file.writelines(text(number).splitlines(keepends=True))
                async with open_file(path) as file:
                    lines = [line async for line in file]
                async with aiofiles.open(path, "rb", opener=opener(seen)) as file:
                    digest = sha256(await file.read()).hexdigest()
                size = (await aiofiles.os.stat(path)).st_size
                old = path.with_suffix(".old")
                await aiofiles.os.rename(path, old)
                if number % 2:
                    await aiofiles.os.remove(old)
                return number, (len(lines), size, digest)

        facts = await asyncio.gather(*(handle(number) for number in range(FILES)))
        return dict(facts), sorted(await aiofiles.os.listdir(folder))

    return partial(on_asyncio, backend, main)


def with_anyio(backend: str) -> Program:
    async def main(folder: Path, seen: Seen, at_a_time: int) -> Any:
        limit = anyio.CapacityLimiter(at_a_time)
        facts: dict[int, tuple[int, int, str]] = {}

        async def handle(number: int) -> None:
            async with limit:
                path = anyio.Path(folder / f"{number}.txt")
                async with await anyio.open_file(
                    path, "w", opener=opener(seen), encoding="utf-8", newline="\n"
                ) as file:
                    await file.writelines(text(number).splitlines(keepends=True))
                async with await anyio.open_file(path, opener=opener(seen), encoding="utf-8") as file:
                    lines = [line async for line in file]
                digest = sha256(await path.read_bytes()).hexdigest()
                facts[number] = len(lines), (await path.stat()).st_size, digest
                old = await path.rename(path.with_suffix(".old"))
                if number % 2:
                    await old.unlink()

        async with anyio.create_task_group() as group:
            for number in range(FILES):
                group.start_soon(handle, number)
        return facts, sorted([path.name async for path in anyio.Path(folder).iterdir()])

    return partial(on_anyio, backend, main)


def with_trio() -> Program:
    async def main(folder: Path, seen: Seen, at_a_time: int) -> Any:
        limit = trio.Semaphore(at_a_time)
        facts: dict[int, tuple[int, int, str]] = {}

        async def handle(number: int) -> None:
            async with limit:
                path = trio.Path(folder / f"{number}.txt")
                async with await trio.open_file(path, "w", opener=opener(seen), encoding="utf-8", newline="\n") as file:
                    await file.writelines(text(number).splitlines(keepends=True))
                async with await trio.open_file(path, opener=opener(seen), encoding="utf-8") as file:
                    lines = [line async for line in file]
                digest = sha256(await path.read_bytes()).hexdigest()
                facts[number] = len(lines), (await path.stat()).st_size, digest
                old = await path.rename(path.with_suffix(".old"))
                if number % 2:
                    await old.unlink()

        async with trio.open_nursery() as nursery:
            for number in range(FILES):
                nursery.start_soon(handle, number)
        return facts, sorted([path.name for path in await trio.Path(folder).iterdir()])

    return partial(trio.run, main)
