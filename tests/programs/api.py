"""A FastAPI application with dependencies that block, and its client."""

# No `from __future__ import annotations`: FastAPI evaluates them, and finds only what is global.

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException
from pydantic import BaseModel

from . import Program, Seen, on_anyio
from .web import Caller, ask, caller

ORDERS = 15

PATHS = [f"/orders/{number}" for number in range(ORDERS)]


class Order(BaseModel):
    number: int
    text: str
    caller: str


def expected() -> dict[str, tuple[int, str]]:
    found = {
        number: (200, f'{{"number":{number},"text":"order {number}","caller":"/orders/{number}"}}')
        for number in range(ORDERS)
        if number % 3
    }
    return {path: found.get(number, (404, '{"detail":"no such order"}')) for number, path in enumerate(PATHS)}


def make_app(folder: Path, seen: Seen, log: list[str], changed: list[str]) -> FastAPI:
    app = FastAPI()
    app.add_middleware(Caller, changed=changed)

    def user() -> str:
        seen.here()
        return caller.get()

    def orders(name: Annotated[str, Depends(user)]) -> Iterator[Path]:
        seen.here()
        log.append(f"open {name}")
        try:
            yield folder
        finally:
            seen.here()
            log.append(f"close {caller.get()}")

    @app.get("/orders/{number}")
    def get_order(
        number: int,
        name: Annotated[str, Depends(user)],
        place: Annotated[Path, Depends(orders)],
        background: BackgroundTasks,
    ) -> Order:
        seen.here()
        if number % 3 == 0:
            raise HTTPException(404, "no such order")
        path = place / f"{number}.txt"
        path.write_text(f"order {number}", "utf-8")
        background.add_task(bill, path)
        return Order(number=number, text=path.read_text("utf-8"), caller=name)

    def bill(path: Path) -> None:
        seen.here()
        path.unlink()
        log.append(f"bill {caller.get()}")

    return app


def with_fastapi(backend: str) -> Program:
    def program(folder: Path, seen: Seen, at_a_time: int) -> Any:
        log: list[str] = []
        changed: list[str] = []
        answers = on_anyio(backend, partial(ask, make_app(folder, seen, log, changed), PATHS, at_a_time))
        return {"answers": answers, "log": Counter(log), "changed": changed, "left": list(folder.iterdir())}

    return program
