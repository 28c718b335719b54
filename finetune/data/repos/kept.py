"""Contents of the files at a repository's commit, held for its history: what git has given once it is not asked for again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from finetune.data.repos.git import Blob


class Kept:
    """Blobs by the folder of their objects and by id: at most `room` bytes together, the first that were read."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._contents: dict[str, dict[str, bytes]] = {}

    def through(self, objects: str, oids: Sequence[str], read: Callable[[list[str]], Iterator[Blob]], max_bytes: int) -> Iterator[Blob]:
        """One Blob for each id, in order: those that are here, and what `read` gives of the others, kept as far as there is room."""
        contents = self._contents.setdefault(objects, {})
        here = contents.keys() & set(oids)  # not asked later: what is put here meanwhile has been asked of git
        rest = read([oid for oid in oids if oid not in here])
        for oid in oids:
            if oid not in here:
                blob = next(rest)
                self._put(contents, blob)
                yield blob
            elif len(contents[oid]) > max_bytes:
                yield Blob(oid, reason="too_large")
            else:
                yield Blob(oid, contents[oid])

    def fill(self) -> None:
        """Takes in no more: who reads from now on is the last to do so."""
        self._room = 0

    def forget(self, objects: str) -> None:
        """Lets go what is of one folder."""
        self._contents.pop(objects, None)

    def _put(self, contents: dict[str, bytes], blob: Blob) -> None:
        if blob.reason is None and len(blob.content) <= self._room and blob.oid not in contents:
            self._room -= len(blob.content)
            contents[blob.oid] = blob.content
