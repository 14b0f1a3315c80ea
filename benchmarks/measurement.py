"""What a measurement is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic

from contenders import Adapter, Contender
from workloads import Params, Round


@dataclass(frozen=True)
class Measurement(Generic[Adapter]):
    """One workload, done by several contenders in turn."""

    name: str
    workload: Callable[[Adapter, Params], Round]
    contenders: tuple[Contender[Adapter], ...]
    twice: Contender[Adapter]  # who is compared with itself
    params: Mapping[str, float]
    quick: Mapping[str, float] = field(default_factory=dict)  # parameters that --quick changes
    rounds: int = 20
    quick_rounds: int = 4
    # Rounds until a contender gets a new process. How a process and its threads happen to lie in memory and on the
    # cores lasts as long as it does: more rounds of the same one would be surer of the same chance.
    per_child: int = 4
    linux_only: bool = False
