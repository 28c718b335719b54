"""Every metric on answers whose worth is plain."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.metrics import (
    METRICS,
    Attempt,
    BitsPerByte,
    EditSimilarity,
    ExactMatch,
    FirstLineMatch,
    StopsCorrectly,
    default_metrics,
    edit_distance,
)

short = st.text(alphabet="ab \n\U0001f600", max_size=8)


def attempt(truth: str, text: str, *, stopped: bool = True, nats: float = 1.0, to_the_right: bool = False) -> Attempt:
    return Attempt(truth=truth, text=text, stopped=stopped, nats=nats, to_the_right=to_the_right)


@pytest.mark.parametrize(
    ("truth", "text", "score"),
    [("return x", "return x", 1.0), ("return x", "return x \n", 1.0), ("return x", " return x", 0.0), ("a\nb", "a", 0.0), ("a", "", 0.0)],
)
def test_only_white_space_at_the_end_may_differ_in_an_exact_match(truth: str, text: str, score: float) -> None:
    assert ExactMatch()(attempt(truth, text)) == score


def test_edit_similarity_is_the_share_that_stays() -> None:
    assert EditSimilarity()(attempt("abcd", "abcd")) == 1.0
    assert EditSimilarity()(attempt("abcd", "abxd")) == 0.75
    assert EditSimilarity()(attempt("abcd", "")) == 0.0
    assert EditSimilarity()(attempt("ab", "abcd")) == 0.5


@given(short, short)
def test_edit_distance_is_the_one_of_the_textbook(left: str, right: str) -> None:
    table = [[max(i, j) for j in range(len(right) + 1)] for i in range(len(left) + 1)]
    for i, a in enumerate(left, 1):
        for j, b in enumerate(right, 1):
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (a != b))
    assert edit_distance(left, right) == table[-1][-1]


def test_the_first_line_counts_alone_and_a_blank_one_is_unscored() -> None:
    assert FirstLineMatch()(attempt("x = 1\ny = 2", "x = 1\nz = 3")) == 1.0
    assert FirstLineMatch()(attempt("x = 1", "y = 1")) == 0.0
    assert FirstLineMatch()(attempt("\n    y = 1", "\n    y = 1")) is None


def test_bits_per_byte_counts_the_bytes_of_the_utf8() -> None:
    score = BitsPerByte()(attempt("é", "", nats=4 * math.log(2)))
    assert score == pytest.approx(2.0)
    assert BitsPerByte().weight(attempt("é", "")) == 2.0


@pytest.mark.parametrize("nats", [math.inf, math.nan])
def test_a_cost_that_is_no_number_is_unscored_not_zero(nats: float) -> None:
    assert BitsPerByte()(attempt("x", "x", nats=nats)) is None


def test_an_answer_cut_by_the_limit_did_not_stop_correctly() -> None:
    assert StopsCorrectly()(attempt("x", "x", stopped=True)) == 1.0
    assert StopsCorrectly()(attempt("x", "x", stopped=False)) == 0.0
    assert StopsCorrectly()(attempt("x", "x", to_the_right=True)) is None


def test_every_metric_says_what_it_is_and_stays_within_its_bounds() -> None:
    for metric in default_metrics():
        score = metric(attempt("a b", "a c", nats=2.0))
        assert score is not None
        assert metric.bounds[0] <= score <= metric.bounds[1]
        assert metric.__doc__ and metric.unscored
    assert {kind for kind, _ in METRICS} == {"exact_match", "edit_similarity", "first_line_match", "bits_per_byte", "stops_correctly"}
