"""Is tuned better than base, and how sure is that: a paired bootstrap over files.

Holes of one file are alike (same author, same names), so they are no independent draws: whole files are drawn again, with
all their holes, and base and tuned are always measured on the same holes. Legend: `C` files (clusters), `R` resamples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from finetune.errors import EvaluateError
from finetune.records import Comparison, Estimate

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

    Floats = NDArray[float64]

LEVEL = 0.95
FEWEST_FILES = 2
_CHUNK = 1 << 22  # drawn counts held at once, so that many files do not cost memory


@dataclass(frozen=True, slots=True)
class PairedScores:
    """One metric on the same items for base and tuned, item by item.

    `files` says which file an item was cut from. `weights` says how much it counts: 1 for a mean over items, its
    length in bytes for a value that is given per byte.
    """

    base: Sequence[float]
    tuned: Sequence[float]
    files: Sequence[str]
    weights: Sequence[float]

    def __post_init__(self) -> None:
        assert len(self.base) == len(self.tuned) == len(self.files) == len(self.weights)


def compare(
    scores: PairedScores,
    *,
    resamples: int,
    seed: int,
    better: Literal["higher", "lower"] = "higher",
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Comparison:
    """Base, tuned and their difference, each a weighted mean with its 95 % interval.

    `bounds` are the least and the most the metric can be. Raises EvaluateError for items of fewer than two files: what other
    files would give can not be told from one.
    """
    import numpy as np

    names, cluster = np.unique(np.asarray(scores.files, dtype=object).astype(str), return_inverse=True)
    if len(names) < FEWEST_FILES:
        raise EvaluateError(
            f"evaluate: {len(scores.files)} holes from {len(names)} file; an interval needs holes of two files or more; "
            "write a larger data.valid_share, or more repositories"
        )
    base, tuned, weights = (np.asarray(values, dtype=np.float64) for values in (scores.base, scores.tuned, scores.weights))
    columns = [base * weights, tuned * weights, (tuned - base) * weights, weights]
    sums_CK = np.stack([np.bincount(cluster, weights=column, minlength=len(names)) for column in columns], axis=1).astype(np.float64)
    means_K = _means(sums_CK.sum(axis=0, keepdims=True))[0]
    means_RK = _means(_resampled(sums_CK, resamples=resamples, seed=seed))
    width = bounds[1] - bounds[0]
    limits = (bounds, bounds, (-width, width))
    estimates = [_estimate(float(means_K[k]), means_RK[:, k], clusters=len(names), bounds=limits[k], n=len(scores.files)) for k in range(3)]
    return Comparison(base=estimates[0], tuned=estimates[1], difference=estimates[2], files=len(names), better=better)


def _means(sums_RK: Floats) -> Floats:
    """Each column of sums over the last one, the sum of weights."""
    return sums_RK[:, :-1] / sums_RK[:, -1:]


def _resampled(sums_CK: Floats, *, resamples: int, seed: int) -> Floats:
    """The column sums of `resamples` draws of C files with replacement."""
    import numpy as np

    clusters = len(sums_CK)
    random = np.random.default_rng(seed)
    chance = np.full(clusters, 1 / clusters)
    rows = max(1, _CHUNK // clusters)
    sizes = [min(rows, resamples - start) for start in range(0, resamples, rows)]
    return np.concatenate([random.multinomial(clusters, chance, size=size) @ sums_CK for size in sizes])


def _estimate(value: float, draws_R: Floats, *, clusters: int, bounds: tuple[float, float], n: int) -> Estimate:
    """The percentile interval around `value`, stretched for few files and kept within what is possible."""
    import numpy as np

    low, high = (float(bound) for bound in np.quantile(draws_R, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    stretch = small_sample_stretch(clusters)
    low, high = value - stretch * (value - low), value + stretch * (high - value)
    return Estimate(value=value, low=max(low, bounds[0]), high=min(high, bounds[1]), n=n)


@lru_cache
def small_sample_stretch(clusters: int) -> float:
    """By how much a percentile interval over `clusters` files is too short.

    A bootstrap takes the spread of C files for the true one: it is too small by sqrt((C-1)/C), and uncertain itself, which
    is what Student's t is about (Hesterberg, arXiv 1411.5279, section 4.2). 2.7 for 3 files, 1.22 for 10, 1.02 for 100.
    """
    from statistics import NormalDist

    point = (1 + LEVEL) / 2
    return student_quantile(point, clusters - 1) / NormalDist().inv_cdf(point) * math.sqrt(clusters / (clusters - 1))


def student_quantile(point: float, freedom: int) -> float:
    """The `point` quantile (above one half) of Student's t with `freedom` degrees of freedom, to six digits.

    With x = tan(a) * sqrt(freedom) the distribution's integral has the bounded integrand cos(a)^(freedom-1).
    """
    import numpy as np

    angle = np.linspace(0.0, math.pi / 2, 200_001)
    density = np.cos(angle) ** (freedom - 1)
    area = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return float(math.tan(np.interp((2 * point - 1) * area[-1], area, angle)) * math.sqrt(freedom))


def share_of(hits: int, n: int) -> Estimate:
    """A share of n draws with its interval (Wilson 1927), which stays honest at 0, at n and for few draws; each draw on its own."""
    from statistics import NormalDist

    assert 0 <= hits <= n and n > 0
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    share = hits / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Estimate(share, max(0.0, middle - half), min(1.0, middle + half), n)
