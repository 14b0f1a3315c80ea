"""The goals: how fast the cache wants to be, in one place.

A goal is a ratio of medians, ours to a peer's of the same run (below 1 is faster or cheaper than the peer), on two
cores under CPython 3.13 with the GIL; or, where no peer does what is wanted, a value in the row's own unit. It has
one number for each mailbox: the pure Python one, and the native one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Mailbox = Literal["pure", "native"]
MAILBOXES: tuple[Mailbox, ...] = get_args(Mailbox)


@dataclass(frozen=True)
class Goal:
    """What a row should not exceed, for each mailbox."""

    pure: float
    native: float
    kind: Literal["ratio", "value"] = "ratio"

    def for_mailbox(self, mailbox: Mailbox) -> float:
        return self.pure if mailbox == "pure" else self.native


# By name of the row (see rows.py).
GOALS: dict[str, Goal] = {
    "round-trip": Goal(pure=1.0, native=0.28),
    "submit": Goal(pure=0.95, native=0.07),
    "chain": Goal(pure=0.6, native=0.45),
    "burst": Goal(pure=0.06, native=0.06),
    "submit-result": Goal(pure=0.9, native=0.08),
    "submit-many": Goal(pure=0.6, native=0.25),
    "short-lived": Goal(pure=0.15, native=0.12),
    "await-1": Goal(pure=0.85, native=0.09),
    "await-16": Goal(pure=0.3, native=0.15),
    "await-256": Goal(pure=0.25, native=0.12),
    "trio": Goal(pure=0.8, native=0.6),
    "blocking": Goal(pure=0.6, native=0.5),
    "memory": Goal(pure=0.88, native=0.86),
    "cpu-1k": Goal(pure=0.7, native=1.0),
    "cpu-10k": Goal(pure=0.7, native=1.0),
    "cpu-20k": Goal(pure=0.7, native=1.0),
    "idle-cpu": Goal(pure=0.0, native=0.0, kind="value"),
    "neighbour": Goal(pure=1.0, native=1.0),
}
