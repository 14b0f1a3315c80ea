"""Which mailbox is in use is decided here and nowhere else."""

from __future__ import annotations

from ._mailbox import Mailbox

__all__ = ["MAILBOX", "Mailbox"]

MAILBOX = "pure"
"""The name of the implementation, as ``python -m threadcache info`` shows it."""
