"""Whether runs with a lower held-out loss are the better ones: Spearman's rank correlation, with its p by permutation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from math import factorial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

    Floats = NDArray[float64]

LEVEL = 0.05
_ALL = 8  # up to so many runs every order is counted (40,320); of more, so many draws:
_DRAWS = 100_000
_CHUNK = 10_000
_SEED = 0


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """`rho` over n runs, None where one side does not vary. `p`: the share of all orders with a correlation as far from 0."""

    n: int
    rho: float | None
    p: float | None

    @property
    def too_few(self) -> bool:
        """Whether even the same order on both sides would not be told from chance: two of n! orders are as extreme."""
        return self.n < 2 or 2 / factorial(self.n) > LEVEL


def spearman(left: Sequence[float], right: Sequence[float]) -> RankCorrelation:
    """The correlation of the ranks; ties share the mean of theirs. Two-sided, exact up to eight runs, drawn beyond."""
    import numpy as np

    assert len(left) == len(right)
    x, y = _standard(_ranks(left)), _standard(_ranks(right))
    if len(x) < 2 or not x.any() or not y.any():
        return RankCorrelation(len(left), None, None)
    rho = float(x @ y)
    found = np.concatenate([*_of_other_orders(x, y)])
    as_far = float(np.mean(np.abs(found) >= abs(rho) - 1e-9))
    if len(x) > _ALL:
        as_far = (as_far * len(found) + 1) / (len(found) + 1)  # of drawn orders the one that was found is one
    return RankCorrelation(len(x), rho, as_far)


def _of_other_orders(x: Floats, y: Floats) -> list[Floats]:
    import numpy as np

    if len(x) <= _ALL:
        return [y[np.array(list(permutations(range(len(y)))))] @ x]
    random = np.random.default_rng(_SEED)
    return [random.permuted(np.tile(y, (_CHUNK, 1)), axis=1) @ x for _ in range(_DRAWS // _CHUNK)]


def _ranks(values: Sequence[float]) -> Floats:
    import numpy as np

    _, place, count = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    mean: Floats = (last - (count - 1) / 2)[place]
    return mean


def _standard(ranks: Floats) -> Floats:
    """Centred, of length 1; zeros where nothing varies."""
    import numpy as np

    centred = ranks - ranks.mean() if len(ranks) else ranks
    length = float(np.linalg.norm(centred))
    return centred / length if length else centred
