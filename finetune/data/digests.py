"""Sets of digests of 16 bytes, in a file that the system keeps in memory as long as it has room.

The file is a table of places of 16 bytes, zeros where there is none; a digest lies at the place its first bytes name, or at the next one
that was free. At most half of the places are taken.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from finetune.data.room import open_array

SIZE = 16  # bytes
_NONE = bytes(SIZE)  # a digest of zeros is less likely than a broken disk
_PLACES = 1024  # of a new table


class Digests:
    """A set that grows, in a new file at `path`."""

    def __init__(self, path: Path) -> None:
        self._path, self._count = path, 0
        self._open(path, _PLACES)

    def __contains__(self, digest: object) -> bool:
        assert isinstance(digest, bytes)
        return self._table[(place := self._place(digest)) : place + SIZE] == digest

    def add(self, digest: bytes) -> None:
        """Puts a digest into the set."""
        place = self._place(digest)
        if self._table[place : place + SIZE] == digest:
            return
        self._table[place : place + SIZE] = digest
        self._count += 1
        if 2 * self._count > self._places:
            self._grow()

    def __len__(self) -> int:
        return self._count

    def _open(self, path: Path, places: int) -> None:
        self._places = places
        self._table = open_array(path, (places * SIZE,), np.uint8).data

    def _place(self, digest: bytes) -> int:
        return _place(self._table, digest)

    def _grow(self) -> None:
        old, grown = self._table, self._path.with_name(f"{self._path.name}.grown")
        self._open(grown, 2 * self._places)
        for begin in range(0, len(old), SIZE):
            if (digest := bytes(old[begin : begin + SIZE])) != _NONE:
                place = self._place(digest)
                self._table[place : place + SIZE] = digest
        grown.replace(self._path)


class Since:
    """The set in a file, which stays as it is, and what has come to it since, in memory."""

    def __init__(self, path: Path) -> None:
        self._table = np.memmap(path, dtype=np.uint8, mode="r").data
        self._own: set[bytes] = set()

    def __contains__(self, digest: object) -> bool:
        assert isinstance(digest, bytes)
        return digest in self._own or self._table[(place := _place(self._table, digest)) : place + SIZE] == digest

    def add(self, digest: bytes) -> None:
        """Puts a digest into the set."""
        self._own.add(digest)


def _place(table: memoryview, digest: bytes) -> int:
    """Where in a table a digest lies, or would."""
    place = int.from_bytes(digest[:8], "little") * SIZE % len(table)
    while (found := bytes(table[place : place + SIZE])) != digest and found != _NONE:
        place = (place + SIZE) % len(table)
    return place
