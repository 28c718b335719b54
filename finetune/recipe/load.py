"""Recipes from YAML: every fault at once, each with its place and its cure."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from finetune.errors import RecipeError
from finetune.recipe.reading import Key, YamlFault, dotted, read_yaml
from finetune.recipe.sections import Recipe
from finetune.registry import Plugin

_SECTION = "keys of its own below it, or leave it out"
_CURES = {
    "model_type": _SECTION,
    "dict_type": _SECTION,
    "invalid_key": "a key in letters",
    "too_short": "at least one",
    "string_pattern_mismatch": "a name of letters, digits, '.', '_' and '-', for example name: mine (without one it is the recipe file's)",
    "string_unicode": "a text in UTF-8",
    "string_type": "text, in quotes where YAML would read a number, a day or yes and no",
}


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a YAML file, with `key.path=value` overrides on top. Raises RecipeError with every fault."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise RecipeError(f"{path}: no such file; write the path of a recipe, for example recipes/starcoder2-3b-qlora.yaml") from error
    except (UnicodeDecodeError, IsADirectoryError, PermissionError) as error:
        raise RecipeError(f"{path}: can not be read as text ({error}); write the path of a YAML recipe") from error
    return parse_recipe(text, overrides, source=str(path), name=path.stem)


def parse_recipe(text: str, overrides: Sequence[str] = (), *, source: str = "recipe", name: str = "run") -> Recipe:
    """The recipe in a YAML text; `name` is used when the recipe gives none."""
    values, lines = _read(text, source)
    places: dict[Key, str] = {key: f"{source}:{line}" for key, line in lines.items()}
    for override in overrides:
        key = _apply(values, override)
        places = {k: v for k, v in places.items() if k[: len(key)] != key} | {key: f"override {override!r}"}
    if not values.get("name"):
        values["name"] = name
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        order = list(places)
        # A default that hangs on a faulty part is no fault of its own.
        faulty = (each for each in error.errors() if each["type"] != "default_factory_not_called")
        found = sorted(faulty, key=lambda e: _position(e["loc"], order))
        faults = [_fault(e["loc"], e["type"], e["msg"], values, places, source) for e in found]
        raise RecipeError("\n".join(faults)) from error


def dump_recipe(recipe: Recipe) -> str:
    """The resolved recipe as YAML; loading it gives an equal object."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)


def _read(text: str, source: str) -> tuple[dict[str, Any], dict[Key, int]]:
    """The values of a YAML mapping and the line on which each key stands."""
    try:
        values, lines = read_yaml(text)
    except YamlFault as fault:
        raise RecipeError(f"{source}:{fault.line}: {fault}") from fault
    if values is None:
        return {}, {}
    if not isinstance(values, dict):
        raise RecipeError(f"{source}:1: found {type(values).__name__}; write sections, for example\nmodel: {{path: demo}}")
    return values, lines


def _apply(values: dict[str, Any], override: str) -> Key:
    """Put `key.path=value` into the values; gives the key that was set."""
    words, sign, text = override.partition("=")
    if not sign or not all(words.split(".")):
        raise RecipeError(f"override {override!r}: no key=value; write for example train.learning_rate=1e-4")
    key: Key = tuple(int(part) if part.isascii() and part.isdigit() else part for part in words.split("."))
    try:
        value, _ = read_yaml(text, key)
    except YamlFault as fault:
        raise RecipeError(f"override {_short(override)}: {_short(text)} is no YAML value: {fault}") from fault
    _put(values, key, value, override)
    return key


def _put(values: Any, key: Key, value: Any, override: str) -> None:
    for depth, part in enumerate(key):
        last = depth == len(key) - 1
        if isinstance(values, dict):
            if last:
                values[part] = value
                return
            values[part] = _opened(values.get(part), key[: depth + 1])
            values = values[part]
        elif isinstance(values, list) and isinstance(part, int) and part < len(values):
            if last:
                values[part] = value
                return
            values = values[part]
        else:
            raise RecipeError(
                f"override {override!r}: nothing stands at {dotted(key[: depth + 1])} in the recipe; set {dotted(key[:depth])} whole"
            )


def _opened(value: Any, key: Key) -> Any:
    """What stands at `key`, in a form that an override can reach into: the default list, the name of a choice as a mapping."""
    default = _value(Recipe().model_dump(mode="json"), key)
    if value is None and isinstance(default, list):
        return default
    if value is None and isinstance(default, dict) and "kind" in default:
        return {"kind": default["kind"]}
    if isinstance(value, str):
        return {"kind": value}
    return {} if value is None else value


def _fault(loc: Key, kind: str, message: str, values: Any, places: Mapping[Key, str], source: str) -> str:
    """One line: place, key, what was found, what to write."""
    known = (places.get(loc[:n]) or places.get(tuple(map(str, loc[:n]))) for n in range(len(loc), 0, -1))
    place = next(filter(None, known), source)
    if kind == "extra_forbidden":
        return f"{place}: {dotted(loc)}: no such key; {_suggestion(loc, values)}"
    found = _value(values, loc)
    cure = _CURES.get(kind) or message.removeprefix("Input should be ").removeprefix("Value error, ")
    if kind == "tuple_type":
        example = yaml.safe_dump([found] if isinstance(found, str | int | float) else [], default_flow_style=True, width=math.inf).strip()
        cure = f"a list, for example {example}"
    if kind == "plugin":
        return f"{place}: {dotted(loc)}: {cure}"
    return f"{place}: {dotted(loc)}: found {found!r}; write {cure}"


def _position(loc: Key, order: Sequence[Key]) -> int:
    """Where in the file, or behind it among the overrides, the nearest key above `loc` stands."""
    return next((order.index(loc[:n]) for n in range(len(loc), 0, -1) if loc[:n] in order), -1)


def _value(values: Any, loc: Key) -> Any:
    for part in loc:
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            return None
    return values


def _suggestion(loc: Key, values: Any) -> str:
    owner = _owner(loc[:-1], values)
    known = sorted(owner.model_fields) if owner is not None else []
    near = difflib.get_close_matches(str(loc[-1]), known, n=1)
    if near:
        return f"did you mean {near[0]}?"
    return "known keys: " + ", ".join(known) if known else "this choice has no options"


def _owner(loc: Key, values: Any) -> type[BaseModel] | None:
    """The class whose fields may stand at `loc`: a section, or the plugin chosen there."""
    model: type[BaseModel] | None = Recipe
    for depth, part in enumerate(loc):
        if model is None or isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        if field is None:
            return None
        model = _model_of(field.annotation, field.metadata, _value(values, loc[: depth + 1]), loc[depth + 1 :])
    return model


def _model_of(annotation: Any, metadata: Sequence[Any], value: Any, rest: Key) -> type[BaseModel] | None:
    """The class behind a field's type: a section itself, or the plugin of the kind that the values name."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and not issubclass(annotation, Plugin):
        return annotation
    registries = [*metadata, *(m for inner in getattr(annotation, "__args__", ()) for m in getattr(inner, "__metadata__", ()))]
    if rest and isinstance(rest[0], int):
        value = _value(value, rest[:1])
    kind = value.get("kind") if isinstance(value, dict) else value
    return next((cls for registry in registries for name, cls in registry if name == kind), None)


def _short(text: str) -> str:
    return repr(text if len(text) < 100 else f"{text[:100]} ...")
