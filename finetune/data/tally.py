"""Counts of what was read, kept and dropped, and why.

One tally counts one kind of thing: files (every path of the tree) or changes (every commit looked at). Keep the two apart
and join them with `+` for a total. At the end of a pipeline `read == kept + sum(dropped.values())`: `lost` is 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from finetune.records import Item, Origin, SourceFile


@dataclass(frozen=True, slots=True)
class Decision:
    """One thing left out, and the reason; `detail` says in favour of what, or because of what, where there is more to say.

    `size` in bytes, where it is known of what was never read.
    """

    origin: Origin
    reason: str
    detail: str = ""
    size: int | None = None


class Looks(NamedTuple):
    """What is known of a thing that was read as text: its language, and its size (bytes; of a change, the new file's)."""

    language: str
    size: int


@dataclass(frozen=True, slots=True)
class Redaction:
    """One value that was replaced, told without the value. `part`: the text it stood in; `shown`: that line after the replacement."""

    origin: Origin
    part: str
    kind: str
    line: int
    shown: str


@dataclass(slots=True)
class Tally:
    """What happened to everything that was looked at.

    Readers add to `read`, every stage drops with a reason, and the last stage counts what is left in `kept`.
    """

    read: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    redactions: Counter[str] = field(default_factory=Counter)
    decisions: list[Decision] = field(default_factory=list)
    review: dict[tuple[str | int, ...], Redaction] = field(default_factory=dict)
    looks: dict[Origin, Looks] = field(default_factory=dict)
    redacted_in: Counter[Origin] = field(default_factory=Counter)

    def look(self, item: Item) -> None:
        """Remembers what is to be said of a thing that was read, kept or not."""
        text = item.text if isinstance(item, SourceFile) else item.after
        size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        self.looks[item.origin] = Looks(item.language, size)

    def redacted(self, found: Iterable[Redaction]) -> None:
        """Counts the values replaced in one text; the list for review holds a file's each, and those of a line of its history once."""
        alike = Counter[tuple[str | int, ...]]()
        for each in found:
            self.redactions[each.kind] += 1
            self.redacted_in[each.origin] += 1
            line = each.line if each.part == "text" else 0  # the versions of a file repeat it, at other lines
            key = (each.origin.repo, each.origin.path, each.kind, each.shown, line)
            alike[key] += 1  # two on one short line are shown alike
            self.review.setdefault((*key, alike[key]), each)

    def drop(self, origin: Origin, reason: str, detail: str = "", *, size: int | None = None) -> None:
        """Counts and remembers one thing left out."""
        self.dropped[reason] += 1
        self.decisions.append(Decision(origin, reason, detail, size))

    def count(self, other: Tally) -> None:
        """Adds another's numbers to these, without a list of what they are of."""
        self.read += other.read
        self.kept += other.kept
        self.dropped += other.dropped
        self.redactions += other.redactions

    def take_back(self, origin: Origin, reason: str, detail: str = "") -> None:
        """Leaves out one thing that was counted as kept."""
        self.kept -= 1
        self.drop(origin, reason, detail)

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
            other.review | self.review,
            self.looks | other.looks,
            self.redacted_in + other.redacted_in,
        )
