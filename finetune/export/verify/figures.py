"""Two models on the same packed rows: how far their answers are apart.

Shapes: T tokens of a row, V vocabulary, N learnt tokens of a row. Logits are float32, divergences float64, in nats.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from finetune.data.store import read_rows
from finetune.errors import ExportError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from peft import PeftModel
    from torch import nn

PROMPTS, PROMPT_TOKENS, NEW_TOKENS = 4, 48, 16
_AT_ONCE = 128  # learnt tokens whose float64 distributions are held together: 50 MB at 49,152 entries


@dataclass(frozen=True, slots=True)
class Row:
    """One packed row, on the device: input_ids_1T, position_ids_1T, and where in it a learnt token is predicted and which."""

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    predicted_at: torch.Tensor
    learnt: torch.Tensor


class Rows(NamedTuple):
    """Packed rows and the side they are from."""

    rows: list[Row]
    side: Literal["valid", "train"]


def take_rows(data: Path, *, tokens: int, least: int = 1) -> Rows:
    """Rows spread over the held-out ones, over the training rows where nothing was held out; `tokens` at most, but `least` rows."""
    side: Literal["valid", "train"]
    for side in ("valid", "train"):
        folder = data / side
        dataset: Any = read_rows(folder) if folder.is_dir() else []
        if len(dataset) > 0:
            count = min(len(dataset), max(least, tokens // len(dataset[0]["input_ids"])))
            picked = (dataset[index * len(dataset) // count] for index in range(count))
            rows = [row for row in (_row(**columns) for columns in picked) if len(row.learnt)]
            if rows:
                return Rows(rows, side)
    raise ExportError(f"{data}: no row with a learnt token to compare on; type: finetune build RECIPE")


def within(rows: Sequence[Row], *, tokens: int, context: int) -> list[Row]:
    """The rows with `tokens` learnt tokens at most, evenly spread, none further than `context` from its sample's beginning."""
    near = [(row.position_ids[0, row.predicted_at] < context).nonzero().flatten() for row in rows]
    step = max(1, -(-sum(len(kept) for kept in near) // tokens))
    thinned = [
        replace(row, predicted_at=row.predicted_at[kept[::step]], learnt=row.learnt[kept[::step]])
        for row, kept in zip(rows, near, strict=True)
    ]
    return [row for row in thinned if len(row.learnt)]


def _row(*, input_ids: Sequence[int], learnt: Sequence[bool], position_ids: Sequence[int]) -> Row:
    import torch

    ids_T = torch.tensor(input_ids)
    at_N = torch.tensor(learnt).nonzero().flatten()
    return Row(ids_T[None], torch.tensor(position_ids)[None], at_N - 1, ids_T[at_N])


def logits(model: nn.Module, row: Row) -> torch.Tensor:
    """Logits_NV of the learnt tokens. No mask and no cache: else packed samples see each other."""
    import torch

    device = next(model.parameters()).device
    with torch.no_grad():
        out_TV = model(input_ids=row.input_ids.to(device), position_ids=row.position_ids.to(device), use_cache=False).logits[0]
        picked: torch.Tensor = out_TV[row.predicted_at.to(device)].float()
    return picked


def divergence(reference_NV: torch.Tensor, other_NV: torch.Tensor) -> float:
    """Sum over N of KL(reference || other), nats."""
    from torch.nn.functional import kl_div, log_softmax

    total = 0.0
    for start in range(0, len(reference_NV), _AT_ONCE):
        reference, other = reference_NV[start : start + _AT_ONCE], other_NV[start : start + _AT_ONCE]
        p, q = log_softmax(reference.double(), dim=-1), log_softmax(other.double(), dim=-1)
        total += float(kl_div(q, p, reduction="sum", log_target=True))
    return total


def greedy(model: nn.Module, prompt_T: torch.Tensor) -> list[int]:
    """The NEW_TOKENS likeliest ids after the prompt, one by one."""
    import torch

    ids = prompt_T[None].to(next(model.parameters()).device)
    past = None
    said: list[int] = []
    with torch.no_grad():
        for _ in range(NEW_TOKENS):
            out = model(input_ids=ids, past_key_values=past, use_cache=True)
            said.append(int(out.logits[0, -1].argmax()))
            ids, past = ids.new_tensor([[said[-1]]]), out.past_key_values
    return said


def prompts(rows: Iterable[Row]) -> list[torch.Tensor]:
    """The first half of the first sample of a row, for PROMPTS rows."""
    prompts = []
    for row in list(rows)[:PROMPTS]:
        starts = (row.position_ids[0] == 0).nonzero().flatten().tolist()
        end = starts[1] if len(starts) > 1 else row.position_ids.shape[1]
        prompts.append(row.input_ids[0, : max(1, min(end // 2, PROMPT_TOKENS))])
    return prompts


class Before(NamedTuple):
    effect: float
    loss: float
    base_loss: float


def spool_adapter(model: PeftModel, rows: Iterable[Row], spool: np.ndarray) -> Before:
    """Fill `spool` with the adapter's logits; sums of its divergence from the base and of both losses."""
    effect = loss = base_loss = 0.0
    start = 0
    for row in rows:
        tuned_NV = logits(model, row)
        with model.disable_adapter():
            base_NV = logits(model, row)
        spool[start : start + len(tuned_NV)] = tuned_NV.cpu().numpy()
        start += len(tuned_NV)
        effect += divergence(tuned_NV, base_NV)
        loss += _loss(tuned_NV, row)
        base_loss += _loss(base_NV, row)
    return Before(effect, loss, base_loss)


class After(NamedTuple):
    kl: float
    same: int
    largest: float
    loss: float


class Exported(NamedTuple):
    """What an export gave: its figures, its greedy answers (shorter where it stopped), the number format it computed in.

    `infill`: its server writes the prompts of fill-in-the-middle as training did.
    """

    after: After
    says: list[list[int]]
    number_format: str
    infill: bool = False


def compare(model: nn.Module, rows: Iterable[Row], spool: np.ndarray) -> After:
    """Sums over all learnt tokens of the export against the spooled logits."""
    import torch

    kl = loss = largest = 0.0
    same = start = 0
    for row in rows:
        ours_NV = logits(model, row)
        reference_NV = torch.from_numpy(spool[start : start + len(ours_NV)]).to(ours_NV)
        start += len(ours_NV)
        kl += divergence(reference_NV, ours_NV)
        same += int((reference_NV.argmax(-1) == ours_NV.argmax(-1)).sum())
        largest = max(largest, float((reference_NV - ours_NV).abs().max()))
        loss += _loss(ours_NV, row)
    return After(kl, same, largest, loss)


def _loss(logits_NV: torch.Tensor, row: Row) -> float:
    from torch.nn.functional import cross_entropy

    return float(cross_entropy(logits_NV, row.learnt.to(logits_NV.device), reduction="sum"))
