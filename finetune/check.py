"""What a recipe asks for against what is there: the mistakes that only show between sections. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from finetune.base import BaseFolder, read_base, require_weights
from finetune.data.languages import unknown_languages
from finetune.data.miners.known import ChangeMiner, Fim, Jsonl, Repository
from finetune.errors import DataError, FinetuneError, RecipeError
from finetune.files import of_user
from finetune.recipe import DataSection, Recipe
from finetune.run import Run


def require_sound(recipe: Recipe, base: BaseFolder | None = None, *, weights: bool = True, lists: bool = False) -> Recipe:
    """The recipe, when nothing in it contradicts its base model or the disk. Raises RecipeError with every fault.

    A plan needs no `weights` beside config.json and the tokenizer; a dataset that is built no `lists` that it was built by.
    """
    base = base or read_base(recipe.model)
    if weights:
        require_weights(base.path)
    faults = [*_faults(recipe, base), *(_list_faults(recipe.data) if lists else ())]
    if faults:
        raise RecipeError("\n".join(faults))
    return recipe


def require_rows_of(base: BaseFolder, run: Run, *, error: type[FinetuneError], cure: str = "") -> None:
    """Raises `error` when the run's rows were made for other files of the base than lie there now; a base elsewhere is not that one."""
    mark = run.mark("build")
    built_for = mark.get("inputs", {}).get("base")
    if mark.get("digest") == run.digest("build") and built_for not in (None, base.digest):
        again = cure or f"type: finetune build {run.folder}"
        raise error(f"{base.path}: the base model changed since the rows of {run.data} were made; bring its files back, or {again}")


def summary(recipe: Recipe, base: BaseFolder | None = None) -> str:
    """What the recipe will do with its base model, in a few lines."""
    base = base or read_base(recipe.model)
    miners = ", ".join(miner.kind for miner in recipe.data.miners)
    repositories = ", ".join(recipe.data.repositories) or "no repositories yet"
    lines = [
        f"{recipe.name}: sound",
        f"  base      {base.name} (family {base.family.name}, {_tokens(base)}, context {base.context_length})",
        f"  data      {repositories}; {miners}; rows of {_row_length(recipe, base)}",
        f"  adapter   {recipe.adapter.kind} on {_weights(recipe)}",
        f"  export    {_exports(recipe)}",
        f"  run       {Path(recipe.runs) / recipe.name}",
        *(f"  on a CPU  {each}" for each in otherwise_on_cpu(recipe)),
    ]
    return "\n".join(lines)


def _tokens(base: BaseFolder) -> str:
    added = base.family.added
    return f"{base.vocabulary_size} tokens" + (f", {len(added)} of them added: {' '.join(each.text for each in added)}" if added else "")


def _row_length(recipe: Recipe, base: BaseFolder) -> str:
    """Rows may be longer than the attention window, since packed samples mostly are not; whoever asks for it is told."""
    window, length = base.sliding_window, recipe.data.row_length
    beyond = window is not None and length > window
    return f"{length} tokens" + (
        f", of which a sample's attention reaches {window} back: longer ones see no more of themselves" if beyond else ""
    )


def _weights(recipe: Recipe) -> str:
    return "unquantised weights" if recipe.model.quantization == "none" else f"{recipe.model.quantization} weights"


def _exports(recipe: Recipe) -> str:
    forms = ", ".join(exporter.name for exporter in recipe.export)
    return forms if recipe.adapter.merges else f"{forms}: a {recipe.adapter.kind} adapter can not be merged into the weights"


def _faults(recipe: Recipe, base: BaseFolder) -> Iterator[str]:
    yield from _adapter_faults(recipe)
    if base.quantised and (merging := [exporter.kind for exporter in recipe.export if exporter.merges]):
        yield (
            f"export: found {merging[0]}, but the files of {base.name} are quantised themselves, and adding inside few bits rounds away "
            "most of what was learnt; write export=adapter, or model.path of the full-precision model"
        )
    if base.family.added:
        yield from _added_token_faults(recipe)
    yield from tracker_faults(recipe)
    if base.context_length is not None and recipe.data.row_length > base.context_length - recipe.adapter.prompt_tokens:
        taken = recipe.adapter.prompt_tokens
        own = f", of which {recipe.adapter.kind} takes {taken} for itself" if taken else ""
        yield (
            f"data.row_length: found {recipe.data.row_length}, but {base.name} reads at most {base.context_length} tokens{own}; "
            f"write data.row_length={base.context_length - taken} or less"
        )
    yield from _miner_faults(recipe, base)
    yield from _share_faults(recipe)
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


def otherwise_on_cpu(recipe: Recipe) -> list[str]:
    """What of a recipe made for a GPU a machine without one does otherwise."""
    found = []
    if recipe.train.optimizer == "paged_adamw_8bit":
        found.append("train.optimizer=paged_adamw_8bit has no pages there: adamw_8bit takes its place")
    if recipe.model.dtype == "float16":
        found.append("model.dtype=float16 trains without scaling the loss there, so small gradients are lost; model.dtype=auto does not")
    return found


