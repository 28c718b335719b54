"""Rows of tokens that grow together, each row under its own adapter, in one forward pass.

Prompts of different length are padded on the left, so that every row's next token stands in the same column:

    prompt    . . a b c | d     positions  0 0 0 1 2 | 3     mask  0 0 1 1 1 | 1
    prompt    e f g h i | j                0 1 2 3 4 | 5           1 1 1 1 1 | 1

Legend: `B` rows, `T` tokens so far with padding, `N` new tokens, `V` vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

from finetune.generate.few_rows import FEW, Forwards, swapped
from finetune.generate.sharing import BASE_ADAPTER, Sharing, Under

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

_SCORED_AT_ONCE = 32  # tokens: logits of a 49,152-entry vocabulary take 6 MB a row for so many


@dataclass(frozen=True, slots=True)
class Engine:
    """The model and the lock: one forward pass at a time, for a batch's adapters hang on the model itself while it runs.

    `modules` are all of the model's, listed once: a walk over them costs more than a small layer. `alone`: adapters, and the base,
    that can only run by themselves; all others are put on the rows of a batch by `sharing`. `few`: layers' faster way for a few rows;
    `head`: the last layer's for the last column of many.
    """

    model: Module
    modules: tuple[Module, ...]
    pad_id: int
    alone: frozenset[str]
    sharing: Sharing
    few: Forwards
    head: Forwards
    lock: Lock

    @property
    def device(self) -> Any:
        return next(self.model.parameters()).device

    def under(self, adapters: Sequence[str]) -> Under:
        """What puts these rows under their adapters; those of one adapter stand beside each other."""
        if adapters[0] in self.alone:
            return lambda: self._only(adapters[0])
        return self.sharing(adapters)

    def forward(self, under: Under, **inputs: Any) -> Any:
        """One pass without gradients; leaves the model as it was, in training mode if it was in training mode."""
        import torch

        # no_grad, not inference_mode: what a layer may keep for later must stay usable in training.
        forwards = self.few if self.few and inputs["input_ids"].numel() in FEW else self.head
        with self.lock, _evaluating(self.modules), torch.no_grad(), under() as more, swapped(forwards):
            return self.model(**inputs, **more, use_cache=True)

    @contextmanager
    def _only(self, adapter: str) -> Iterator[Mapping[str, object]]:
        """Within the block this adapter, or none, is on. The lock is held: no other answer is under way meanwhile."""
        model: Any = self.model
        if adapter != BASE_ADAPTER:
            if model.active_adapter != adapter:
                model.set_adapter(adapter, inference_mode=True)
            yield {}
            return
        frozen = [weight for weight in model.parameters() if not weight.requires_grad]
        with model.disable_adapter():
            yield {}
        for weight in frozen:
            weight.requires_grad_(False)  # switching adapters on again makes them trainable


@contextmanager
def _evaluating(modules: Sequence[Module]) -> Iterator[None]:
    # vars: a look at hundreds of modules at every token; torch's own way to an attribute takes five times as long.
    training = [own for own in map(vars, modules) if own["training"]]
    for own in training:
        own["training"] = False
    try:
        yield
    finally:
        for own in training:
            own["training"] = True


class Rows:
    """Prompts that were read once, ready to be gone on from. Rows of one adapter stand beside each other."""

    def __init__(self, engine: Engine, prompts: Sequence[Sequence[int]], adapters: Sequence[str]) -> None:
        import torch

        width = max(len(prompt) for prompt in prompts)
        padded = [[engine.pad_id] * (width - len(prompt)) + [*prompt] for prompt in prompts]
        seen = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        self._engine = engine
        self._device = engine.device
        self._adapters = [*adapters]
        self._under = engine.under(adapters)
        # Prompts of one length need no mask, and attention without one is faster.
        self._mask_BT = torch.tensor(seen, device=self._device) if any(len(prompt) < width for prompt in prompts) else None
        self._cache: Any = None
        self.next_logits_BV = self._read(torch.tensor(padded, device=self._device), keep=1)[:, -1]

    def __len__(self) -> int:
        return len(self._adapters)

    def advance(self, tokens: Sequence[int]) -> None:
        """Add one token to each row."""
        import torch

        from finetune.generate.room import give_room

        tokens_B1 = torch.tensor(tokens, device=self._device)[:, None]
        self._extend(tokens_B1)
        give_room(self._cache)
        self.next_logits_BV = self._read(tokens_B1, keep=1)[:, -1]

    def select(self, rows: Sequence[int]) -> None:
        """Keep only these rows, in the order in which they stand."""
        import torch

        assert [*rows] == sorted(rows), "rows of one adapter stay beside each other"
        kept = torch.tensor(rows, device=self._device, dtype=torch.long)
        self._adapters = [self._adapters[row] for row in rows]
        self._under = self._engine.under(self._adapters)
        if self._mask_BT is not None:
            self._mask_BT = self._mask_BT[kept]
        self.next_logits_BV = self.next_logits_BV[kept]
        self._cache.batch_select_indices(kept)

    def costs(self, continuations: Sequence[Sequence[int]]) -> list[float]:
        """For each row, minus the log probability (nats) of a continuation; the rows stay where they are."""
        import torch

        ahead = copy.copy(self)
        ahead._cache = copy.deepcopy(self._cache)
        width = max(len(continuation) for continuation in continuations)
        tokens_BN = torch.tensor(
            [[*continuation] + [self._engine.pad_id] * (width - len(continuation)) for continuation in continuations],
            device=self._device,
        )
        real_BN = torch.tensor([[1] * len(c) + [0] * (width - len(c)) for c in continuations], device=self._device)
        nats_B = torch.zeros(len(self), dtype=torch.float64, device=self._device)
        for start in range(0, width, _SCORED_AT_ONCE):
            end = min(start + _SCORED_AT_ONCE, width)
            nats_B += ahead._cost_of(tokens_BN[:, start:end], real_BN[:, start:end])
        return [float(nats) for nats in nats_B]

    def _cost_of(self, tokens_BN: Tensor, real_BN: Tensor) -> Tensor:
        """The nats of the next N tokens, which are then part of the rows."""
        import torch
        from torch.nn.functional import cross_entropy

        self._extend(tokens_BN)
        logits_BNV = self._read(tokens_BN, keep=tokens_BN.shape[1])
        before_BNV = torch.cat([self.next_logits_BV[:, None], logits_BNV[:, :-1]], dim=1)
        self.next_logits_BV = logits_BNV[:, -1]
        nats_BN = cross_entropy(before_BNV.transpose(1, 2).float(), tokens_BN, reduction="none")
        # where, not a product: a padding token may cost infinitely much.
        return torch.where(real_BN.bool(), nats_BN, 0.0).double().sum(dim=1)

    def _extend(self, tokens_BN: Tensor) -> None:
        """All new tokens are seen: padding on the right comes after whatever is looked at."""
        import torch

        if self._mask_BT is not None:
            self._mask_BT = torch.cat([self._mask_BT, torch.ones_like(tokens_BN)], dim=1)

    def _read(self, tokens_BN: Tensor, *, keep: int) -> Tensor:
        """Logits after each of the last `keep` of N new tokens, which join the cache."""
        inputs = {"input_ids": tokens_BN, "past_key_values": self._cache, "logits_to_keep": keep}
        if self._mask_BT is not None:
            positions_BT = (self._mask_BT.cumsum(dim=1) - 1).clamp(min=0)
            inputs |= {"attention_mask": self._mask_BT, "position_ids": positions_BT[:, -tokens_BN.shape[1] :]}
        output = self._engine.forward(self._under, **inputs)
        self._cache = output.past_key_values
        logits: Tensor = output.logits
        return logits
