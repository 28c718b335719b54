"""Lists on disk, and values whose arrays are."""

from __future__ import annotations

import errno
import resource
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data.build.mapped import dump_mapped, load_mapped, save
from finetune.data.dedup import Boundary
from finetune.data.spool import Spool, Spools, write_spool


@settings(max_examples=30)
@given(st.lists(st.lists(st.text(max_size=20), max_size=5), min_size=1, max_size=4))
def test_several_lists_are_read_as_one(parts: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / str(number) for number in range(len(parts))]
        for path, part in zip(paths, parts, strict=True):
            with write_spool(path, str) as written:
                for text in part:
                    written.append(text)
        joined = [text for part in parts for text in part]
        with closing(Spools[str](paths)) as whole:
            assert [*whole] == joined and len(whole) == len(joined)
            assert [whole[place] for place in reversed(range(len(joined)))] == joined[::-1]
            assert [whole.begin(number) for number in range(len(parts))] == [sum(map(len, parts[:number])) for number in range(len(parts))]


def test_a_place_beyond_the_end_is_refused(tmp_path: Path) -> None:
    with write_spool(tmp_path / "list", str) as written:
        written.append("one")
    with closing(Spool[str](tmp_path / "list")) as spool:
        assert spool[0] == "one"
        with pytest.raises(IndexError):
            spool[1]


def test_a_value_comes_back_with_its_arrays_in_their_file(tmp_path: Path) -> None:
    value = {"numbers": np.arange(9, dtype=np.uint16), "none": np.empty(0), "words": ["a"]}
    dump_mapped(value, tmp_path / "value")
    found = load_mapped(tmp_path / "value")
    assert found["numbers"].tolist() == [*range(9)] and found["numbers"].dtype == np.uint16
    assert len(found["none"]) == 0 and found["words"] == ["a"]
    assert not found["numbers"].flags.owndata and not found["numbers"].flags.writeable


def test_a_boundary_finds_the_same_after_it_was_put_away(tmp_path: Path) -> None:
    texts = [" ".join(f"word{number % seed}" for number in range(40)) for seed in (7, 11, 13)]
    boundary = Boundary(texts, threshold=0.7)
    dump_mapped(boundary, tmp_path / "value")
    found = load_mapped(tmp_path / "value")
    for text in (*texts, texts[0] + " and one", "nothing of it"):
        assert found.all_near(text) == boundary.all_near(text)


def test_an_array_that_finds_no_room_says_so(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError) as failed:
            save(tmp_path / "array.npy", np.zeros(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert failed.value.errno == errno.EFBIG
    pairs = np.array([(1, True), (2, False)], dtype=[("number", np.int64), ("stays", np.bool_)])
    save(tmp_path / "pairs.npy", pairs)
    assert np.load(tmp_path / "pairs.npy", mmap_mode="r").tolist() == pairs.tolist()
