"""The sets of runs, the two engines, and the exact boundary around held-out texts."""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from near_texts import WORDS, jaccard, variants

from finetune.data.dedup import Boundary, plain, sketch
from finetune.data.dedup.near import Texts, engine_for, nearest_kept
from finetune.data.dedup.words import LOOKS, SHARED, TRIES, bands, distinct
from finetune.data.room import Disk

code = st.text(alphabet="ab_1 =(\n.é中文😀", max_size=80)
NOT_A_WORD = re.compile("[^A-Za-z_0-9]")


@pytest.fixture(scope="module")
def compiled():
    from finetune.data.dedup import compiled

    return compiled


@given(st.text(alphabet=[chr(code) for code in range(128)], max_size=200))
def test_runs_in_ascii_are_those_of_the_stack(text):
    """Equal hashes exactly where the words between non-alphanumeric characters, empty ones too, are equal."""
    words = NOT_A_WORD.split(text)
    expected = [tuple(words[place : place + 5]) for place in range(len(words) - 4)]
    if sum(map(bool, words)) < 5:
        expected = []
    found = plain.runs(text.encode()).tolist()
    assert len(found) == len(expected)
    first: dict[tuple[str, ...], int] = {}
    assert all(first.setdefault(run, value) == value for run, value in zip(expected, found, strict=True))
    assert len(set(found)) == len(first)


def test_a_text_in_chinese_has_runs_of_characters_and_one_in_russian_of_words():
    assert len(plain.runs("这是一个测试文件".encode())) == 8 - 4
    assert len(plain.runs("это очень простой русский текст файла".encode())) == 6 - 4
    assert not set(plain.runs("这是一个测试文件".encode()).tolist()) & set(plain.runs("那些另外某种说明材料".encode()).tolist())


@settings(max_examples=300)
@given(code)
def test_both_engines_read_the_same_runs(compiled, text):
    assert plain.runs(text.encode()).tolist() == compiled.runs(text.encode()).tolist()


@given(st.lists(code, max_size=20))
def test_both_engines_make_the_same_sketches(compiled, texts):
    for one, other in zip(
        plain.sketches([each.encode() for each in texts]), compiled.sketches([each.encode() for each in texts]), strict=True
    ):
        assert one.tolist() == other.tolist()


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9, 1.0])
def test_both_engines_keep_the_same_texts(compiled, threshold):
    contents = [text.encode() for seed in range(3) for text in [*variants(seed), "", "x", "a b c d e", "a b c d f"]]
    found = [nearest_kept(Texts(len(contents), contents.__getitem__), threshold=threshold, engine=engine) for engine in (plain, compiled)]
    assert found[0].keeper.tolist() == found[1].keeper.tolist()
    assert found[0].similarity.tolist() == found[1].similarity.tolist()
    assert (found[0].keeper >= 0).any()


@pytest.fixture(scope="module")
def family():
    """100 texts that are 0.67 to 0.72 like each other: more than one is compared with, hardly one a near-duplicate."""
    draws = random.Random(1)
    common = draws.choices(WORDS, k=500)
    texts = []
    for number in range(100):
        words = list(common)
        for place in range(0, 500, 25):
            if draws.random() < 0.9:
                words[place] = f"own{number}_{place}"
        texts.append(" ".join(words))
    return texts


def test_a_text_is_compared_with_the_likest_of_a_large_family(compiled, family):
    """The bound on comparisons costs what is right at the threshold, and both engines keep to it alike."""
    contents = [text.encode() for text in family]
    found = [
        nearest_kept(Texts(len(contents), contents.__getitem__), threshold=0.7, engine=engine).keeper.tolist()
        for engine in (plain, compiled)
    ]
    assert found[0] == found[1]
    gone = [place for place, keeper in enumerate(found[0]) if keeper >= 0]
    assert gone and all(jaccard(family[place], family[found[0][place]]) >= 0.7 for place in gone)
    staying = [place for place in range(len(family)) if found[0][place] < 0]
    assert len(staying) > 2 * TRIES
    pairs = [(one, other) for one in range(len(family)) for other in range(one) if jaccard(family[one], family[other]) >= 0.7]
    left = [pair for pair in pairs if found[0][pair[0]] < 0 and found[0][pair[1]] < 0]
    assert len(left) <= 0.01 * len(pairs)


