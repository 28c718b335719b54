"""From runs to a `BatchCompleter`: one base model, an adapter for each run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from finetune.base import read_base
from finetune.data.render import Encoder
from finetune.errors import ModelError
from finetune.generate.completer import BASE, BatchCompleter
from finetune.model import Load, load_model
from finetune.run import Run

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def check_runs(runs: Sequence[Run]) -> None:
    """Raises ModelError for runs that can not be answered by one model; loads no weights and needs no torch."""
    from finetune.methods import check_adapter_base

    base = read_base(runs[0].recipe.model)
    _require_one_base(runs)
    _require_one_tuner(runs)
    for run in runs:
        check_adapter_base(run.adapter, base)


def arms_of(runs: Sequence[Run]) -> tuple[str, ...]:
    """The arms of a completer for these runs."""
    return (BASE, *(run.recipe.name for run in runs))


def open_completer(runs: Sequence[Run], *, load: Load = load_model) -> BatchCompleter:
    """The base and the adapter of each run, which is called by the run's name. Raises ModelError for runs that do not go together."""
    from finetune.methods import load_adapter

    check_runs(runs)
    section = runs[0].recipe.model
    base = read_base(section)
    model: PreTrainedModel | PeftModel = load(base, section)
    # Not the run's name: it may hold dots, which torch refuses in the name of a module.
    adapters = {run.recipe.name: f"adapter{index}" for index, run in enumerate(runs)}
    for run in runs:
        model = load_adapter(model, run.adapter, name=adapters[run.recipe.name])
    encoder = Encoder(base.tokenizer, base.family)
    taken = max(run.recipe.adapter.prompt_tokens for run in runs)
    room = None if base.context_length is None else base.context_length - taken
    return BatchCompleter(model, encoder, adapters, context_length=room, batch_size=max(run.recipe.evaluate.batch_size for run in runs))


def _require_one_tuner(runs: Sequence[Run]) -> None:
    """peft wraps a model for one kind of adapter at a time."""
    from finetune.methods import adapter_type

    first, *others = ((run, adapter_type(run.adapter)) for run in runs)
    for run, kind in others:
        if kind != first[1]:
            raise ModelError(
                f"{run.folder} holds a {run.recipe.adapter.kind} adapter, {first[0].folder} a {first[0].recipe.adapter.kind} one: "
                "one model in memory can not carry both; open them one at a time"
            )


def _require_one_base(runs: Sequence[Run]) -> None:
    first = runs[0]
    names = [run.recipe.name for run in runs]
    for run in runs:
        run.require("train", error=ModelError)
        if run.recipe.name == BASE or names.count(run.recipe.name) > 1:
            raise ModelError(
                f"{run.folder}: the name {run.recipe.name!r} is taken, by the base or by another run; write name=ANOTHER in its recipe"
            )
        theirs, ours = run.recipe.model, first.recipe.model
        if theirs.add_fim_tokens != ours.add_fim_tokens:
            raise ModelError(f"{run.folder} and {first.folder}: one of them adds tokens to the base; open them one at a time")
        if read_base(theirs).digest != read_base(ours).digest:
            raise ModelError(
                f"{run.folder} stands on {theirs.path}, {first.folder} on {ours.path}: adapters of two bases can not be answered by "
                "one model; open runs of one base at a time"
            )
        if theirs.model_copy(update={"path": ours.path, "revision": ours.revision}) != ours:
            raise ModelError(
                f"{run.folder} and {first.folder}: the base was loaded differently ({theirs.quantization}, {theirs.dtype} and "
                f"{ours.quantization}, {ours.dtype}); open runs with one model section at a time"
            )
