"""Padding is shared out among rows."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from finetune.data.pack import place, rows_of
from finetune.data.padding import MOST, share_out

ROW = 400
MUCH = MOST * ROW
lengths = st.lists(st.one_of(st.integers(1, ROW), st.integers(1, 60), st.integers(ROW - 20, ROW)), min_size=1, max_size=60)


def padding(rows: list[list[int]], of: list[int]) -> list[int]:
    return [ROW - sum(of[index] for index in row) for row in rows]


def test_rows_exchange_samples_until_none_has_much_padding() -> None:
    """Of a row that misses 40 tokens, three samples of 90 change places with samples of 100, a row each."""
    rows, of = [[0, 1, 2, 3], [4, 5], [6, 7], [8, 9]], [90, 90, 90, 90, 300, 100, 300, 100, 300, 100]
    share_out(rows, of, row_length=ROW)
    assert [sorted(of[index] for index in row) for row in rows] == [[90, 100, 100, 100], [90, 300], [90, 300], [90, 300]]


def test_a_row_that_can_not_be_filled_up_keeps_its_samples() -> None:
    rows = [[0], [1, 2]]
    share_out(rows, [300, 200, 200], row_length=ROW)
    assert rows == [[0], [1, 2]], "the second row has 12 to spare at most, the first misses 88"


def test_several_samples_stand_for_one() -> None:
    rows, of = [[0], [1, 2, 3]], [380, 390, 5, 5]
    share_out(rows, of, row_length=ROW)
    assert padding(rows, of) == [10, 10]


@given(of=lengths)
def test_samples_stay_whole_and_rows_with_much_padding_become_fewer_or_stay(of: list[int]) -> None:
    fitted = [[index] for index in range(len(of))]
    for index in range(1, len(of)):  # first fit, in any order
        fits = next(row for row in fitted if sum(of[each] for each in row if each != index) + of[index] <= ROW)
        fitted[index].remove(index)
        fits.append(index)
    before = [row for row in fitted if row]
    after = [[*row] for row in before]
    share_out(after, of, row_length=ROW)
    assert sorted(index for row in after for index in row) == [*range(len(of))]
    for old, new in zip(padding(before, of), padding(after, of), strict=True):
        assert new == old if new > MUCH else new >= 0
    assert all(new <= MUCH for old, new in zip(padding(before, of), padding(after, of), strict=True) if old <= MUCH)


@given(of=lengths, seed=st.integers(0, 9))
def test_the_order_of_samples_changes_no_row_s_lengths(of: list[int], seed: int) -> None:
    shuffled = random.Random(seed).sample(of, len(of))
    first, second = (sorted(sorted(each[index] for index in row) for row in place(each, row_length=ROW)) for each in (of, shuffled))
    assert first == second


def test_rows_of_a_repository_s_windows_are_all_filled_to_97_percent() -> None:
    """Files of any length in windows of a row: full ones, and what is left of each file."""
    for seed in range(5):
        draws = random.Random(seed)
        files = [int(draws.lognormvariate(5.5, 1.2)) + 5 for _ in range(400)]
        of = [each for file in files for each in [ROW] * (file // ROW) + [file % ROW] if each]
        spread = padding(place(of, row_length=ROW), of)
        assert max(spread) <= MUCH, (seed, spread)


def test_no_part_of_the_samples_is_small_enough_to_leave_a_row_part_empty() -> None:
    of = [ROW, 350, 50] * 2731  # one more than are placed together
    assert max(padding([*rows_of(of, row_length=ROW)], of)) == 0
