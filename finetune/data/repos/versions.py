"""The versions of files as text, each read once."""

from __future__ import annotations

from collections import Counter

from finetune.data.repos.git import Store
from finetune.data.texts import Text, decode


class Versions:
    """Texts by blob id: each blob is read once, in the order of first use, and let go after its last."""

    def __init__(self, store: Store, uses: Counter[str], max_bytes: int) -> None:
        self._blobs = store.blobs(uses, max_bytes=max_bytes)
        self._uses = uses
        self._held: dict[str, Text] = {}

    def take(self, oid: str) -> Text:
        """The text, for one of its uses."""
        held = self._held
        while oid not in held:
            blob = next(self._blobs)
            held[blob.oid] = decode(blob)
        left = self._uses[oid] = self._uses[oid] - 1
        return held[oid] if left else held.pop(oid)
