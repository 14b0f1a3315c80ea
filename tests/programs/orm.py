"""Objects that are kept in a database, with SQLAlchemy's asyncio engine and, for a report, its blocking one."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import ForeignKey, create_engine, event, func, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload

from . import Program, SeenApart, on_asyncio

AUTHORS = 8


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "author"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    books: Mapped[list[Book]] = relationship(order_by="Book.title")


class Book(Base):
    __tablename__ = "book"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))


def expected() -> tuple[list[tuple[str, list[str]]], list[list[tuple[str, int]]]]:
    """The authors with their books, and a report of each author."""
    authors = [(f"author {number:02}", [f"book {title:02}" for title in range(number)]) for number in range(AUTHORS)]
    return authors, [[(name, len(books))] for name, books in authors]


def with_sqlalchemy(backend: str) -> Program:
    async def main(folder: Path, seen: SeenApart, at_a_time: int) -> Any:
        limit = asyncio.Semaphore(at_a_time)
        engine = create_async_engine(f"sqlite+aiosqlite:///{folder / 'library.db'}")

        @event.listens_for(engine.sync_engine, "connect")
        def connected(connection: Any, _: object) -> None:
            connection.create_function("here", 0, seen.apart.here)

        async def write(number: int) -> None:
            books = [Book(title=f"book {title:02}") for title in range(number)]
            async with sessions() as session, session.begin():
                session.add(Author(name=f"author {number:02}", books=books))

        async def read(number: int) -> tuple[str, list[str]]:
            async with limit, sessions() as session:
                query = select(Author).where(Author.name == f"author {number:02}").options(selectinload(Author.books))
                author = (await session.scalars(query)).one()
                assert await session.scalar(select(func.here())) is None
                return author.name, [book.title for book in author.books]

        def report(number: int) -> list[tuple[str, int]]:
            seen.here()
            with Session(blocking) as session:
                query = select(Author.name, func.count(Book.id)).join(Author.books, isouter=True).group_by(Author.id)
                return [(name, count) for name, count in session.execute(query.where(Author.id == number + 1))]

        async def report_in_a_thread(number: int) -> list[tuple[str, int]]:
            async with limit:
                return await asyncio.to_thread(report, number)

        sessions = async_sessionmaker(engine, expire_on_commit=False)
        blocking = create_engine(f"sqlite:///{folder / 'library.db'}")
        try:
            async with engine.begin() as connection:
                await connection.run_sync(Base.metadata.create_all)
            for number in range(AUTHORS):
                await write(number)
            authors = await asyncio.gather(*(read(number) for number in range(AUTHORS)))
            reports = await asyncio.gather(*(report_in_a_thread(number) for number in range(AUTHORS)))
        finally:
            await engine.dispose()
            blocking.dispose()
        return authors, reports

    return partial(on_asyncio, backend, main)
