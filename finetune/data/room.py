"""Where large arrays lie: in memory, or in files that the system keeps in memory as long as it has room."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

Shape = tuple[int, ...]
T = TypeVar("T", bound=np.generic)
ROW = 32  # bytes, about what a row takes
_LISTED = 4096  # numbers of an array that are a Python list at once


class Column(Generic[T]):
    """An array that grows at its end, in memory; `rows` counts what is in it."""

    def __init__(self, dtype: DTypeLike) -> None:
        self.dtype, self.rows = np.dtype(dtype), 0
        self._parts: list[NDArray[T]] = []

    def append(self, part: NDArray[T]) -> None:
        """Puts an array at the end."""
        self.rows += len(part)
        self._parts.append(part)

    def array(self) -> NDArray[T]:
        """All of it."""
        return np.concatenate([np.empty(0, dtype=self.dtype), *self._parts])

    def clear(self) -> None:
        """Gives its room back, once nobody holds its array."""
        self._parts = []


class _FileColumn(Column[T]):
    """The same in a file, which is open while an array is put into it."""

    def __init__(self, dtype: DTypeLike, path: Path) -> None:
        super().__init__(dtype)
        self._path = path
        path.write_bytes(b"")

    def append(self, part: NDArray[T]) -> None:
        self.rows += len(part)
        with self._path.open("ab") as file:
            _put(part, file)

    def array(self) -> NDArray[T]:
        return _mapped(self._path, self.dtype)

    def clear(self) -> None:
        self._path.unlink()


class Memory:
    """Room for arrays in memory. What is done to all rows is done to `block` of them at a time."""

    block = sys.maxsize

    def full(self, shape: Shape, value: object, dtype: DTypeLike) -> NDArray[Any]:
        """An array that is this value everywhere."""
        array = self.empty(shape, dtype)
        array[...] = value
        return array

    def empty(self, shape: Shape, dtype: DTypeLike) -> NDArray[Any]:
        """An array to fill."""
        return np.empty(shape, dtype=dtype)

    def column(self, dtype: DTypeLike) -> Column[Any]:
        """An array that grows."""
        return Column(dtype)

    def joined(self, parts: Iterable[NDArray[Any]], dtype: DTypeLike) -> NDArray[Any]:
        """All the parts, one after the other."""
        return np.concatenate([np.empty(0, dtype=dtype), *parts])

    def blocks(self, rows: int, *, row_bytes: int = ROW) -> Iterator[slice]:
        """So many rows, a block after the other; fewer of them where a row takes more."""
        step = max(1, self.block * ROW // max(ROW, row_bytes))
        return (slice(begin, min(rows, begin + step)) for begin in range(0, rows, step))


class Disk(Memory):
    """Room for arrays in files of a folder, which whoever made it clears: `joined` has one part in memory at a time."""

    def __init__(self, folder: Path, *, block: int = 1 << 21) -> None:
        self._folder, self.block = folder, block
        self._names = count(1)

    def empty(self, shape: Shape, dtype: DTypeLike) -> NDArray[Any]:
        """See Memory. It holds zeros."""
        if 0 in shape:
            return np.empty(shape, dtype=dtype)
        return open_array(self._next(), shape, dtype)

    def column(self, dtype: DTypeLike) -> Column[Any]:
        """See Memory."""
        return _FileColumn(dtype, self._next())

    def joined(self, parts: Iterable[NDArray[Any]], dtype: DTypeLike) -> NDArray[Any]:
        """See Memory."""
        path = self._next()
        with path.open("wb") as file:
            for part in parts:
                _put(part, file)
        return _mapped(path, np.dtype(dtype))

    def _next(self) -> Path:
        return self._folder / f"array{next(self._names)}"


def open_array(path: Path, shape: Shape, dtype: DTypeLike) -> NDArray[Any]:
    """An array of zeros in a new file."""
    with path.open("wb") as file:
        size = int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
        # A page that finds the disk full when it is written ends the process; here it is an OSError.
        os.posix_fallocate(file.fileno(), 0, size) if sys.platform == "linux" else file.truncate(size)
    return np.asarray(np.memmap(path, dtype=dtype, mode="r+", shape=shape))


def singly(numbers: NDArray[Any]) -> Iterator[int]:
    """The numbers of an array, few of them as Python's at once."""
    for begin in range(0, len(numbers), _LISTED):
        yield from numbers[begin : begin + _LISTED].tolist()


def _put(part: NDArray[Any], file: IO[bytes]) -> None:
    file.write(np.ascontiguousarray(part).view(np.uint8).data)  # `tofile` does not say why it fails


def _mapped(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.asarray(np.memmap(path, dtype=dtype, mode="r+")) if path.stat().st_size else np.empty(0, dtype=dtype)
