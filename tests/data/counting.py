"""The end of a pipeline under test: what comes out counts as kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from finetune.data.tally import Tally

T = TypeVar("T")


def counted(items: Iterable[T], tally: Tally) -> Iterator[T]:
    """The items as they come, each counted."""
    for item in items:
        tally.kept += 1
        yield item
