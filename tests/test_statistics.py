"""The paired bootstrap over files, on cases whose answer is known."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from finetune.errors import EvaluateError
from finetune.records import Comparison
from finetune.statistics import PairedScores, compare, small_sample_stretch, student_quantile


def paired(base: list[float], tuned: list[float], files: list[str], weights: list[float] | None = None) -> PairedScores:
    return PairedScores(base=base, tuned=tuned, files=files, weights=weights or [1.0] * len(base))


def test_identical_arms_differ_by_exactly_nothing() -> None:
    scores = [0.1, 0.7, 0.35, 0.0, 1.0, 0.9]
    result = compare(paired(scores, scores, list("aabbcc")), resamples=500, seed=0)
    assert (result.difference.value, result.difference.low, result.difference.high) == (0.0, 0.0, 0.0)
    assert not result.shown


def test_a_constant_gain_on_every_item_has_no_uncertainty() -> None:
    result = compare(paired([0.0] * 8, [1.0] * 8, list("aabbccdd")), resamples=500, seed=0)
    assert (result.difference.low, result.difference.high) == (1.0, 1.0)
    assert not result.shown  # four files agree by chance alone
    assert compare(paired([0.0] * 6, [1.0] * 6, list("abcdef")), resamples=500, seed=0).shown


def test_the_mean_is_weighted_by_what_an_item_counts() -> None:
    result = compare(paired([1.0, 4.0], [1.0, 2.0], ["a", "b"], weights=[3.0, 1.0]), resamples=100, seed=0)
    assert result.base.value == pytest.approx((3 * 1 + 4) / 4)
    assert result.difference.value == pytest.approx(-2 / 4)


def test_many_holes_of_few_files_do_not_make_the_interval_narrow() -> None:
    random = np.random.default_rng(1)
    effect = random.normal(size=12)
    few = paired([0.0] * 12, list(effect), [f"f{i}" for i in range(12)])
    copied = paired([0.0] * 1200, list(np.repeat(effect, 100)), [f"f{i}" for i in range(12) for _ in range(100)])
    narrow, wide = (compare(scores, resamples=1000, seed=3).difference for scores in (copied, few))
    assert narrow.high - narrow.low == pytest.approx(wide.high - wide.low)


def test_the_same_seed_gives_the_same_interval_and_another_seed_nearly_so() -> None:
    random = np.random.default_rng(2)
    scores = paired(list(random.random(60)), list(random.random(60)), [f"f{i % 20}" for i in range(60)])
    first, again, other = (compare(scores, resamples=2000, seed=seed) for seed in (5, 5, 6))
    assert first == again
    assert other != first
    assert other.difference.low == pytest.approx(first.difference.low, abs=0.02)


def test_pairing_gives_a_shorter_interval_than_either_arm() -> None:
    random = np.random.default_rng(4)
    base = random.normal(size=40)
    result = compare(paired(list(base), list(base + 0.05), [f"f{i}" for i in range(40)]), resamples=1000, seed=0)
    assert result.shown
    assert result.base.high - result.base.low > 0.3


def test_an_interval_stays_within_what_the_metric_can_be() -> None:
    scores = paired([1.0, 1.0, 0.0, 1.0], [1.0, 1.0, 1.0, 0.0], list("abcd"))
    result = compare(scores, resamples=500, seed=0, bounds=(0.0, 1.0))
    assert result.base.high == 1.0
    assert -1.0 <= result.difference.low <= result.difference.high <= 1.0


@pytest.mark.parametrize("files", [["a", "a", "a"], []])
def test_one_file_is_not_enough_for_an_interval(files: list[str]) -> None:
    scores = paired([0.0] * len(files), [1.0] * len(files), files)
    with pytest.raises(EvaluateError, match=r"holes from \d file.*data\.valid_share"):
        compare(scores, resamples=100, seed=0)


@pytest.mark.parametrize(("clusters", "per_cluster"), [(3, 8), (8, 5), (30, 3)])
def test_the_interval_holds_the_truth_about_95_times_in_100(clusters: int, per_cluster: int) -> None:
    """400 experiments with a spread between files as large as the one within: the true difference is 0.3."""
    random = np.random.default_rng(clusters)
    files = [f"f{i}" for i in range(clusters) for _ in range(per_cluster)]
    hits = sum(_holds(random, files, clusters, per_cluster) for _ in range(400))
    assert 0.91 <= hits / 400 <= 0.99, hits / 400


def _holds(random: np.random.Generator, files: list[str], clusters: int, per_cluster: int) -> bool:
    noise = np.repeat(random.normal(size=clusters), per_cluster) + random.normal(size=len(files))
    base = random.normal(size=len(files))
    result: Comparison = compare(paired(list(base), list(base + 0.3 + noise), files), resamples=400, seed=0)
    return result.difference.low <= 0.3 <= result.difference.high


@pytest.mark.parametrize(("freedom", "expected"), [(1, 12.7062), (4, 2.7764), (9, 2.2622), (30, 2.0423)])
def test_students_quantile_agrees_with_the_printed_tables(freedom: int, expected: float) -> None:
    assert student_quantile(0.975, freedom) == pytest.approx(expected, abs=1e-4)


def test_the_stretch_vanishes_for_many_files() -> None:
    assert small_sample_stretch(2) > small_sample_stretch(10) > small_sample_stretch(100) > 1
    assert student_quantile(0.975, 5000) == pytest.approx(NormalDist().inv_cdf(0.975), abs=1e-3)
