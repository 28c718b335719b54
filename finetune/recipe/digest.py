"""What a result was made by, as digests of a recipe that stay the same when a later version knows more keys."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from finetune.recipe.sections import Recipe
from finetune.registry import Later

_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "build": ("seed", "model", "data"),
    "train": ("seed", "model", "data", "adapter", "train"),
    "evaluate": ("seed", "model", "data", "adapter", "train", "evaluate"),
    "export": ("seed", "model", "data", "adapter", "train", "export"),
}
# They change what is watched and kept on the way, not what comes out: a training goes on when they change.
_WITHOUT_EFFECT: Mapping[str, tuple[str, ...]] = {
    "data": ("exports", "processes", "shard_mb"),
    "train": ("fit", "keep_checkpoints", "report_to", "save_every", "spike"),
}
_PLACE = ("path", "revision")


def step_digest(recipe: Recipe, step: str, *, anywhere: bool = False) -> str:
    """SHA-256 over the parts of the recipe that `step` depends on.

    `anywhere`: wherever the base lies; who compares these has to compare the base's files as well. The embedded base stays what it is:
    a copy of it elsewhere is read otherwise.
    """
    whole = lasting(recipe)
    for name, keys in _WITHOUT_EFFECT.items():
        whole[name] = {key: value for key, value in whole[name].items() if key not in keys}
    if anywhere and recipe.model.path != "demo":
        whole["model"] = {key: value for key, value in whole["model"].items() if key not in _PLACE}
    return _sha256({name: whole[name] for name in _SECTIONS[step]})


def recipe_digest(recipe: Recipe) -> str:
    """SHA-256 of the resolved recipe."""
    return _sha256(lasting(recipe))


def lasting(model: BaseModel) -> dict[str, Any]:
    """A recipe, or a part of it, as plain values, without each key that says what was so before there was the key.

    No two that differ are alike in it: a key is left out at one value alone, which its class names and which is no default.
    """
    values = model.model_dump(mode="json")
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if any(isinstance(mark, Later) and _alike(mark.before, value) for mark in field.metadata):
            del values[name]
        else:
            values[name] = _lasting(value, values[name])
    return values


def _alike(one: Any, other: Any) -> bool:
    """Whether two values are the same and of the same types: True is no 1, nor is 1.0."""
    return bool(one == other) and repr(one) == repr(other)


def _lasting(value: Any, written: Any) -> Any:
    """`written` is the value as it is dumped; one choice of several may be written as itself."""
    match value:
        case BaseModel():
            return lasting(value)
        case tuple() if isinstance(written, list):
            return [_lasting(*each) for each in zip(value, written, strict=True)]
        case (BaseModel() as one,):
            return lasting(one)
        case dict():
            return {key: _lasting(value[key], each) for key, each in written.items()}
    return written


def _sha256(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
