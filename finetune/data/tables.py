"""Two tables beside the rows, as parquet: what was decided of every file and commit, and what every sample is.

decisions.parquet   a line for each path of the trees and each commit looked at
samples.parquet     a line for each sample, in the order in which they lie in the rows

Both are read with pyarrow, duckdb, polars or pandas; `finetune why` and the exports for other trainers read them too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from finetune.data.store import BUILD_AGAIN
from finetune.errors import DataError
from finetune.records import Side

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

DECISIONS, SAMPLES = "decisions.parquet", "samples.parquet"
_BATCH = 4096  # lines written or read at once
# Of each batch written the writer keeps 5 to 10 kB until the file ends: after these many, batches are larger, and it is two bits a line.
_SMALL_BATCHES, _LARGER = 64, 8


@dataclass(frozen=True, slots=True)
class Row:
    """What was decided of one file or commit; `reason` None: it was kept, on `side`, and `samples` were made of it.

    `bytes` are those of the file, or of the new file of a commit that changes one; None where they were not read. `redactions` count
    the values replaced in it. A commit that changes no one file has an empty path.
    """

    kind: Literal["file", "commit"]
    repo: str
    commit: str
    path: str
    language: str | None
    license: str | None
    bytes: int | None
    side: Side | None
    reason: str | None
    detail: str | None
    samples: int
    redactions: int


@dataclass(frozen=True, slots=True)
class SampleRow:
    """One sample: where it lies, how long it is, and what it is made of; `paths` and `licenses` are of the same length.

    `marks` are those of `Encoded`, `turns` those of `Mined`.
    """

    side: Side
    row: int
    tokens: int
    miner: str
    repo: str
    commit: str
    paths: Sequence[str]
    licenses: Sequence[str | None]
    marks: Sequence[int]
    turns: Sequence[int]


R = TypeVar("R", bound=Row | SampleRow)


class TableWriter(Generic[R]):
    """Where the rows of a table are put, one after the other."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer
        self._waiting: list[R] = []
        self.rows = 0

    def add(self, row: R) -> None:
        """Puts a row at the end."""
        self._waiting.append(row)
        self.rows += 1
        if len(self._waiting) >= (_BATCH if self.rows <= _SMALL_BATCHES * _BATCH else _LARGER * _BATCH):
            self.flush()

    def flush(self) -> None:
        """Writes what waits to be written."""
        import pyarrow as pa

        if self._waiting:
            columns = [_column([getattr(row, field.name) for row in self._waiting], field.type) for field in self._writer.schema]
            self._writer.write_table(pa.Table.from_arrays(columns, schema=self._writer.schema))
            self._waiting = []


@contextmanager
def open_table(kind: type[R], path: Path) -> Iterator[TableWriter[R]]:
    """A new table of rows of one kind, as parquet, to be read once the block has ended."""
    import pyarrow.parquet as pq

    with pq.ParquetWriter(path, _schema(field.name for field in fields(kind)), compression="zstd") as writer:
        table = TableWriter[R](writer)
        yield table
        table.flush()


def write_table(rows: Iterable[R], kind: type[R], path: Path) -> int:
    """The rows as parquet; gives how many there were."""
    with open_table(kind, path) as table:
        for row in rows:
            table.add(row)
    return table.rows


def read_table(kind: type[R], path: Path) -> Iterator[R]:
    """The rows of `write_table`, in their order."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH):
                yield from (kind(**line) for line in batch.to_pylist())
    except (pa.ArrowException, OSError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: no table of a build of this version ({reason}); {BUILD_AGAIN.format(path.parent)}") from error


def _schema(names: Iterable[str]) -> pa.Schema:
    import pyarrow as pa

    types = {"bytes": pa.int64(), "samples": pa.int32(), "redactions": pa.int32(), "row": pa.int32(), "tokens": pa.int32()}
    types |= {"paths": pa.list_(pa.string()), "licenses": pa.list_(pa.string())}
    types |= {"marks": pa.list_(pa.int32()), "turns": pa.list_(pa.int32())}
    return pa.schema({name: types.get(name, pa.string()) for name in names})


def _column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """The values as buffers: `pa.array` would import pandas, a fifth of a second."""
    import numpy as np
    import pyarrow as pa

    there = np.array([value is not None for value in values], dtype=np.bool_)
    null = None if there.all() else pa.py_buffer(np.packbits(there, bitorder="little"))
    if not (pa.types.is_list(kind) or pa.types.is_string(kind)):
        numbers = np.array([value or 0 for value in values], dtype=str(kind))
        return pa.Array.from_buffers(kind, len(values), [null, pa.py_buffer(numbers)])
    contents: list[Any] = [value or () for value in values] if pa.types.is_list(kind) else [(value or "").encode() for value in values]
    offsets = pa.py_buffer(np.cumsum([0, *map(len, contents)], dtype=np.int32))
    if pa.types.is_string(kind):
        return pa.Array.from_buffers(kind, len(values), [null, offsets, pa.py_buffer(b"".join(contents))])
    inner = _column([*chain.from_iterable(contents)], kind.value_type)
    return pa.Array.from_buffers(kind, len(values), [null, offsets], children=[inner])
