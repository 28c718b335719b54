"""From a recipe with a grid to one recipe for each of its points, all sound."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from finetune.check import require_sound
from finetune.errors import FinetuneError, RecipeError
from finetune.hashing import stable_hash
from finetune.recipe import Recipe, SweepSection, dump_recipe, parse_recipe

_LONGEST_NAME = 80  # characters; file systems allow 255 bytes


@dataclass(frozen=True, slots=True)
class Point:
    """One point of the grid: what is set, and the whole recipe of its run."""

    overrides: Mapping[str, Any]
    recipe: Recipe


def points(recipe: Recipe) -> list[Point]:
    """A sound recipe for every point of the grid. Raises RecipeError with the faults of all of them."""
    grid = recipe.sweep.grid
    if not grid or not all(grid.values()):
        raise RecipeError(f"{recipe.name}: sweep.grid has nothing to run; write for example sweep.grid={{adapter.r: [4, 16]}}")
    settings = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    names = [name_of(setting) for setting in settings]
    twice = [name for name, count in Counter(names).items() if count > 1]
    faults = [f"sweep.grid: {name} stands in it more than once; keep one" for name in twice]
    found = []
    for name, setting in zip(names, settings, strict=True):
        try:
            found.append(Point(setting, _recipe(recipe, name, setting)))
        except FinetuneError as error:
            faults += str(error).splitlines()
    if faults:
        raise RecipeError("\n".join(dict.fromkeys(faults)))
    return found


def name_of(setting: Mapping[str, Any]) -> str:
    """A run's name from what is set, the same in every order of the grid's values.

    >>> name_of({"adapter.r": 4, "train.learning_rate": 0.0002})
    'r-4_learning_rate-0.0002'
    """
    short = [key.rsplit(".", 1)[-1] for key in setting]
    keys = short if len(set(short)) == len(short) else [*setting]
    parts = [f"{key}-{_value(value)}" for key, value in zip(keys, setting.values(), strict=True)]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", "_".join(parts))
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}-{_digest(setting)}"


def _value(value: Any) -> str:
    """A plain value as it is written; of a mapping or list its kind, where it has one, and a digest."""
    if isinstance(value, Mapping):
        return f"{value.get('kind', '')}{_digest(value)}"
    return _digest(value) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


def _digest(value: Any) -> str:
    return f"{stable_hash(json.dumps(value, sort_keys=True)):016x}"[:8]


def _recipe(recipe: Recipe, name: str, setting: Mapping[str, Any]) -> Recipe:
    """The recipe with the setting on top: one experiment, in a folder of its own below the sweep's."""
    alone = recipe.model_copy(update={"sweep": SweepSection(), "name": name, "runs": f"{recipe.runs}/{recipe.name}"})
    overrides = [f"{key}={json.dumps(value)}" for key, value in setting.items()]
    return require_sound(parse_recipe(dump_recipe(alone), overrides, source=f"{recipe.name} with {', '.join(overrides)}"))
