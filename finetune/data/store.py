"""Packed rows and held-out files on disk.

Rows are an Arrow stream that `datasets.load_from_disk` opens without a copy: `input_ids` in 2 bytes a token where the vocabulary allows,
`learnt` in one bit, `position_ids` in the smallest type that holds them. The files are written with pyarrow alone, since
importing datasets takes most of a second.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.errors import DataError
from finetune.files import STAGED, write_json
from finetune.hashing import file_digest
from finetune.records import IGNORED, Origin, PackedRow, SourceFile

if TYPE_CHECKING:
    from datasets import Dataset

BUILD_AGAIN = "remove {} and type finetune build again"
_ROWS_FILE = "data-00000-of-00001.arrow"
_BATCH = 512  # rows written at once


def write_rows(rows: Iterable[PackedRow], folder: Path, *, vocabulary_size: int, longest: int | None = None) -> int:
    """The rows as a dataset in `folder`; gives how many there were. `longest`: tokens of the longest; empty: all are of one length."""
    import pyarrow as pa

    remaining = iter(rows)
    first = next(remaining, None)
    dtypes = {
        "input_ids": "uint16" if vocabulary_size <= 1 << 16 else "uint32",
        "learnt": "bool",
        "position_ids": _smallest(longest or (0 if first is None else len(first.input_ids))),
    }
    columns = {name: pa.list_(pa.bool_() if dtype == "bool" else getattr(pa, dtype)()) for name, dtype in dtypes.items()}
    features = {name: {"feature": {"dtype": dtype, "_type": "Value"}, "_type": "List"} for name, dtype in dtypes.items()}
    schema = pa.schema(columns, metadata={"huggingface": json.dumps({"info": {"features": features}})})
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    with (folder / _ROWS_FILE).open("wb") as file, pa.ipc.new_stream(file, schema) as stream:
        for batch in _batches(rows if first is None else chain([first], remaining)):
            stream.write_batch(_record_batch(batch, schema))
            count += len(batch)
    write_json(folder / "dataset_info.json", {"citation": "", "description": "", "features": features, "homepage": "", "license": ""})
    write_json(folder / "state.json", _state(folder / _ROWS_FILE))
    return count


def read_rows(folder: Path) -> Dataset:
    """The rows of `write_rows`, memory-mapped: columns input_ids, learnt, position_ids."""
    from datasets import load_from_disk

    with _readable(folder):
        return load_from_disk(str(folder))


def stream_rows(folder: Path) -> Iterator[tuple[list[int], list[bool]]]:
    """The ids of each row of `write_rows` and whether each is learnt, one batch in memory at a time; datasets is not imported."""
    import pyarrow as pa

    with _readable(folder), pa.memory_map(str(folder / _ROWS_FILE)) as source, pa.ipc.open_stream(source) as stream:
        for batch in stream:
            columns = (batch.column(name) for name in ("input_ids", "learnt"))
            for ids, learnt in zip(*columns, strict=True):
                yield ids.as_py(), learnt.as_py()


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Raises DataError for rows that are not whole."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{folder}: its rows can not be read ({reason}); {BUILD_AGAIN.format(folder.parent)}") from error


def write_heldout(files: Iterable[SourceFile], path: Path) -> None:
    """The files as JSON lines, text and origin."""
    write_lines((asdict(file) for file in files), path)


def read_heldout(path: Path) -> list[SourceFile]:
    """The files of `write_heldout`."""
    files = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                files.append(_source_file(json.loads(line)))
            except (ValueError, KeyError, TypeError) as error:
                where = f"{path}:{number}: no held-out file of a build"
                raise DataError(f"{where}; {BUILD_AGAIN.format(path.parent)}") from error
    return files


def write_lines(values: Iterable[Mapping[str, Any]], path: Path) -> None:
    """One JSON object a line."""
    with open_lines(path) as write:
        for value in values:
            write(value)


@contextmanager
def open_lines(path: Path) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """What writes one JSON object a line; they are at `path` once the block has ended well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f"{STAGED}{path.name}")
    try:
        with staged.open("w", encoding="utf-8") as file:
            yield lambda value: print(json.dumps(value, ensure_ascii=False), file=file)
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)


def _source_file(value: dict[str, Any]) -> SourceFile:
    return SourceFile(**(value | {"origin": Origin(**value["origin"])}))


def _smallest(row_length: int) -> str:
    return next(name for name, bits in (("uint8", 8), ("uint16", 16), ("uint32", 32)) if row_length <= 1 << bits)


def _batches(rows: Iterable[PackedRow]) -> Iterator[list[PackedRow]]:
    remaining = iter(rows)
    while batch := [*islice(remaining, _BATCH)]:
        yield batch


def _record_batch(rows: list[PackedRow], schema: Any) -> Any:
    """The columns as buffers: `pa.array` of an ndarray would import pandas, half a second."""
    import numpy as np
    import pyarrow as pa

    flat = {
        "input_ids": np.concatenate([np.asarray(row.input_ids) for row in rows]),
        "learnt": np.concatenate([np.asarray(row.labels) for row in rows]) != IGNORED,
        "position_ids": np.concatenate([np.asarray(row.position_ids) for row in rows]),
    }
    offsets = pa.py_buffer(np.cumsum([0, *(len(row.input_ids) for row in rows)], dtype=np.int32))
    arrays = []
    for column in schema:
        item, values = column.type.value_type, flat[column.name]
        packed = np.packbits(values, bitorder="little") if pa.types.is_boolean(item) else values.astype(str(item))
        inner = pa.Array.from_buffers(item, len(values), [None, pa.py_buffer(packed)])
        arrays.append(pa.Array.from_buffers(column.type, len(rows), [None, offsets], children=[inner]))
    return pa.record_batch(arrays, schema=schema)


def _state(rows: Path) -> dict[str, Any]:
    """What load_from_disk wants to know; the fingerprint is of the bytes, so that equal rows share what datasets caches."""
    return {
        "_data_files": [{"filename": rows.name}],
        "_fingerprint": file_digest(rows)[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