def test_a_bucket_of_texts_that_are_unlike_does_not_grow_the_work_of_each(compiled):
    """As many texts again in one bucket: the sketches held against a text's are LOOKS at most, in either engine."""
    count = LOOKS + 60
    sketches = np.arange(count * 256, dtype=np.uint32).reshape(count, 256)
    sketches[-1] = sketches[0]  # alike, and LOOKS + 59 places apart
    sketches[-2] = sketches[70]
    one_bucket = np.zeros(count, dtype=SHARED)
    one_bucket["text"] = np.arange(count)
    for engine in (plain, compiled):
        marked = np.zeros(count, dtype=np.bool_)
        engine.mark_partners([one_bucket], sketches, np.full(count, 100, dtype=np.int64), marked)
        assert np.flatnonzero(marked).tolist() == [70, count - 2]


def test_no_text_at_all_is_no_trouble(compiled):
    for engine in (plain, compiled):
        assert len(nearest_kept(Texts(0, list[bytes]().__getitem__), threshold=0.7, engine=engine).keeper) == 0
        assert nearest_kept(Texts(2, [b"", b"x"].__getitem__), threshold=0.7, engine=engine).keeper.tolist() == [-1, -1]


def test_a_small_corpus_does_not_start_the_compiler_and_a_large_one_does():
    names = [getattr(engine_for(size), "__name__", "").rpartition(".")[2] for size in (1_000_000, 100_000_000)]
    assert names == ["plain", "compiled"]


def test_a_pair_at_the_threshold_shares_a_band_but_for_six_in_a_thousand():
    for threshold in (0.3, 0.5, 0.7, 0.85, 0.95):
        count, rows = bands(threshold)
        assert (1 - threshold**rows) ** count <= 0.006 and count * rows <= 256
    assert bands(0.7) == (42, 6)


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_the_boundary_finds_every_pair_and_its_exact_similarity(seed):
    texts = variants(seed, families=4)
    held, others = texts[::2], texts[1::2]
    boundary = Boundary(held, threshold=0.6)
    for text in others:
        expected = {place: jaccard(text, each) for place, each in enumerate(held) if jaccard(text, each) >= 0.6}
        assert {match.number: match.similarity for match in boundary.all_near(text)} == pytest.approx(expected)
        nearest = boundary.nearest(text)
        assert (nearest.similarity if nearest else None) == (pytest.approx(max(expected.values())) if expected else None)


def test_the_boundary_knows_short_texts_by_content():
    boundary = Boundary(["x = 1", "", " ".join(WORDS)], threshold=0.7)
    assert boundary.nearest("x = 1") == (0, 1.0)
    assert boundary.nearest("x = 2") is None
    assert Boundary([], threshold=0.7).nearest(" ".join(WORDS)) is None


@pytest.mark.parametrize("text", ["x = 1", " ".join(WORDS)])
def test_the_boundary_finds_every_held_out_text_that_is_the_same(text):
    boundary = Boundary([text, "y = 2", text], threshold=0.7)
    assert boundary.all_near(text) == [(0, 1.0), (2, 1.0)]


@given(st.lists(st.integers(0, 9), max_size=30))
def test_a_set_has_each_run_once(values):
    assert distinct(np.array(values, dtype=np.uint64)).tolist() == sorted(set(values))


def test_large_arrays_may_lie_on_disk_and_sketches_may_be_known(compiled, tmp_path: Path) -> None:
    contents = [text.encode() for text in [*variants(0), "", "x"]]
    known = sketch(contents, len(contents), plain)
    expected = nearest_kept(Texts(len(contents), contents.__getitem__), threshold=0.7, engine=plain)
    for engine in (plain, compiled):
        for sketched in (None, known):
            room = Disk(tmp_path, block=7)
            found = nearest_kept(Texts(len(contents), contents.__getitem__, sketched, room), threshold=0.7, engine=engine)
            assert found.keeper.tolist() == expected.keeper.tolist() and found.similarity.tolist() == expected.similarity.tolist()
        assert nearest_kept(Texts(0, contents.__getitem__, None, Disk(tmp_path)), threshold=0.7, engine=engine).keeper.tolist() == []
    assert (expected.keeper >= 0).any()


def test_an_array_on_disk_has_its_room_before_anything_is_put_into_it(tmp_path: Path) -> None:
    """A full disk is told of then; later it would end the process without a word."""
    array = Disk(tmp_path).empty((1000, 1000), np.uint8)
    assert array.sum() == 0
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size == len(array) ** 2 <= 512 * path.stat().st_blocks
