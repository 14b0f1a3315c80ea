"""A Starlette application whose endpoints block, and its client."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from . import Program, Seen, on_anyio

ROUNDS = 6

caller: ContextVar[str] = ContextVar("caller", default="nobody")


class Caller:
    """Sets the context variable for what runs within, and counts those calls that have changed it here outside."""

    def __init__(self, app: Any, changed: list[str]) -> None:
        self.app = app
        self.changed = changed

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        name = dict(scope["headers"])[b"x-caller"].decode()
        caller.set(name)
        await self.app(scope, receive, send)
        if caller.get() != name:
            self.changed.append(name)


class Shop:
    """The application."""

    def __init__(self, folder: Path, seen: Seen) -> None:
        self.folder = folder
        self.seen = seen
        self.done: list[str] = []
        self.changed: list[str] = []
        (folder / "static").mkdir()
        for number in range(ROUNDS):
            (folder / "static" / f"{number}.txt").write_bytes(b"static" * number)
        self.app = Starlette(
            routes=[
                Route("/square/{number:int}", self.square),
                Route("/count/{number:int}", self.count),
                Route("/file/{number:int}", self.file),
                Route("/later/{number:int}", self.later),
                Route("/fail/{number:int}", self.fail),
                Mount("/static", StaticFiles(directory=folder / "static")),
            ],
            middleware=[Middleware(Caller, changed=self.changed)],
            exception_handlers={ArithmeticError: self.failed},
        )

    def square(self, request: Request) -> Response:
        self.seen.here()
        number, name = request.path_params["number"], caller.get()
        caller.set("somebody else")
        return JSONResponse({"square": number**2, "caller": name})

    def count(self, request: Request) -> Response:
        def lines() -> Iterator[str]:
            for number in range(request.path_params["number"]):
                self.seen.here()
                yield f"{number} {caller.get()}\n"

        return StreamingResponse(lines())

    def file(self, request: Request) -> Response:
        self.seen.here()
        return FileResponse(self.folder / "static" / f"{request.path_params['number']}.txt")

    def later(self, request: Request) -> Response:
        def task() -> None:
            self.seen.here()
            self.done.append(f"{request.path_params['number']} {caller.get()}")

        return PlainTextResponse("later", background=BackgroundTask(task))

    def fail(self, request: Request) -> Response:
        self.seen.here()
        return PlainTextResponse(str(1 / (request.path_params["number"] % 2)))

    def failed(self, request: Request, error: Exception) -> Response:
        self.seen.here()
        return PlainTextResponse(f"{type(error).__name__} {caller.get()}", status_code=500)


PATHS = [
    f"/{what}{suffix}"
    for number in range(ROUNDS)
    for what, suffix in [
        ("square", f"/{number}"),
        ("count", f"/{number}"),
        ("file", f"/{number}"),
        ("later", f"/{number}"),
        ("fail", f"/{number}"),
        ("static", f"/{number}.txt"),
        ("static", f"/{number}.missing"),
    ]
]


def expected() -> dict[str, tuple[int, str]]:
    answers = {}
    for path in PATHS:
        _, what, name = path.split("/")
        number = int(name.partition(".")[0])
        answers[path] = {
            "square": (200, f'{{"square":{number**2},"caller":"{path}"}}'),
            "count": (200, "".join(f"{line} {path}\n" for line in range(number))),
            "file": (200, "static" * number),
            "later": (200, "later"),
            "fail": (200, "1.0") if number % 2 else (500, f"ZeroDivisionError {path}"),
            "static": (404, "Not Found") if name.endswith("missing") else (200, "static" * number),
        }[what]
    return answers


async def ask(app: Any, paths: list[str], at_a_time: int) -> dict[str, tuple[int, str]]:
    """Get all the paths, so many at a time. The caller gives its path for its name."""
    limit = anyio.CapacityLimiter(at_a_time)
    answers: dict[str, tuple[int, str]] = {}

    async def get(path: str) -> None:
        async with limit:
            answer = await client.get(path, headers={"x-caller": path})
            answers[path] = answer.status_code, answer.text

    transport = httpx.ASGITransport(app)
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://shop", trust_env=False) as client,
        anyio.create_task_group() as group,
    ):
        for path in paths:
            group.start_soon(get, path)
    return answers


def with_starlette(backend: str) -> Program:
    def program(folder: Path, seen: Seen, at_a_time: int) -> Any:
        shop = Shop(folder, seen)
        answers = on_anyio(backend, partial(ask, shop.app, PATHS, at_a_time))
        return {"answers": answers, "done": Counter(shop.done), "changed": shop.changed}

    return program
