"""Filters: reasons to leave a file out."""

from __future__ import annotations

from finetune.records import Item
from finetune.registry import Plugin, Registry


class Filter(Plugin):
    """Looks at one item and gives a reason to drop it, or None."""

    def __call__(self, item: Item) -> str | None:
        raise NotImplementedError


FILTERS: Registry[Filter] = Registry("filter", Filter)


@FILTERS.register("too_large")
class TooLarge(Filter):
    """Drop very large files."""

    max_bytes: int = 1_000_000


@FILTERS.register("vendored")
class Vendored(Filter):
    """Drop third-party code kept in the repository."""


@FILTERS.register("generated")
class Generated(Filter):
    """Drop generated and minified files."""


@FILTERS.register("long_lines")
class LongLines(Filter):
    """Drop files with very long lines."""

    max_length: int = 1000
    mean_length: int = 100
