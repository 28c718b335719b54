"""Exact copies, left out across repositories."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from finetune.data.tally import Tally
from finetune.records import Change, Item, SourceFile


def drop_copies(items: Iterable[Item], tally: Tally) -> Iterator[Item]:
    """Items without those whose content came before; a change that changes nothing is left out too.

    Two files are copies when their text is the same, two changes when path, before and after are.
    The first to come is kept. `open_repositories` sorts by name and the readers keep git's order of paths, so
    the copy that stays is the one with the least (repository, path), in whatever order a recipe names the repositories.
    Run it after redaction, so that two files which differ only in a secret are copies, and before the split,
    so that no text is on both sides.
    """
    seen: set[bytes] = set()
    for item in items:
        if isinstance(item, Change) and item.before == item.after:
            tally.drop(item.origin, "unchanged")
            continue
        content = digest(item)
        if content in seen:
            tally.drop(item.origin, "copy")
            continue
        seen.add(content)
        yield item


def digest(item: Item) -> bytes:
    """16 bytes that stand for the item's content: a clash is less likely than a broken disk."""
    match item:
        case SourceFile():
            parts = ["file", item.text]
        case Change():
            parts = ["change", item.origin.path, item.before, item.after]
    content = hashlib.blake2b(digest_size=16)
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        content.update(len(encoded).to_bytes(8, "big"))
        content.update(encoded)
    return content.digest()
