"""Spearman's correlation: closed forms, ties, and how sure it can be."""

from __future__ import annotations

from math import factorial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.sweep import spearman


@pytest.mark.parametrize("n", [5, 6, 7])
def test_the_same_order_on_both_sides_is_one_and_as_likely_as_two_orders_of_all(n: int) -> None:
    found = spearman(range(n), [10.0**i for i in range(n)])
    assert found.rho == pytest.approx(1) and found.p == pytest.approx(2 / factorial(n)) and not found.too_few
    assert spearman(range(n), range(n, 0, -1)).rho == pytest.approx(-1)


def test_without_ties_it_is_the_formula_of_squared_differences() -> None:
    left, right = [1, 2, 3, 4, 5, 6], [2, 1, 4, 3, 6, 5]
    squares = sum((a - b) ** 2 for a, b in zip(left, right, strict=True))
    assert spearman(left, right).rho == pytest.approx(1 - 6 * squares / (6 * (6**2 - 1)))


def test_ties_share_the_mean_of_their_ranks() -> None:
    """By hand: ranks 1.5 1.5 3 4 and 1 2 3 4; Pearson's correlation of them is 4.5 / sqrt(4.5 * 5)."""
    assert spearman([7, 7, 8, 9], [1, 2, 3, 4]).rho == pytest.approx(4.5 / (4.5 * 5) ** 0.5)


def test_four_runs_are_too_few_whatever_their_order_and_five_are_not() -> None:
    assert spearman(range(4), range(4)).too_few and spearman(range(4), range(4)).p == pytest.approx(2 / 24)
    assert not spearman(range(5), range(5)).too_few


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0, 2.0]])
def test_where_nothing_varies_there_is_no_correlation(values: list[float]) -> None:
    found = spearman(values, range(len(values)))
    assert (found.n, found.rho, found.p) == (len(values), None, None)


def test_beyond_eight_runs_orders_are_drawn_and_an_order_by_chance_is_not_taken_for_one() -> None:
    assert (found := spearman(range(10), range(10))).p is not None and 0 < found.p < 1e-4
    shuffled = spearman(range(10), [3, 8, 1, 9, 0, 5, 7, 2, 6, 4])
    assert shuffled.p is not None and shuffled.p > 0.5


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=6))
def test_swapping_the_sides_or_turning_one_round_changes_no_more_than_the_sign(pairs: list[tuple[int, int]]) -> None:
    left, right = zip(*pairs, strict=True)
    found, swapped, turned = spearman(left, right), spearman(right, left), spearman(left, [-value for value in right])
    if found.rho is None:
        assert swapped.rho is None and turned.rho is None
        return
    assert swapped.rho == pytest.approx(found.rho) and turned.rho == pytest.approx(-found.rho)
    assert swapped.p == pytest.approx(found.p) == turned.p
