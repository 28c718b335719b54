"""Rows and held-out files on disk."""

from __future__ import annotations

from pathlib import Path

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.store import read_heldout, read_rows, write_heldout, write_rows
from finetune.records import IGNORED, Origin, PackedRow, SourceFile

ROWS = [
    PackedRow([1, 2, 40000, 4], [IGNORED, 2, 40000, IGNORED], [0, 1, 2, 0]),
    PackedRow([7, 8, 9, 0], [IGNORED, 8, IGNORED, 0], [0, 1, 0, 1]),
]


def test_rows_come_back_through_datasets(tmp_path: Path) -> None:
    assert write_rows(iter(ROWS), tmp_path / "train", vocabulary_size=49152) == 2
    rows = datasets.load_from_disk(str(tmp_path / "train"))
    assert [row["input_ids"] for row in rows] == [row.input_ids for row in ROWS]
    assert [row["learnt"] for row in rows] == [[label != IGNORED for label in row.labels] for row in ROWS]
    assert [row["position_ids"] for row in rows] == [row.position_ids for row in ROWS]


@pytest.mark.parametrize(
    ("vocabulary_size", "dtype"), [(49152, "uint16"), (1 << 16, "uint16"), ((1 << 16) + 1, "uint32"), (151936, "uint32")]
)
def test_a_token_takes_two_bytes_where_the_vocabulary_allows(tmp_path: Path, vocabulary_size: int, dtype: str) -> None:
    write_rows(ROWS, tmp_path / "train", vocabulary_size=vocabulary_size)
    features = read_rows(tmp_path / "train").features
    assert features["input_ids"].feature.dtype == dtype
    assert features["learnt"].feature.dtype == "bool"
    assert features["position_ids"].feature.dtype == "uint8"


def test_long_rows_get_wider_positions(tmp_path: Path) -> None:
    row = PackedRow([1] * 300, [1] * 300, list(range(300)))
    write_rows([row], tmp_path / "train", vocabulary_size=10)
    rows = read_rows(tmp_path / "train")
    assert rows.features["position_ids"].feature.dtype == "uint16"
    assert rows[0]["position_ids"] == row.position_ids


def test_many_rows_keep_their_order_over_batches(tmp_path: Path) -> None:
    rows = [PackedRow([number], [number], [0]) for number in range(1300)]
    write_rows(rows, tmp_path / "train", vocabulary_size=2000)
    assert read_rows(tmp_path / "train")["input_ids"][:] == [[number] for number in range(1300)]


def test_no_rows_are_a_dataset_too(tmp_path: Path) -> None:
    assert write_rows([], tmp_path / "valid", vocabulary_size=10) == 0
    assert len(read_rows(tmp_path / "valid")) == 0


def test_equal_rows_are_equal_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_rows(ROWS, tmp_path / name, vocabulary_size=49152)
    for file in (tmp_path / "first").iterdir():
        assert file.read_bytes() == (tmp_path / "second" / file.name).read_bytes()


@given(texts=st.lists(st.text(st.sampled_from('a\n\r\u2028\x85\t"\\é😀 '), min_size=1), max_size=5), license=st.sampled_from([None, "MIT"]))
def test_held_out_files_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, texts: list[str], license: str | None) -> None:
    files = [SourceFile(Origin("project", "c0ffee", f"src/{number}.py", license), "Python", text) for number, text in enumerate(texts)]
    path = tmp_path_factory.mktemp("heldout") / "heldout.jsonl"
    write_heldout(files, path)
    assert read_heldout(path) == files
