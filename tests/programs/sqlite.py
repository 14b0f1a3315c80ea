"""Tables filled from files that are read in threads, with aiosqlite."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import aiosqlite

from . import Program, SeenApart, on_asyncio

TABLES = 12
CONNECTIONS = 3


def expected() -> list[tuple[int, int, int]]:
    """Number, rows and sum of each table."""
    return [(number, number + 1, sum(range(number + 1))) for number in range(TABLES)]


def with_aiosqlite(backend: str) -> Program:
    async def main(folder: Path, seen: SeenApart, at_a_time: int) -> Any:
        limit = asyncio.Semaphore(at_a_time)

        def read(number: int) -> list[tuple[int, int]]:
            seen.here()
            path = folder / f"{number}.csv"
            path.write_text("".join(f"{number},{value}\n" for value in range(number + 1)), "utf-8")
            table = [line.split(",") for line in path.read_text("utf-8").splitlines()]
            return [(int(key), int(value)) for key, value in table]

        async def load(number: int, connection: aiosqlite.Connection) -> None:
            async with limit:
                rows = await asyncio.to_thread(read, number)
                # A cursor that is let go here, and not closed, resets its statement here, while the connection's thread
                # may be using it again: "bad parameter or other API misuse", once in ten runs on Python 3.11.
                async with connection.executemany("INSERT INTO facts VALUES (?, ?)", rows):
                    pass
                await connection.commit()
                async with connection.execute("SELECT here()") as cursor:
                    assert await cursor.fetchall() == [(None,)]

        async with AsyncExitStack() as stack:
            connections = [
                await stack.enter_async_context(aiosqlite.connect(folder / f"{number}.db"))
                for number in range(CONNECTIONS)
            ]
            for connection in connections:
                await connection.create_function("here", 0, seen.apart.here)
                async with connection.execute("CREATE TABLE facts (key INTEGER, value INTEGER)"):
                    pass
            await asyncio.gather(*(load(number, connections[number % CONNECTIONS]) for number in range(TABLES)))
            found = []
            for connection in connections:
                async with connection.execute("SELECT key, count(*), sum(value) FROM facts GROUP BY key") as cursor:
                    found += [row async for row in cursor]
        return sorted(found)

    return partial(on_asyncio, backend, main)
