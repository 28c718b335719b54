"""Rows of tokens that grow together, each row under its own adapter, in one forward pass.

Prompts of different length are padded on the left, so that every row's next token stands in the same column:

    prompt    . . a b c | d     positions  0 0 0 1 2 | 3     mask  0 0 1 1 1 | 1
    prompt    e f g h i | j                0 1 2 3 4 | 5           1 1 1 1 1 | 1

Legend: `B` rows, `T` tokens so far with padding, `N` new tokens, `V` vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

BASE_ADAPTER = "__base__"  # peft's name for a row without an adapter
_SCORED_AT_ONCE = 32  # tokens: logits of a 49,152-entry vocabulary take 6 MB a row for so many


@dataclass(frozen=True, slots=True)
class Engine:
    """The model and the lock: one forward pass at a time, for peft hangs a batch's adapter names on the model itself.

    `modules` are all of the model's, listed once: a walk over them costs more than a small layer. `mixed`: the model has
    adapters, so a batch names one for each row. `alone`: adapters that peft can only run by themselves.
    """

    model: Module
    modules: tuple[Module, ...]
    pad_id: int
    mixed: bool
    alone: frozenset[str]
    lock: Lock

    @property
    def device(self) -> Any:
        return next(self.model.parameters()).device

    def forward(self, adapters: Sequence[str], **inputs: Any) -> Any:
        """One pass without gradients; leaves the model as it was, in training mode if it was in training mode."""
        import torch

        # no_grad, not inference_mode: what a layer may keep for later must stay usable in training.
        with self.lock, _evaluating(self.modules), torch.no_grad():
            if adapters[0] in self.alone:
                self._activate(adapters[0])
                return self.model(**inputs, use_cache=True)
            names = {"adapter_names": [*adapters]} if self.mixed else {}
            return self.model(**inputs, **names, use_cache=True)

    def _activate(self, adapter: str) -> None:
        model: Any = self.model
        if model.active_adapter != adapter:
            model.set_adapter(adapter, inference_mode=True)


@contextmanager
def _evaluating(modules: Sequence[Module]) -> Iterator[None]:
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


class Rows:
    """Prompts that were read once, ready to be gone on from."""

    def __init__(self, engine: Engine, prompts: Sequence[Sequence[int]], adapters: Sequence[str]) -> None:
        import torch

        width = max(len(prompt) for prompt in prompts)
        padded = [[engine.pad_id] * (width - len(prompt)) + [*prompt] for prompt in prompts]
        seen = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        self._engine = engine
        self._adapters = [*adapters]
        self._mask_BT = torch.tensor(seen, device=engine.device)
        self._cache: Any = None
        self.next_logits_BV = self._read(torch.tensor(padded, device=engine.device), self._mask_BT, keep=1)[:, -1]

    def __len__(self) -> int:
        return len(self._adapters)

    def advance(self, tokens: Sequence[int]) -> None:
        """Add one token to each row."""
        import torch

        tokens_B1 = torch.tensor(tokens, device=self._mask_BT.device)[:, None]
        self.next_logits_BV = self._read(tokens_B1, self._extend(torch.ones_like(tokens_B1)), keep=1)[:, -1]

    def select(self, rows: Sequence[int]) -> None:
        """Keep only these rows."""
        import torch

        kept = torch.tensor(rows, device=self._mask_BT.device, dtype=torch.long)
        self._adapters = [self._adapters[row] for row in rows]
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
            device=self._mask_BT.device,
        )
        real_BN = torch.tensor([[1] * len(c) + [0] * (width - len(c)) for c in continuations], device=self._mask_BT.device)
        nats_B = torch.zeros(len(self), dtype=torch.float64, device=self._mask_BT.device)
        for start in range(0, width, _SCORED_AT_ONCE):
            end = min(start + _SCORED_AT_ONCE, width)
            nats_B += ahead._cost_of(tokens_BN[:, start:end], real_BN[:, start:end])
        return [float(nats) for nats in nats_B]

    def _cost_of(self, tokens_BN: Tensor, real_BN: Tensor) -> Tensor:
        """The nats of the next N tokens, which are then part of the rows."""
        import torch
        from torch.nn.functional import cross_entropy

        logits_BNV = self._read(tokens_BN, self._extend(real_BN), keep=tokens_BN.shape[1])
        before_BNV = torch.cat([self.next_logits_BV[:, None], logits_BNV[:, :-1]], dim=1)
        self.next_logits_BV = logits_BNV[:, -1]
        nats_BN = cross_entropy(before_BNV.transpose(1, 2).float(), tokens_BN, reduction="none")
        # where, not a product: a padding token may cost infinitely much.
        return torch.where(real_BN.bool(), nats_BN, 0.0).double().sum(dim=1)

    def _extend(self, real_BN: Tensor) -> Tensor:
        import torch

        self._mask_BT = torch.cat([self._mask_BT, real_BN], dim=1)
        return self._mask_BT

    def _read(self, tokens_BN: Tensor, mask_BT: Tensor, *, keep: int) -> Tensor:
        """Logits after each of the last `keep` of N new tokens, which join the cache."""
        positions_BT = (mask_BT.cumsum(dim=1) - 1).clamp(min=0)
        output = self._engine.forward(
            self._adapters,
            input_ids=tokens_BN,
            attention_mask=mask_BT,
            position_ids=positions_BT[:, -tokens_BN.shape[1] :],
            past_key_values=self._cache,
            logits_to_keep=keep,
        )
        self._cache = output.past_key_values
        logits: Tensor = output.logits
        return logits
