"""Lists on disk: of each one only the item that is asked for is in memory."""

from __future__ import annotations

import pickle
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from struct import Struct
from typing import IO, Generic, TypeVar

T = TypeVar("T")
_OPEN = 128  # lists of which the two files are open at once
_PLACE, _PAIR = Struct("=q"), Struct("=qq")


class Writer(Generic[T]):
    """Where the items of a list are put, one after the other."""

    def __init__(self, file: IO[bytes], ends: IO[bytes]) -> None:
        self._file, self._ends = file, ends
        self._length = self._end = 0
        ends.write(_PLACE.pack(0))

    def append(self, item: T) -> None:
        """Puts an item at the end."""
        self._end += self._file.write(pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL))
        self._ends.write(_PLACE.pack(self._end))
        self._length += 1

    def __len__(self) -> int:
        return self._length


@contextmanager
def write_spool(path: Path, _kind: type[T]) -> Iterator[Writer[T]]:
    """A new list at `path`, to be read once the block has ended."""
    with path.open("wb") as file, _ends(path).open("wb") as ends:
        yield Writer[T](file, ends)


class Spool(Generic[T]):
    """A list that was written. Where its items lie is read from disk as well."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._length = _length(path)
        self._files: tuple[IO[bytes], IO[bytes]] | None = None

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> T:
        if not 0 <= index < self._length:
            raise IndexError(index)
        if self._files is None:
            self._files = self._path.open("rb"), _ends(self._path).open("rb")
        file, ends = self._files
        ends.seek(index * _PLACE.size)
        begin, end = _PAIR.unpack(ends.read(_PAIR.size))
        file.seek(begin)
        item: T = pickle.loads(file.read(end - begin))
        return item

    def __iter__(self) -> Iterator[T]:
        return (self[index] for index in range(self._length))

    def close(self) -> None:
        """Lets the files go until the next item is asked for."""
        for file in self._files or ():
            file.close()
        self._files = None


class Spools(Generic[T]):
    """Several lists as one, of which few are open at once."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._parts = [Spool[T](path) for path in paths]
        self._begins = [*accumulate((len(part) for part in self._parts), initial=0)]
        self._used: OrderedDict[int, None] = OrderedDict()

    def __len__(self) -> int:
        return self._begins[-1]

    def begin(self, part: int) -> int:
        """The place of a list's first item."""
        return self._begins[part]

    def __getitem__(self, index: int) -> T:
        part = bisect_right(self._begins, index) - 1
        self._used[part] = None
        self._used.move_to_end(part)
        if len(self._used) > _OPEN:
            self._parts[self._used.popitem(last=False)[0]].close()
        return self._parts[part][index - self._begins[part]]

    def __iter__(self) -> Iterator[T]:
        return (self[index] for index in range(len(self)))

    def close(self) -> None:
        """Lets all files go."""
        for part in self._parts:
            part.close()


def _ends(path: Path) -> Path:
    return path.with_name(f"{path.name}.ends")


def _length(path: Path) -> int:
    return _ends(path).stat().st_size // _PLACE.size - 1