def tracker_faults(recipe: Recipe) -> Iterator[str]:
    """Trackers that are asked for and not installed."""
    missing = [name for name in recipe.train.report_to if find_spec(name) is None]
    if missing:
        yield f"train.report_to: {', '.join(missing)} is not installed; type: pip install {' '.join(missing)}, or leave it out"


def _miner_faults(recipe: Recipe, base: BaseFolder) -> Iterator[str]:
    """What the base's tokens do not allow."""
    for index, miner in enumerate(recipe.data.miners):
        if isinstance(miner, Fim) and miner.rate > 0 and base.family.fim is None:
            yield (
                f"data.miners.{index}.rate: found {miner.rate}, but {base.name} has no fill-in-the-middle tokens that are known here; "
                f"write model.add_fim_tokens=true to add them and train their embeddings, data.miners.{index}={{kind: fim, rate: 0}} for "
                "plain text, or choose a base model with them"
            )
        if isinstance(miner, ChangeMiner) and miner.form == "sentinels" and base.family.commit is None:
            yield (
                f"data.miners.{index}.form: found sentinels, but {base.name} (family {base.family.name}) has no tokens for commits; "
                f"write data.miners.{index}={{kind: {miner.kind}, form: text}}, or form: lines, or choose a base model of starcoder"
            )
        if isinstance(miner, Jsonl) and not of_user(miner.path).is_file():
            yield f"data.miners.{index}.path: found {miner.path}, which is no file; write the path of a JSONL file of conversations"
        if isinstance(miner, Repository) and base.family.repository is None:
            yield (
                f"data.miners.{index}: found repository, but {base.name} (family {base.family.name}) has no tokens for files side by side; "
                f"write data.miners.{index}=fim, or choose a base model of starcoder2 or qwen2.5-coder"
            )


def _list_faults(data: DataSection) -> Iterator[str]:
    """What a build would refuse of the languages, masks, opt-out lists and benchmarks that a recipe names."""
    from finetune.data.repos import select

    yield from unknown_languages(data.languages)
    looks: list[Callable[[], object]] = [lambda: select(include=data.include, exclude=data.exclude, since=data.since, opt_out=data.opt_out)]
    if data.decontaminate:
        from finetune.data.benchmark_files import check_benchmark  # with numpy

        looks += [
            partial(check_benchmark, each.path, fields=each.fields, min_characters=each.min_characters) for each in data.decontaminate
        ]
    for look in looks:
        try:
            look()
        except DataError as error:
            yield str(error)


def _added_token_faults(recipe: Recipe) -> Iterator[str]:
    """What can not be done with tokens that the base does not know."""
    where = "found model.add_fim_tokens=true"
    if not recipe.adapter.trains_rows:
        yield (
            f"adapter={recipe.adapter.kind}: {where}, but this method trains no rows of the embeddings, so that the new tokens would stay "
            "without a meaning; write adapter=lora or adapter=full"
        )
    for exporter in recipe.export:
        if exporter.form == "gguf_lora":
            yield f"export: {where}, but an adapter in a GGUF file can not hold rows of new tokens; write export=gguf, which merges them"
        elif exporter.sums:
            yield (
                f"export: {where}, but rows of new tokens are no change to the base that could be scaled or added up; "
                "write export.strength=1 and no export.adapters"
            )
    if formats := [each.kind for each in recipe.data.exports]:
        yield (
            f"data.exports: {where}, but {', '.join(formats)} would read the samples with the tokenizer of {recipe.model.path}, lacking "
            "them; write data.exports=[], or model.add_fim_tokens=false"
        )


def _share_faults(recipe: Recipe) -> Iterator[str]:
    """What is mixed in must leave room for the repositories."""
    share = sum(miner.share for miner in recipe.data.miners if isinstance(miner, Jsonl))
    if share >= 1:
        yield f"data.miners: found jsonl with shares of {share:g} together, which leaves nothing to the repositories; write less than 1"


def _adapter_faults(recipe: Recipe) -> Iterator[str]:
    """What the method can not do, read off its class."""
    method = recipe.adapter
    if method.refused:
        yield f"adapter={method.kind}: {method.refused}"
        return
    if recipe.data.packing and not method.packs:
        yield (
            f"adapter={method.kind}: found data.packing=true, but this method would mix the samples that share a row; "
            "write data.packing=false"
        )
    if recipe.train.gradient_checkpointing and not method.checkpoints:
        yield (
            f"adapter={method.kind}: found train.gradient_checkpointing=true, which drops the keys and values that this method learns; "
            "write train.gradient_checkpointing=false"
        )
    if recipe.model.quantization != "none" and not method.trains_quantised:
        yield (
            f"adapter={method.kind}: found model.quantization={recipe.model.quantization}, on which this method does not train; "
            "write model.quantization=none, or adapter=lora"
        )
    if unmergeable := [exporter.kind for exporter in recipe.export if exporter.merges and not method.merges]:
        yield (
            f"export: found {unmergeable[0]}, but a {method.kind} adapter can not be merged into the weights; "
            "write export=adapter to ship it beside its base model"
        )
    elif any(exporter.sums for exporter in recipe.export) and not method.sums:
        name = "lora with dora" if method.kind == "lora" else method.kind
        yield (
            f"export: found strength or adapters, but what {name} learns is not a plain sum that can be scaled and added; "
            "write export.strength=1 and no export.adapters"
        )
