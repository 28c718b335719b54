"""The next token from the logits: the likeliest one, or a draw.

Legend: `B` rows, `V` vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from finetune.hashing import stable_hash
from finetune.records import Sampling

if TYPE_CHECKING:
    from torch import Tensor


class Draw:
    """How one row's tokens are drawn.

    Its random numbers depend on the seed and the prompt, not on the batch; two arms that are asked the same get the same ones.
    """

    def __init__(self, sampling: Sampling, prompt: Sequence[int]) -> None:
        import torch

        self.sampling = sampling
        self.random = torch.Generator().manual_seed(stable_hash(sampling.seed, *prompt) >> 1)


def choose(logits_BV: Tensor, draws: Sequence[Draw]) -> list[int]:
    """One token for each row."""
    if all(draw.sampling.temperature == 0 for draw in draws):
        likeliest: list[int] = logits_BV.argmax(dim=-1).tolist()
        return likeliest
    logits_BV = logits_BV.float().cpu()
    return [_drawn(logits_V, draw) for logits_V, draw in zip(logits_BV, draws, strict=True)]


def chances(logits_BV: Tensor, tokens: Sequence[int], *, others: int) -> list[tuple[float, list[tuple[int, float]]]]:
    """For each row the chance of its token, and the `others` likeliest tokens with theirs, the likeliest first."""
    chances_BV = logits_BV.float().softmax(dim=-1)
    best = chances_BV.topk(min(others, chances_BV.shape[-1]), dim=-1)
    ids, shares = best.indices.tolist(), best.values.tolist()
    return [(float(chances_BV[row, token]), list(zip(ids[row], shares[row], strict=True))) for row, token in enumerate(tokens)]


def _drawn(logits_V: Tensor, draw: Draw) -> int:
    """A token among the likeliest that together reach `top_p`."""
    import torch

    chances_V, tokens_V = (logits_V / draw.sampling.temperature).softmax(dim=-1).sort(descending=True)
    before_V = chances_V.cumsum(dim=-1) - chances_V
    kept_V = torch.where(before_V < draw.sampling.top_p, chances_V, 0.0)
    return int(tokens_V[torch.multinomial(kept_V, 1, generator=draw.random)])
