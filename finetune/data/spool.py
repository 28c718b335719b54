"""Items put aside on disk between two passes over them."""

from __future__ import annotations

import pickle
import tempfile
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Generic, TypeVar

from finetune.records import Item

T = TypeVar("T", bound=Item)


class Spool(Generic[T]):
    """A list of items of which none is in memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._ends = array("q", [0])

    def append(self, item: T) -> None:
        """Puts an item at the end."""
        self._file.seek(self._ends[-1])
        self._file.write(pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL))
        self._ends.append(self._file.tell())

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> T:
        begin, end = self._ends[index], self._ends[index + 1]
        self._file.seek(begin)
        item: T = pickle.loads(self._file.read(end - begin))
        return item

    def __iter__(self) -> Iterator[T]:
        return (self[index] for index in range(len(self)))


@contextmanager
def open_spool(folder: Path, _kind: type[T]) -> Iterator[Spool[T]]:
    """An empty spool for one kind of item. Its file in the folder has no name: a kill leaves nothing behind."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        yield Spool(file)
