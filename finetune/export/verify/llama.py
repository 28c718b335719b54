"""A GGUF file in a real llama.cpp, against the adapter: the same tokens, the same distributions, the same greedy answers.

Shapes: V vocabulary. Divergences are float64, in nats.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.base import BaseFolder
from finetune.data.render import Encoder
from finetune.deploy.llama import Files, Llama
from finetune.deploy.settings import infills_as_trained
from finetune.errors import ExportError
from finetune.export.gguf import ADAPTER, MODEL, context_of
from finetune.export.verify.figures import NEW_TOKENS, After, Exported, Row, divergence

if TYPE_CHECKING:
    import numpy as np
    import torch

_LONGEST = 2000  # tokens of a row whose text is cut again by llama.cpp


def compare(folder: Path, base: BaseFolder, *, rows: Sequence[Row], spool: np.ndarray, prompts: Iterable[torch.Tensor]) -> Exported:
    """The model in `folder`, with its adapter if there is one, on the rows whose logits are spooled."""
    adapters = [path for path in (folder / ADAPTER,) if path.exists()]
    encoder = Encoder(base.tokenizer, base.family)
    # Activations are rounded to the format of the weights, the cache to 16 bits.
    with Llama(Files(folder / MODEL, adapters), context=context_of(base)) as engine:
        _check_tokens(engine, encoder, rows)
        after = _figures(engine, rows, spool, say=encoder.text("a")[0])
        infill = infills_as_trained(engine, base.family)
        says = [_until_stop(engine.complete(prompt.tolist(), tokens=NEW_TOKENS), encoder) for prompt in prompts]
    return Exported(after, says, "float16", infill)


def _until_stop(ids: Sequence[int], encoder: Encoder) -> list[int]:
    """Up to the first stop token: the adapter, asked for a number of tokens, goes on behind it."""
    end = next((index for index, token in enumerate(ids) if token in encoder.stop_ids), len(ids))
    return [*ids[:end]]


def _check_tokens(engine: Llama, encoder: Encoder, rows: Sequence[Row]) -> None:
    """Raises ExportError unless llama.cpp cuts the rows' text into the tokens of training, sentinels in it staying text, writes that text
    for them, and begins a text as training did."""
    opening = encoder.family.opening
    opens = [] if opening is None else [encoder.token(opening)]
    if (begins := engine.tokens("a", special=True)) != opens + encoder.text("a"):
        raise ExportError(
            f"llama.cpp begins a text with {begins}, training with {opens + encoder.text('a')}; write export=merged and report it"
        )
    for row in rows:
        text = encoder.decode(row.input_ids[0, :_LONGEST].tolist())
        found = engine.tokens(text)
        wanted = encoder.text(text)
        if found != wanted:
            at = _parting(found, wanted)
            near = encoder.decode(wanted[max(0, at - 5) : at + 5])
            raise ExportError(f"llama.cpp cuts text otherwise than training did, near {near!r}; write export=merged and report it")
        if (written := engine.text(wanted)) != (meant := encoder.decode(wanted)):
            at = _parting(written, meant)
            both = f"{written[max(0, at - 20) : at + 20]!r} for {meant[max(0, at - 20) : at + 20]!r}"
            raise ExportError(f"llama.cpp writes the tokens of training otherwise, {both}; write export=merged and report it")


def _parting(one: Sequence[object], other: Sequence[object]) -> int:
    """The first place where the two differ."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _figures(engine: Llama, rows: Sequence[Row], spool: np.ndarray, *, say: int) -> After:
    import torch

    kl = loss = largest = 0.0
    same = at = 0
    for row in rows:
        for position, learnt in zip(row.predicted_at.tolist(), row.learnt.tolist(), strict=True):
            start = position - int(row.position_ids[0, position])
            prompt = row.input_ids[0, start : position + 1].tolist()
            ours_1V = _distribution(engine.distribution(prompt, entries=spool.shape[1], say=say), spool.shape[1])
            reference_1V = torch.log_softmax(torch.from_numpy(spool[at : at + 1]).double(), dim=-1)
            at += 1
            kl += divergence(reference_1V, ours_1V)
            same += int(reference_1V.argmax() == ours_1V.argmax())
            largest = max(largest, float((reference_1V - ours_1V).abs().max()))
            loss -= float(ours_1V[0, learnt])
    return After(kl, same, largest, loss)


def _distribution(found: Mapping[int, float], entries: int) -> torch.Tensor:
    import torch

    if len(found) != entries:
        raise RuntimeError(f"llama.cpp gave {len(found)} log probabilities where the model has {entries}")
    logprobs_1V = torch.empty((1, entries), dtype=torch.float64)
    logprobs_1V[0, list(found)] = torch.tensor(list(found.values()), dtype=torch.float64)
    return logprobs_1V
