"""What a run is known by: it outlives new keys, and no two recipes share it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from finetune.data.exports import FORMATS
from finetune.data.filters import FILTERS
from finetune.data.miners import MINERS
from finetune.exporters import EXPORTERS
from finetune.methods import METHODS
from finetune.metrics import METRICS
from finetune.recipe import Recipe, parse_recipe
from finetune.recipe.digest import lasting, recipe_digest, step_digest
from finetune.registry import Later, OneOrMore, Plugin, Registry

# Made by the version that had no marks for later keys: the runs it left must still be done.
FIRST = {
    (): ("c6ae6ce4d398", "39eebf210d33", "931f4efec632", "b086dc1cc8e0", "28875d81a250"),
    ("adapter=ia3", "data.exports=[trl]", "export=[adapter]", "train.spike=2"): (
        "c6ae6ce4d398",
        "682a22322efd",
        "0dc5d7e94132",
        "0a11c8ef79db",
        "ea6f445d5701",
    ),
    (
        "sweep.search={space: {adapter.r: [1,2]}}",
        "adapter={kind: lora, r: 4}",
        "data.filters=[vendored]",
        "data.miners=[{kind: fim, rate: 0.7}, commits]",
    ): ("b4678e92fdfd", "afde6e51e1a7", "8ff4d7b5818b", "547383e791af", "f40f5d9285a1"),
}
KEYS = Path(__file__).with_name("known_keys.txt")
REGISTRIES: tuple[Registry[Any], ...] = (FILTERS, MINERS, METHODS, METRICS, EXPORTERS, FORMATS)


class Shape(Plugin):
    """A choice that has learnt to bend."""


SHAPES: Registry[Shape] = Registry("shape", Shape)


@SHAPES.register("round")
class Round(Shape):
    size: int = 3
    bend: Annotated[float, Later(0.0)] = 0.5


class Inner(BaseModel):
    old: int = 1
    new: Annotated[int, Later(7)] = 9


class Outer(BaseModel):
    inner: Inner = Inner()
    several: tuple[Annotated[Shape, SHAPES], ...] = (Round(),)
    one: Annotated[tuple[Shape, ...], OneOrMore(SHAPES)] = (Round(),)
    named: dict[str, Inner] = Field(default_factory=dict)
    whole: Annotated[tuple[int, ...], Later(())] = (1,)
    much: Annotated[bool | int, Later(True)] = True
    each: Annotated[tuple[bool | int, ...], Later((1,))] = (1,)


@pytest.mark.parametrize("overrides", FIRST, ids=range(len(FIRST)))
def test_runs_of_earlier_versions_are_still_known(overrides: tuple[str, ...]) -> None:
    recipe = parse_recipe("name: a", overrides)
    found = [*(step_digest(recipe, step) for step in ("build", "train", "evaluate", "export")), recipe_digest(recipe)]
    assert tuple(each[:12] for each in found) == FIRST[overrides]


def test_a_later_key_at_what_was_so_before_is_left_out_wherever_it_stands() -> None:
    bent = Round(bend=0.0)
    before = Outer(inner=Inner(new=7), several=(bent, bent), one=(bent,), named={"a": Inner(new=7)}, whole=())
    assert lasting(before) == {
        "inner": {"old": 1},
        "several": [{"kind": "round", "size": 3}] * 2,
        "one": {"kind": "round", "size": 3},
        "named": {"a": {"old": 1}},
    }


def test_every_other_value_of_a_later_key_counts_its_default_too() -> None:
    told = [
        lasting(Outer()),
        lasting(Outer(inner=Inner(new=7))),
        lasting(Outer(inner=Inner(new=8))),
        lasting(Outer(several=(Round(bend=0.0),))),
        lasting(Outer(one=(Round(bend=0.0),))),
        lasting(Outer(one=(Round(), Round(bend=0.0)))),
        lasting(Outer(whole=())),
        lasting(Outer(named={"a": Inner()})),
        lasting(Outer(named={"a": Inner(new=7)})),
    ]
    told += [lasting(Outer(much=1)), lasting(Outer(each=(True,)))]
    assert len({repr(each) for each in told}) == len(told)
    assert lasting(Outer()) == Outer().model_dump(mode="json", exclude={"much", "each"})


def test_a_new_key_says_what_was_so_before_it() -> None:
    """If this fails for a key that is new, mark it in its class: `Annotated[TYPE, Later(VALUE)]`, VALUE being what was so without it.

    Otherwise every run there is becomes another recipe's. Keys in the list are part of every digest; none is ever added to it.
    """
    assert sorted(known_keys()) == KEYS.read_text(encoding="utf-8").split("\n")[:-1]


def known_keys() -> Iterator[str]:
    """Every key without a mark, by the class it stands in."""
    plugins = {cls for registry in REGISTRIES for _, cls in registry}
    left, seen = [Recipe, *sorted(plugins, key=lambda cls: cls.__name__)], set[type]()
    while left:
        cls = left.pop()
        if cls in seen:
            continue
        seen.add(cls)
        name = f"{cls.kind} ({cls.__name__})" if issubclass(cls, Plugin) else cls.__name__
        for key, field in cls.model_fields.items():
            if not any(isinstance(mark, Later) for mark in field.metadata):
                yield f"{name}: {key}"
            left += _sections(field.annotation)


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _sections(inner)
