"""Self-tests on the real model and the real rows, before step 1. Shapes: B rows, T tokens, V vocabulary.

Each guards against a fault that trains without an error and costs the whole run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from finetune.base import BaseFolder
from finetune.data.collate import collate
from finetune.errors import ExportError, TrainError
from finetune.methods import Coverage, coverage
from finetune.model import autocast_dtype, load_tokenizer, on_cpu
from finetune.recipe import Recipe
from finetune.records import IGNORED
from finetune.run import Run
from finetune.tokenizer_files import check_readers

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from peft import PeftModel
    from torch import Tensor, nn

ROWS = 8  # rows whose samples are looked at
SAMPLE = 48  # tokens of each of the two samples that share a row in the isolation test: a second on 3B
TOLERANCE, TOLERANCE_ROUNDED = 1e-3, 0.1


class Samples(NamedTuple):
    """Two short samples, and the padding of a family, as ids."""

    first: list[int]
    second: list[int]


@dataclass(frozen=True, slots=True)
class Preflight:
    """What was found: `isolation` is how far a sample's logits move when another shares its row, as a share of their spread; None
    where no row holds two."""

    isolation: float | None
    tolerance: float
    samples: int
    coverage: Coverage


def check_training(run: Run, base: BaseFolder, model: PeftModel, rows: Dataset) -> Preflight:
    """Looks before step 1; the model is as it will train. Raises TrainError with what is wrong and what to do."""
    check_readers_of(run.recipe, base)
    check_sentinels(base, model)
    samples = check_rows(rows, base, vocabulary_size=_embedded(model))
    covered = coverage(model)
    if not covered.trainable:
        raise TrainError(f"adapter={run.recipe.adapter.kind}: it trains nothing in this model; write adapter=lora")
    section = run.recipe.model
    exact = section.quantization == "none" and autocast_dtype(section) is None and section.dtype in ("auto", "float32")
    tolerance = TOLERANCE if exact else TOLERANCE_ROUNDED
    moved = _isolation(model, two_samples(rows), autocast=autocast_dtype(section)) if run.recipe.data.packing else None
    if moved is not None and not moved <= tolerance:
        raise TrainError(
            f"{base.name}: samples that share a row see each other: logits move by {moved:.2g} of their spread, "
            f"at most {tolerance:g} would be rounding. This model makes no mask out of restarting positions; choose another base"
        )
    return Preflight(isolation=moved, tolerance=tolerance, samples=samples, coverage=covered)


def check_readers_of(recipe: Recipe, base: BaseFolder) -> None:
    """What training ends in must be readable: now, not after hours of it."""
    if not any(exporter.form in ("merged", "adapter") for exporter in recipe.export):
        return
    try:
        check_readers(base)
    except ExportError as error:
        found = str(error).partition(": ")[2]
        raise TrainError(f"{base.path}: no export could be read as it was trained, for {found}, or write export=gguf") from error


def check_sentinels(base: BaseFolder, model: PeftModel) -> None:
    """Every sentinel of the family has an id of its own and a row in the embedding."""
    tokenizer = load_tokenizer(base)
    ids = {token: tokenizer.vocab.get(token) for token in base.family.sentinels}
    outside = [f"{token} ({number})" for token, number in ids.items() if number is None or number >= _embedded(model)]
    if outside or len(set(ids.values())) < len(ids):
        raise TrainError(
            f"{base.path}: the embedding has {_embedded(model)} rows, none for {', '.join(outside) or 'each sentinel'}; "
            "copy tokenizer.json and weights of one model, or write model.family=none"
        )


def check_rows(rows: Dataset, base: BaseFolder, *, vocabulary_size: int) -> int:
    """The number of samples in the first rows, each of which must end in a stop token that is learnt."""
    tokenizer = load_tokenizer(base)
    stops = {tokenizer.vocab[token] for token in base.family.stop}
    count = 0
    for number in range(min(ROWS, len(rows))):
        batch = collate([rows[number]])
        ids, labels = batch["input_ids"][0].tolist(), batch["labels"][0].tolist()
        if max(ids) >= vocabulary_size:
            raise TrainError(f"row {number}: holds id {max(ids)}, the model embeds {vocabulary_size} tokens; build again with this base")
        for start, end in _spans(batch["position_ids"][0]):
            learnt = any(label != IGNORED for label in labels[start:end])
            if not learnt and end == len(ids) and len(set(ids[start:end])) == 1:
                continue  # the padding
            if labels[end - 1] not in stops:
                raise TrainError(
                    f"row {number}, tokens {start} to {end}: a sample whose stop token is not learnt; "
                    "a model trained so never stops. Build again; if it stays, the miner that made it is at fault"
                )
            count += 1
    return count


def two_samples(rows: Dataset) -> Samples:
    """The starts of two samples, short enough to be quick; a lone sample is cut in two."""
    found: list[list[int]] = []
    for number in range(min(ROWS, len(rows))):
        batch = collate([rows[number]])
        ids = batch["input_ids"][0].tolist()
        samples = [ids[start:end][:SAMPLE] for start, end in _spans(batch["position_ids"][0])]
        found += [sample for sample in samples if len(set(sample)) > 1]  # not the padding, which says nothing
        if len(found) > 1:
            return Samples(found[0], found[1])
    lone = found[0]
    return Samples(lone[: len(lone) // 2], lone[len(lone) // 2 :])


def _isolation(model: PeftModel, samples: Samples, *, autocast: torch.dtype | None) -> float:
    """How far logits move under the library's attention and, where training computes it otherwise, under ours: the larger."""
    found = isolation(model, samples, autocast=autocast)
    from finetune.kernels import joined
    from finetune.kernels.attention import attention_within_samples

    if not on_cpu() and (autocast is None or not joined.on_gpus()):
        return found
    with attention_within_samples(model):
        return larger(found, isolation(model, samples, autocast=autocast))


