"""From a recipe to its study, or to who else's it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from finetune.errors import RecipeError
from finetune.recipe import Recipe
from finetune.recipe.digest import lasting
from finetune.records import REPORT_FORMAT
from finetune.sweep.board import Board, Worker
from finetune.sweep.database import STUDY, address, open_storage, shown
from finetune.sweep.search import minimised, pruner, search_of

_SECTIONS = ("seed", "model", "data", "adapter", "train")
_SHOWN = 3  # differences in the message
_NOTHING = "nothing"


def open_board(recipe: Recipe, folder: Path, worker: Worker) -> Board:
    """The recipe's study. Raises RecipeError when one of its name is another recipe's."""
    import optuna

    url = address(recipe.sweep.storage, folder)
    storage = open_storage(url)
    search = recipe.sweep.search
    study = optuna.create_study(
        storage=storage,
        study_name=recipe.name,
        direction="minimize" if search is None or minimised(recipe, search) else "maximize",
        pruner=optuna.pruners.NopPruner() if search is None else pruner(search_of(recipe)),
        load_if_exists=True,
    )
    measure = hashlib.sha256(json.dumps([REPORT_FORMAT, lasting(recipe)["evaluate"]], sort_keys=True).encode()).hexdigest()
    board = Board(storage, study, worker, measure=measure, local=not recipe.sweep.storage)
    mine = described(recipe)
    found = board.recipe(mine)
    if differing := [key for key in {**found, **mine} if found.get(key, _NOTHING) != mine.get(key, _NOTHING)]:
        board.close()
        raise RecipeError(_refusal(recipe, url, found, differing))
    return board


def described(recipe: Recipe) -> dict[str, Any]:
    """What the runs of a study have in common, by dotted key: of a product or a list all but the measurement, which can be done again."""
    values = lasting(recipe)
    kept = {name: values[name] for name in _SECTIONS}
    if recipe.sweep.search is None:
        return dict(_flat(kept))
    search = {key: value for key, value in values["sweep"]["search"].items() if key != "trials"}
    return dict(_flat({**kept, "evaluate": values["evaluate"], "sweep": {"search": search}}))


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _refusal(recipe: Recipe, url: str, found: Mapping[str, Any], differing: list[str]) -> str:
    mine = described(recipe)
    told = [f"{key} is {_short(found.get(key, _NOTHING))} there and {_short(mine.get(key, _NOTHING))} here" for key in differing[:_SHOWN]]
    more = f" and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
    remove = f"remove {Path(recipe.runs) / recipe.name / STUDY} to begin anew" if not recipe.sweep.storage else "choose another storage"
    return (
        f"{shown(url)}: the study {recipe.name!r} is of another recipe: {'; '.join(told)}{more}. Rows of two recipes can not be compared; "
        f"write name=NEW for a sweep beside it, put the recipe back, or {remove}"
    )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 60 else f"{text[:60]}..."
