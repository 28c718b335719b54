"""Where large arrays lie: in memory, or in files that the system keeps in memory as long as it has room."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Shape = tuple[int, ...]


class Memory:
    """Room for arrays in memory."""

    def empty(self, shape: Shape, dtype: type[np.generic]) -> NDArray[Any]:
        """An array to fill."""
        return np.empty(shape, dtype=dtype)

    def joined(self, parts: Iterable[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
        """All the parts, one after the other."""
        return np.concatenate([np.empty(0, dtype=dtype), *parts])


class Disk(Memory):
    """Room for arrays in files of a folder, which whoever made it clears: `joined` has one part in memory at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = 0

    def empty(self, shape: Shape, dtype: type[np.generic]) -> NDArray[Any]:
        """See Memory."""
        if 0 in shape:
            return np.empty(shape, dtype=dtype)
        path = self._next()
        with path.open("wb") as file:
            size = math.prod(shape) * np.dtype(dtype).itemsize
            # A page that finds the disk full when it is written ends the process; here it is an OSError.
            os.posix_fallocate(file.fileno(), 0, size) if sys.platform == "linux" else file.truncate(size)
        return np.asarray(np.memmap(path, dtype=dtype, mode="r+", shape=shape))

    def joined(self, parts: Iterable[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
        """See Memory."""
        path = self._next()
        with path.open("wb") as file:
            for part in parts:
                file.write(np.ascontiguousarray(part).data)  # `tofile` does not say why it fails
        size = path.stat().st_size
        return np.asarray(np.memmap(path, dtype=dtype, mode="r+")) if size else np.empty(0, dtype=dtype)

    def _next(self) -> Path:
        self._made += 1
        return self._folder / f"array{self._made}"
