"""From a recipe with a product or a list of overrides to one recipe for each run, all sound."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

from finetune.base import BaseFolder, read_base
from finetune.check import require_rows_of, require_sound
from finetune.errors import FinetuneError, RecipeError, TrainError
from finetune.hashing import stable_hash
from finetune.recipe import Recipe, SweepSection, dump_recipe, parse_recipe
from finetune.run import Run, load_run

Setting: TypeAlias = Mapping[str, Any]
_LONGEST_NAME = 80  # characters; file systems allow 255 bytes


@dataclass(frozen=True, slots=True)
class Point:
    """One run of a sweep: what is set, and its whole recipe; `misfit` says why this machine can not hold it."""

    overrides: Setting
    recipe: Recipe
    misfit: str | None = None

    @property
    def name(self) -> str:
        return self.recipe.name


def points(recipe: Recipe) -> list[Point]:
    """A sound recipe for every run of the product or the list. Raises RecipeError with the faults of all of them."""
    settings = [*_settings(recipe)]
    if not settings:
        raise RecipeError(
            f"{recipe.name}: sweep has nothing to run; write for example sweep.grid={{adapter.r: [4, 16]}}, sweep.runs=[{{adapter: lora}}, "
            "{adapter: ia3}], or sweep.search={trials: 20, space: {train.learning_rate: {low: 1e-4, high: 1e-2, log: true}}}"
        )
    where = "sweep.grid" if recipe.sweep.grid else "sweep.runs"
    twice = [name for name, count in Counter(map(name_of, settings)).items() if count > 1]
    faults = [f"{where}: {name} stands in it more than once; keep one" for name in twice]
    return sound(recipe, settings, faults)


def require_same_base(runs: Iterable[Run]) -> None:
    """Raises RecipeError when one of these runs has rows that were made for other files of its base than lie there now."""
    found: dict[str, BaseFolder] = {}
    for run in runs:
        if run.mark("build"):
            model = run.recipe.model
            place = model.model_dump_json()
            base = found[place] = found.get(place) or read_base(model)
            require_rows_of(base, run, error=RecipeError, cure="write name=NEW for a sweep of this base beside it")


def begun(recipe: Recipe) -> Iterator[Run]:
    """What lies below a search, on the base that it names; a run whose recipe can not be read is left to the trial that takes it."""
    for path in sorted((Path(recipe.runs) / recipe.name).glob("*/recipe.yaml")):
        with suppress(FinetuneError):
            run = load_run(path.parent)
            if (run.recipe.model.path, run.recipe.model.revision) == (recipe.model.path, recipe.model.revision):
                yield run


def sound(recipe: Recipe, settings: Iterable[Setting], faults: Iterable[str] = ()) -> list[Point]:
    """The points of the settings. Raises RecipeError with all their faults, behind the `faults` that are known already."""
    found, told = [], [*faults]
    for setting in settings:
        try:
            found.append(point(recipe, setting))
        except FinetuneError as error:
            told += str(error).splitlines()
    if told:
        raise RecipeError("\n".join(dict.fromkeys(told)))
    return found


def fitted(recipe: Recipe, found: Sequence[Point]) -> list[Point]:
    """The points, each rehearsed on fake tensors. Raises RecipeError for all that the model does not allow or this machine can not hold.

    With `sweep.misfits=row` what it can not hold is kept, to become a row with its error.
    """
    from finetune.plan import require_fit

    judged, faults = [], []
    for each in found:
        try:
            require_fit(read_base(each.recipe.model), each.recipe)
            judged.append(each)
        except TrainError as error:
            judged.append(Point(each.overrides, each.recipe, misfit=str(error)))
        except FinetuneError as error:
            faults.append(f"{each.name}: {error}")
    if recipe.sweep.misfits == "refuse":
        cure = "(leave the run out, or write sweep.misfits=row to run the others all the same)"
        faults += [f"{each.name}: {each.misfit} {cure}" for each in judged if each.misfit]
    if faults:
        raise RecipeError("\n".join(faults))
    return judged


def point(recipe: Recipe, setting: Setting, *, name: str | None = None) -> Point:
    """The recipe with the setting on top: one experiment, in a folder of its own below the sweep's. Raises RecipeError if unsound."""
    name = name or name_of(setting)
    alone = recipe.model_copy(update={"sweep": SweepSection(), "name": name, "runs": f"{recipe.runs}/{recipe.name}"})
    overrides = [f"{key}={json.dumps(value)}" for key, value in setting.items()]
    return Point(setting, require_sound(parse_recipe(dump_recipe(alone), overrides, source=f"{recipe.name} with {', '.join(overrides)}")))


def name_of(setting: Setting) -> str:
    """A run's name from what is set, the same in every order of the grid's values.

    >>> name_of({"adapter.r": 4, "train.learning_rate": 0.0002})
    'r-4_learning_rate-0.0002'
    """
    if not setting:
        return "as_written"
    short = [key.rsplit(".", 1)[-1] for key in setting]
    keys = short if len(set(short)) == len(short) else [*setting]
    parts = [f"{key}-{_value(value)}" for key, value in zip(keys, setting.values(), strict=True)]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", "_".join(parts))
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}-{_digest(setting)}"


def _settings(recipe: Recipe) -> Iterator[Setting]:
    grid, runs = recipe.sweep.grid, recipe.sweep.runs
    if grid:
        yield from (dict(zip(grid, values, strict=True)) for values in product(*grid.values()))
    yield from runs


def _value(value: Any) -> str:
    """A plain value as it is written; of a mapping or list its kind, where it has one, and a digest."""
    if isinstance(value, Mapping):
        return f"{value.get('kind', '')}{_digest(value)}"
    return _digest(value) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


def _digest(value: Any) -> str:
    return f"{stable_hash(json.dumps(value, sort_keys=True)):016x}"[:8]
