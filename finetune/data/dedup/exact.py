"""Exact copies."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from finetune.data.tally import Tally
from finetune.records import Change, Item, SourceFile


def drop_copies(changes: Iterable[Change], tally: Tally) -> Iterator[Change]:
    """Changes without those that do what one before them did; one that changes nothing is left out too.

    The first to come is kept. `open_repositories` sorts by name and the readers keep git's order, so which one stays does not depend on
    the order in which a recipe names the repositories. Run it after redaction, so that two that differ only in a secret are copies.
    """
    seen: set[bytes] = set()
    for change in changes:
        content = digest(change)
        if change.before == change.after:
            tally.drop(change.origin, "unchanged")
        elif content in seen:
            tally.drop(change.origin, "copy")
        else:
            seen.add(content)
            yield change


def digest(item: Item) -> bytes:
    """16 bytes that stand for the item's content: a clash is less likely than a broken disk.

    A change is its text before and after, as if by blob id: the same edit at another path or in another repository is a copy.
    """
    match item:
        case SourceFile():
            parts = ["file", item.text]
        case Change():
            parts = ["change", item.before, item.after]
    content = hashlib.blake2b(digest_size=16)
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        content.update(len(encoded).to_bytes(8, "big"))
        content.update(encoded)
    return content.digest()
