"""Values whose arrays lie in a file: the system reads what is used of them, and takes the memory back when it needs it."""

from __future__ import annotations

import mmap
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_ALIGNED = 64  # bytes


class _Sink(NamedTuple):
    """A file that numpy writes to by its own `write`: given the file itself, it fails without saying why."""

    write: Callable[[bytes], object]


def save(path: Path, array: NDArray[Any]) -> None:
    """Puts an array at `path`, for numpy.load."""
    with path.open("wb") as file:
        np.save(_Sink(file.write), array)


def dump_mapped(value: object, folder: Path) -> None:
    """Puts a value into a folder of its own, its arrays beside it."""
    folder.mkdir()
    places: list[tuple[int, int]] = []
    with (folder / "arrays").open("wb") as file:

        def put(buffer: pickle.PickleBuffer) -> None:
            raw = buffer.raw()
            file.write(bytes(-file.tell() % _ALIGNED))
            places.append((file.tell(), raw.nbytes))
            file.write(raw)

        pickled = pickle.dumps(value, protocol=5, buffer_callback=put)
    (folder / "value").write_bytes(pickle.dumps((pickled, places)))


def load_mapped(folder: Path) -> Any:
    """The value; its arrays are read-only."""
    pickled, places = pickle.loads((folder / "value").read_bytes())
    path = folder / "arrays"
    if not path.stat().st_size:
        return pickle.loads(pickled, buffers=[b""] * len(places))
    with path.open("rb") as file:
        whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return pickle.loads(pickled, buffers=[whole[begin : begin + size] for begin, size in places])
