"""What a recipe asks for against what is there: the mistakes that only show between sections. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from finetune.base import BaseFolder, read_base
from finetune.data.miners.fim import Fim
from finetune.errors import RecipeError
from finetune.recipe import Recipe


def require_sound(recipe: Recipe) -> Recipe:
    """The recipe, when nothing in it contradicts the base model or the disk. Raises RecipeError with every fault."""
    base = read_base(recipe.model)
    faults = [*_faults(recipe, base)]
    if faults:
        raise RecipeError("\n".join(faults))
    return recipe


def summary(recipe: Recipe) -> str:
    """What the recipe will do, in a few lines."""
    base = read_base(recipe.model)
    miners = ", ".join(miner.kind for miner in recipe.data.miners)
    repositories = ", ".join(recipe.data.repositories) or "no repositories yet"
    lines = [
        f"{recipe.name}: sound",
        f"  base      {base.name} (family {base.family.name}, {base.vocabulary_size} tokens, context {base.context_length})",
        f"  data      {repositories}; {miners}; rows of {recipe.data.row_length} tokens",
        f"  adapter   {recipe.adapter.kind} on {_weights(recipe)}",
        f"  run       {Path(recipe.runs) / recipe.name}",
    ]
    return "\n".join(lines)


def _weights(recipe: Recipe) -> str:
    return "unquantised weights" if recipe.model.quantization == "none" else f"{recipe.model.quantization} weights"


def _faults(recipe: Recipe, base: BaseFolder) -> Iterator[str]:
    if base.context_length is not None and recipe.data.row_length > base.context_length:
        yield (
            f"data.row_length: found {recipe.data.row_length}, but {base.name} reads at most {base.context_length} tokens; "
            f"write data.row_length={base.context_length} or less"
        )
    if base.family.fim is None:
        for index, miner in enumerate(recipe.data.miners):
            if isinstance(miner, Fim) and miner.rate > 0:
                yield (
                    f"data.miners.{index}.rate: found {miner.rate}, but {base.name} has no fill-in-the-middle tokens; "
                    f"write data.miners.{index}={{kind: fim, rate: 0}} for plain text, or choose a base model with them"
                )
    if not recipe.data.miners:
        yield "data.miners: found none; write for example data.miners=[fim, commits]"
    if base.context_length is not None and recipe.evaluate.max_new_tokens >= base.context_length:
        yield (
            f"evaluate.max_new_tokens: found {recipe.evaluate.max_new_tokens}, which leaves no room for a prompt in the "
            f"{base.context_length} tokens that {base.name} reads; write a smaller number"
        )
    if not recipe.evaluate.holes:
        yield "evaluate.holes: found none; write for example evaluate.holes=[line, span, block]"
    if not recipe.evaluate.metrics:
        yield "evaluate.metrics: found none; leave the key out for all of them"
