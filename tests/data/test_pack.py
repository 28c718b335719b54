"""Rows out of samples."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data import pack as module
from finetune.data.pack import pack, place
from finetune.records import IGNORED, Encoded, PackedRow

ROW, PAD = 16, 9999


def sample(number: int, length: int) -> Encoded:
    """Tokens that are found nowhere else."""
    ids = [number * ROW + place for place in range(length)]
    return Encoded(ids, [IGNORED, *ids[1:]])


def parts(row: PackedRow) -> list[list[int]]:
    """The tokens of a row, cut where positions restart."""
    found: list[list[int]] = []
    for token, position in zip(row.input_ids, row.position_ids, strict=True):
        if position == 0:
            found.append([])
        assert position == len(found[-1])
        found[-1].append(token)
    return found


lengths = st.lists(st.integers(1, ROW), max_size=60)


@given(lengths=lengths, look_ahead=st.sampled_from([1, 3, 8192]))
def test_every_sample_is_in_exactly_one_row_and_whole(lengths: list[int], look_ahead: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LOOK_AHEAD", look_ahead)
        samples = [sample(number, length) for number, length in enumerate(lengths)]
        rows = list(pack(samples, row_length=ROW, pad_id=PAD))
    packed = [part for row in rows for part in parts(row) if part[0] != PAD]
    assert sorted(packed) == [list(each.input_ids) for each in samples]


@given(lengths=lengths)
def test_rows_have_their_length_and_learn_what_the_samples_learn(lengths: list[int]) -> None:
    samples = {each.input_ids[0]: each for each in (sample(number, length) for number, length in enumerate(lengths))}
    for row in pack(samples.values(), row_length=ROW, pad_id=PAD):
        assert len(row.input_ids) == len(row.labels) == len(row.position_ids) == ROW
        expected = [label for part in parts(row) for label in (samples[part[0]].labels if part[0] != PAD else [IGNORED] * len(part))]
        assert list(row.labels) == expected


@given(lengths=lengths)
def test_no_two_rows_are_emptier_than_half_together(lengths: list[int]) -> None:
    """Best fit opens a row only for what fits into none."""
    used = sorted(sum(lengths[index] for index in row) for row in place(lengths, row_length=ROW))
    assert len(used) < 2 or used[0] + used[1] > ROW


def test_the_tightest_row_is_taken() -> None:
    assert place([10, 8, 6, 8], row_length=16) == [[0, 2], [1, 3]]


def test_padding_is_a_sample_of_its_own() -> None:
    (row,) = pack([Encoded(array("i", [5, 6, 7]), array("i", [IGNORED, 6, 7]))], row_length=6, pad_id=4)
    assert list(row.input_ids) == [5, 6, 7, 4, 4, 4]
    assert list(row.labels) == [IGNORED, 6, 7, IGNORED, IGNORED, IGNORED]
    assert list(row.position_ids) == [0, 1, 2, 0, 1, 2]


def test_padding_with_the_end_token_leaves_the_samples_own_end_learnt() -> None:
    """T12: pad = end must not take the stop token's label away."""
    (row,) = pack([Encoded([5, 0], [IGNORED, 0])], row_length=4, pad_id=0)
    assert list(row.labels) == [IGNORED, 0, IGNORED, IGNORED]


def test_rows_come_in_the_order_of_their_first_samples() -> None:
    rows = list(pack([sample(0, 3), sample(1, 16), sample(2, 12)], row_length=ROW, pad_id=PAD))
    assert [row.input_ids[0] // ROW for row in rows] == [0, 1]
