"""Counts of what was read, kept and dropped, and why.

One tally counts one kind of thing: files (every path of the tree) or changes (every commit looked at). Keep the two apart
and join them with `+` for a total. At the end of a pipeline `read == kept + sum(dropped.values())`: `lost` is 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from finetune.records import Origin

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Decision:
    """One thing left out, and the reason."""

    origin: Origin
    reason: str


@dataclass(slots=True)
class Tally:
    """What happened to everything that was looked at.

    Readers add to `read`, every stage drops with a reason, and the last stage counts what is left with `keep`.
    """

    read: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    redactions: Counter[str] = field(default_factory=Counter)
    decisions: list[Decision] = field(default_factory=list)

    def drop(self, origin: Origin, reason: str) -> None:
        """Counts and remembers one thing left out."""
        self.dropped[reason] += 1
        self.decisions.append(Decision(origin, reason))

    def keep(self, items: Iterable[T]) -> Iterator[T]:
        """The items as they come, each counted as kept: the last stage of a pipeline."""
        for item in items:
            self.kept += 1
            yield item

    @property
    def lost(self) -> int:
        """How many things were neither kept nor dropped: 0, or a stage is wrong."""
        return self.read - self.kept - self.dropped.total()

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.read + other.read,
            self.kept + other.kept,
            self.dropped + other.dropped,
            self.redactions + other.redactions,
            self.decisions + other.decisions,
        )
