"""What fits where: the largest row and batch for a size, and settings to propose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from finetune.base import BaseFolder
from finetune.methods import Lora
from finetune.plan.counter import Part
from finetune.plan.growth import UNIT, At, Growth, Moment
from finetune.plan.limits import SPARE, Device
from finetune.plan.result import Fit, Proposal
from finetune.recipe import Recipe

LONGEST = 1 << 17  # tokens in a row, for a model that names no limit
MOST_ROWS = 1 << 10
PASSING = (Part.ACTIVATIONS, Part.LOSS, Part.BACKWARD, Part.UPDATE)


def spare(moment: Moment) -> int:
    """What the allocator is assumed to lose beside what comes and goes."""
    return int(SPARE * (moment.squared + sum(moment.parts[part] for part in PASSING)))


def needed(at: At, device: Device) -> int:
    """Bytes with what is assumed."""
    return at.highest.size + device.context + (spare(at.highest) if device.gpu else 0)


def fits(at: At, device: Device) -> bool:
    """Whether a step fits beside what is kept free; so it does on a device without a size."""
    return device.room is None or needed(at, device) <= device.room


def fit(growth: Growth, recipe: Recipe, card: Device, *, longest: int) -> Fit:
    """The longest row and the largest batch that a card takes, each with the recipe's other number."""
    rows, row_length = recipe.train.batch_size, recipe.data.row_length
    assert card.size is not None
    units = _largest(longest // UNIT, lambda units: fits(growth.at(rows, units * UNIT), card))
    most = _largest(MOST_ROWS, lambda each: fits(growth.at_rows(each, row_length), card))
    return Fit(card.size, units * UNIT if units else None, most or None)


def _largest(most: int, holds: Callable[[int], bool]) -> int:
    """The largest number up to `most` that fits, 0 for none; what is smaller than one that fits, fits."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


class Setting(NamedTuple):
    """A way to train that may be proposed, and why."""

    recipe: Recipe
    why: str


class Proposer:
    """Proposes settings for cards; each way is rehearsed once, when the faster ones before it do not fit."""

    def __init__(self, base: BaseFolder, recipe: Recipe, *, gpu: bool = True) -> None:
        self._base = base
        self._recipe = recipe
        self._gpu = gpu
        self._settings = tuple(settings(recipe))
        self._grown: dict[int, Growth] = {}

    def propose(self, card: Device) -> Proposal | None:
        """The fastest settings that fit, at the recipe's row length; a shorter row only where nothing else helps; None if nothing does."""
        for number, setting in enumerate(self._settings):
            found = self._with_rows(number, setting, card)
            if found is not None:
                return found
        number = len(self._settings) - 1
        return self._with_shorter_rows(number, self._settings[number], card)

    def _growth(self, number: int, setting: Setting) -> Growth:
        if number not in self._grown:
            self._grown[number] = Growth(self._base, setting.recipe, Device(gpu=self._gpu, size=None))
        return self._grown[number]

    def _with_rows(self, number: int, setting: Setting, card: Device) -> Proposal | None:
        growth, row_length = self._growth(number, setting), setting.recipe.data.row_length
        together = setting.recipe.train.batch_size * setting.recipe.train.accumulation
        for rows in (rows for rows in range(together, 0, -1) if together % rows == 0):
            at = growth.at_rows(rows, row_length)
            if fits(at, card):
                return self._proposal(setting, card, Size(rows, row_length, needed(at, card)))
        return None

    def _with_shorter_rows(self, number: int, setting: Setting, card: Device) -> Proposal | None:
        growth, asked = self._growth(number, setting), setting.recipe.data.row_length
        units = _largest(asked // UNIT, lambda units: fits(growth.at(1, units * UNIT), card))
        if not units:
            return None
        return self._proposal(setting, card, Size(1, units * UNIT, needed(growth.at(1, units * UNIT), card)))

    def _proposal(self, setting: Setting, card: Device, size: Size) -> Proposal:
        train = self._recipe.train
        together = train.batch_size * train.accumulation * self._recipe.data.row_length
        accumulation = max(round(together / (size.rows * size.row_length)), 1)
        chosen = setting.recipe
        wanted = {
            "adapter": (self._recipe.adapter.kind, chosen.adapter.kind),
            "model.quantization": (self._recipe.model.quantization, chosen.model.quantization),
            "train.optimizer": (train.optimizer, chosen.train.optimizer),
            "train.gradient_checkpointing": (train.gradient_checkpointing, chosen.train.gradient_checkpointing),
            "train.batch_size": (train.batch_size, size.rows),
            "train.accumulation": (train.accumulation, accumulation),
            "data.row_length": (self._recipe.data.row_length, size.row_length),
        }
        assert card.size is not None
        return Proposal(
            size=card.size,
            overrides=tuple(f"{key}={_yaml(new)}" for key, (old, new) in wanted.items() if new != old),
            method=chosen.adapter.kind,
            quantization=chosen.model.quantization,
            gradient_checkpointing=chosen.train.gradient_checkpointing,
            row_length=size.row_length,
            batch_size=size.rows,
            accumulation=accumulation,
            needed=size.needed,
            why=setting.why,
        )


class Size(NamedTuple):
    """B rows of T tokens and the bytes they need."""

    rows: int
    row_length: int
    needed: int


def settings(recipe: Recipe) -> Iterator[Setting]:
    """Ways to train with a recipe's data, fastest first; the last needs the least memory."""
    for adapter in (recipe.adapter, Lora()) if recipe.adapter.kind == "full" else (recipe.adapter,):
        plain = recipe.model_copy(update={"adapter": adapter, "model": recipe.model.model_copy(update={"quantization": "none"})})
        yield Setting(_checkpointing(plain, False), "nothing is dequantised and no block computed twice: the fastest")
        if adapter.checkpoints:
            yield Setting(_checkpointing(plain, True), "each block is computed twice, which costs about a third; 4-bit weights cost more")
    if adapter.trains_quantised:
        small = recipe.model.model_copy(update={"quantization": "nf4"})
        train = recipe.train.model_copy(update={"optimizer": "paged_adamw_8bit"})
        least = recipe.model_copy(update={"adapter": adapter, "model": small, "train": train})
        yield Setting(
            _checkpointing(least, adapter.checkpoints),
            "4-bit weights, a half to two and a half times slower, where unquantised ones do not fit",
        )


def _checkpointing(recipe: Recipe, on: bool) -> Recipe:
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"gradient_checkpointing": on})})


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