def larger(one: float, other: float) -> float:
    """The larger of two figures, or the one that is no number: `max` keeps that in first place alone."""
    return max(one, other, key=lambda each: math.inf if math.isnan(each) else each)


def isolation(model: PeftModel, samples: Samples, *, autocast: torch.dtype | None) -> float:
    """How far the second sample's logits move when the first shares its row: root mean square, as a share of their spread.

    together   a a a a b b b     positions 0 1 2 3 0 1 2
    alone              b b b     positions         0 1 2
    """
    import torch

    first, second = samples
    was_training = model.training
    model.eval()
    with torch.no_grad(), _cast(model, autocast):
        together_TV = _logits(model, [*first, *second], [*range(len(first)), *range(len(second))])[len(first) :]
        alone_TV = _logits(model, second, range(len(second)))
    model.train(was_training)
    moved = (together_TV - alone_TV).square().mean().sqrt()
    return float(moved / alone_TV.std())


def _cast(model: PeftModel, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    import torch

    return nullcontext() if dtype is None else torch.autocast(model.device.type, dtype)


def _logits(model: PeftModel, ids: Sequence[int], positions: Sequence[int]) -> Tensor:
    import torch

    ids_BT, positions_BT = (torch.tensor([values], device=model.device) for values in (ids, positions))
    logits_BTV: Tensor = model(input_ids=ids_BT, position_ids=positions_BT).logits
    return logits_BTV[0].float()


def _spans(positions_T: Tensor) -> list[tuple[int, int]]:
    """Where each sample of a row begins and ends: positions restart."""
    starts = (positions_T == 0).nonzero().flatten().tolist()
    return list(zip(starts, [*starts[1:], len(positions_T)], strict=True))


def _embedded(model: PeftModel) -> int:
    from peft.utils.other import AuxiliaryTrainingWrapper

    embedding: nn.Module = model.get_input_embeddings()
    inner = embedding.original_module if isinstance(embedding, AuxiliaryTrainingWrapper) else embedding
    return inner.get_parameter("weight").shape[0]
