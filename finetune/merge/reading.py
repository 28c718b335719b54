"""Rows of a tensor out of a safetensors file, read and not mapped: memory holds what was asked for and nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.errors import ExportError

if TYPE_CHECKING:
    import torch

# What safetensors calls a number format and what torch does, in the order in which safetensors lays tensors out, last first.
DTYPES: Mapping[str, str] = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3": "float8_e4m3fn",
    "I16": "int16",
    "F16": "float16",
    "BF16": "bfloat16",
    "I32": "int32",
    "F32": "float32",
    "F64": "float64",
    "I64": "int64",
}


class Room:
    """Memory that is used again: what was taken last holds until the next is. Fresh memory costs as much as all that is done in it."""

    def __init__(self) -> None:
        self._tensor: torch.Tensor | None = None

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """A tensor of anything."""
        import torch

        numbers = math.prod(shape)
        if self._tensor is None or self._tensor.dtype is not dtype or len(self._tensor) < numbers:
            self._tensor = torch.empty(numbers, dtype=dtype)
        return self._tensor[:numbers].view(shape)


@dataclass(frozen=True, slots=True)
class Stored:
    """Where one tensor lies; `dtype` as safetensors writes it, `start` its first byte in the file."""

    file: Path
    key: str
    shape: tuple[int, ...]
    dtype: str
    start: int

    @property
    def numbers(self) -> int:
        return math.prod(self.shape)

    @property
    def floating(self) -> bool:
        return self.dtype.startswith(("F", "BF"))

    @property
    def width(self) -> int:
        """Bytes of one number."""
        return self._format.itemsize

    @property
    def _format(self) -> torch.dtype:
        import torch

        if self.dtype not in DTYPES:
            raise ExportError(f"{self.file}: {self.key} is kept as {self.dtype}, which can not be merged; write export=adapter")
        found: torch.dtype = getattr(torch, DTYPES[self.dtype])
        return found

    def read(self, rows: slice = slice(None), *, room: Room | None = None) -> torch.Tensor:
        """The tensor, or some rows of it, in memory of its own, or in `room`."""
        import torch

        shape, first = self.shape, 0
        if shape:
            first, stop, _ = rows.indices(shape[0])
            shape = (max(0, stop - first), *shape[1:])
        tensor = room.take(shape, self._format) if room else torch.empty(shape, dtype=self._format)
        self._fill(tensor.reshape(-1).view(torch.uint8).numpy().data, self.start + first * math.prod(self.shape[1:]) * self.width)
        return tensor

    def _fill(self, room: memoryview, offset: int) -> None:
        try:
            with self.file.open("rb", buffering=0) as file:
                file.seek(offset)
                while len(room):
                    count = file.readinto(room)
                    if not count:
                        raise ExportError(f"{self.file}: ends within {self.key}; copy the file again")
                    room = room[count:]
        except OSError as error:
            raise ExportError(f"{self.file}: can not be read ({error.strerror}); bring it back, or copy it again") from error


@dataclass(frozen=True, slots=True)
class Grown:
    """A tensor with `more` rows behind those that are stored: of zeros, since an adapter has to replace them."""

    place: Stored
    more: int

    @property
    def key(self) -> str:
        return self.place.key

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.place.shape[0] + self.more, *self.place.shape[1:])

    @property
    def dtype(self) -> str:
        return self.place.dtype

    @property
    def numbers(self) -> int:
        return math.prod(self.shape)

    @property
    def floating(self) -> bool:
        return self.place.floating

    @property
    def width(self) -> int:
        return self.place.width

    def read(self, rows: slice = slice(None), *, room: Room | None = None) -> torch.Tensor:
        """The tensor, or some rows of it, in memory of its own."""
        import torch

        first, stop, _ = rows.indices(self.shape[0])
        stored = self.place.read(slice(first, stop))
        return torch.cat([stored, stored.new_zeros(stop - first - len(stored), *self.shape[1:])])


def contents(path: Path) -> dict[str, Stored]:
    """Every tensor of a file, in name order. Raises SafetensorError for a file that is none."""
    from safetensors import safe_open

    with safe_open(path, framework="pt"):  # it knows a sound header from a broken one
        pass
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return {
        key: Stored(path, key, tuple(found["shape"]), found["dtype"], 8 + length + found["data_offsets"][0])
        for key, found in sorted(header.items())
    }
