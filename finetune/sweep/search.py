"""What a search draws, with which sampler and pruner, and what must hold before its first run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product
from math import prod
from typing import TYPE_CHECKING, Any

from finetune.errors import RecipeError
from finetune.hashing import stable_hash
from finetune.recipe import Recipe, SearchSection, ValuesSection
from finetune.sweep.points import Point, Setting, sound
from finetune.sweep.report import LOSS

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

_MOST_CHECKED = 200  # combinations that are checked before the first run; of more, each value beside the first of the others
_DIGITS = 4  # of a drawn number: more would only make the names of runs longer
_SAME_ROWS = ("model.dtype", "model.quantization", "model.double_quant")


def search_of(recipe: Recipe) -> SearchSection:
    """The recipe's search. Raises RecipeError for one that can not be done as it stands."""
    search = recipe.sweep.search
    assert search is not None
    faults = [*_faults(recipe, search)]
    if faults:
        raise RecipeError("\n".join(faults))
    return search


def corners(recipe: Recipe, search: SearchSection) -> list[Point]:
    """The runs at the ends of every range and with every choice. Raises RecipeError with the faults of all of them."""
    return sound(recipe, _corners(search))


def draw(trial: Trial, search: SearchSection) -> Setting:
    """The overrides of one trial."""
    return {key: _drawn(trial, key, values) for key, values in search.space.items()}


def sampler(search: SearchSection, *, seed: int, number: int) -> BaseSampler:
    """Who draws trial `number`: a generator of its own, so that a search that goes on draws what an undisturbed one draws."""
    from optuna.samplers import RandomSampler, TPESampler

    own = stable_hash(seed, "search", number) % (1 << 32)
    return RandomSampler(seed=own) if search.sampler == "random" else TPESampler(seed=own, constant_liar=True)


def pruner(search: SearchSection) -> BasePruner:
    """Who ends a run early."""
    from optuna import pruners

    match search.pruner:
        case "none":
            return pruners.NopPruner()
        case "median":
            return pruners.MedianPruner(n_startup_trials=search.spared_trials, n_warmup_steps=search.spared_steps)
        case "halving":
            return pruners.SuccessiveHalvingPruner()
        case "hyperband":
            return pruners.HyperbandPruner()


def minimised(recipe: Recipe, search: SearchSection) -> bool:
    """Whether less is better."""
    if search.direction != "auto":
        return search.direction == "minimize"
    better = {metric.kind: metric.better for metric in recipe.evaluate.metrics}
    return search.metric == LOSS or better[search.metric] == "lower"


def _drawn(trial: Trial, key: str, values: ValuesSection) -> Any:
    if values.choices:
        return json.loads(trial.suggest_categorical(key, [json.dumps(choice) for choice in values.choices]))
    low, high = _ends(values)
    if _whole(values):
        return trial.suggest_int(key, int(low), int(high), step=int(values.step or 1), log=values.log)
    drawn = trial.suggest_float(key, low, high, step=values.step, log=values.log)
    return min(max(float(f"{drawn:.{_DIGITS}g}"), low), high)


def _ends(values: ValuesSection) -> tuple[float, float]:
    assert values.low is not None and values.high is not None
    return values.low, values.high


def _whole(values: ValuesSection) -> bool:
    return all(isinstance(each, int) for each in (values.low, values.high)) and isinstance(values.step, int | None)


def _extremes(values: ValuesSection) -> Sequence[Any]:
    return values.choices or _ends(values)


def _corners(search: SearchSection) -> Iterator[Setting]:
    extremes: Mapping[str, Sequence[Any]] = {key: _extremes(values) for key, values in search.space.items()}
    if prod(map(len, extremes.values())) <= _MOST_CHECKED:
        yield from (dict(zip(extremes, values, strict=True)) for values in product(*extremes.values()))
        return
    first = {key: values[0] for key, values in extremes.items()}
    yield first
    for key, values in extremes.items():
        yield from (first | {key: value} for value in islice(values, 1, None))


def _faults(recipe: Recipe, search: SearchSection) -> Iterator[str]:
    where = "sweep.search"
    if not search.space:
        yield f"{where}.space: found nothing to search; write for example {{train.learning_rate: {{low: 1e-4, high: 1e-2, log: true}}}}"
        return
    known = [LOSS, *(metric.kind for metric in recipe.evaluate.metrics)]
    if search.metric not in known:
        yield f"{where}.metric: found {search.metric!r}; write one of {', '.join(known)}"
    sizes = [len(values.choices) for values in search.space.values()]
    if 0 not in sizes and prod(sizes) < search.trials:
        yield f"{where}.trials: found {search.trials}, but the space has {prod(sizes)} points; write that or less, or sweep.grid for all"
    moved = [key for key in search.space if key.startswith(("data", "model", "seed")) and key not in _SAME_ROWS]
    by_loss = [name for name, used in (("metric: valid_loss", search.metric == LOSS), ("pruner", search.pruner != "none")) if used]
    if moved and by_loss:
        yield (
            f"{where}.space: {moved[0]} changes the held-out rows, and losses on other rows say nothing about each other "
            f"({' and '.join(by_loss)}); write {where}.metric=bits_per_byte {where}.pruner=none"
        )
    if by_loss and recipe.data.valid_share == 0:
        yield f"data.valid_share: found 0, but {where} goes by held-out losses; write for example data.valid_share=0.1"
