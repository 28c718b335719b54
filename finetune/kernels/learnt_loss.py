"""The output head and the loss over learnt tokens alone, a part of them at a time.

The library's own loss holds the logits of every token three times over: as computed, in float32, and their gradient. Here each part's
logits live until its gradient to the hidden states is known, which is in the forward pass, since the head is frozen.
Shapes: B rows, T tokens, N learnt tokens of all rows, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from finetune.records import IGNORED

PARTS = 8  # a fixed number, not a fixed size: the same operators at any length, which the plan counts on


@contextmanager
def learnt_loss(model: nn.Module, *, all_learnt: bool = False) -> Iterator[None]:
    """Within the block a causal language model computes its loss so, and no logits; without effect on a head that trains or has a bias."""
    from peft import PeftModel

    causal: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    head = causal.get_output_embeddings()
    if type(head) is not nn.Linear or head.bias is not None or head.weight.requires_grad or _scales(causal.config):
        yield
        return
    before = causal.loss_function
    kernel = _LearntLoss(head, all_learnt=all_learnt)
    hook = head.register_forward_pre_hook(kernel.hold)
    causal.loss_function = kernel
    try:
        yield
    finally:
        hook.remove()
        causal.loss_function = before


def _scales(config: Any) -> bool:
    """Whether the model does something to its logits after the head, which the kernel would leave out."""
    names = ("logit_scale", "logits_scaling", "final_logit_softcapping", "output_multiplier", "lm_head_multiplier")
    return any(getattr(config, name, None) is not None for name in names)


class _LearntLoss:
    """Stands where a model calls its loss; what went into the head was held back before."""

    def __init__(self, head: nn.Linear, *, all_learnt: bool) -> None:
        self.head = head
        self.all_learnt = all_learnt
        self.hidden_BTH: Tensor | None = None

    def hold(self, _: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        """Keep the hidden states, and let the head compute the logits of no token."""
        (self.hidden_BTH,) = inputs
        return (self.hidden_BTH[:, :0],)

    def __call__(self, logits: Tensor, labels: Tensor, vocab_size: int, num_items_in_batch: Tensor | int | None = None, **_: Any) -> Tensor:
        """The summed loss by `num_items_in_batch`, or by the number of learnt tokens."""
        hidden_BTH, self.hidden_BTH = self.hidden_BTH, None
        assert hidden_BTH is not None
        hidden_NH, targets_N = self._learnt(hidden_BTH[:, :-1], labels[:, 1:])
        dtype = torch.get_autocast_dtype(hidden_NH.device.type) if torch.is_autocast_enabled(hidden_NH.device.type) else hidden_NH.dtype
        total: Tensor = _HeadLoss.apply(hidden_NH, self.head.weight, targets_N, dtype)  # type: ignore[no-untyped-call]
        return total / (len(targets_N) if num_items_in_batch is None else torch.as_tensor(num_items_in_batch).to(total.device))

    def _learnt(self, hidden_BTH: Tensor, targets_BT: Tensor) -> tuple[Tensor, Tensor]:
        if self.all_learnt:
            return hidden_BTH.flatten(0, 1), targets_BT.flatten()
        learnt_BT = targets_BT != IGNORED
        return hidden_BTH[learnt_BT], targets_BT[learnt_BT]


class _HeadLoss(torch.autograd.Function):
    """The sum of -log p(target) over all tokens."""

    @staticmethod
    def forward(ctx: Any, hidden_NH: Tensor, weight_VH: Tensor, targets_N: Tensor, dtype: torch.dtype) -> Tensor:
        needs_gradient = ctx.needs_input_grad[0]
        weight_VH = weight_VH.to(dtype)
        gradient_NH = torch.empty_like(hidden_NH) if needs_gradient else None
        total = torch.zeros((), dtype=torch.float32, device=hidden_NH.device)
        size = max(-(-len(targets_N) // PARTS), 1)
        for start in range(0, len(targets_N), size):
            part = slice(start, start + size)
            total += _part(hidden_NH[part], weight_VH, targets_N[part], None if gradient_NH is None else gradient_NH[part], dtype)
        if gradient_NH is not None:
            ctx.save_for_backward(gradient_NH)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient_NH,) = ctx.saved_tensors
        return gradient_NH * gradients[0].to(gradient_NH.dtype), None, None, None


def _part(hidden_NH: Tensor, weight_VH: Tensor, targets_N: Tensor, gradient_NH: Tensor | None, dtype: torch.dtype) -> Tensor:
    """The loss of some tokens; writes its gradient. The memory of the logarithms becomes the probabilities', and those the gradient's."""
    with torch.autocast(hidden_NH.device.type, enabled=False):
        logits_NV = torch.mm(hidden_NH.to(dtype), weight_VH.t()).float()
        at = targets_N.unsqueeze(1)
        logarithms_NV = torch.log_softmax(logits_NV, dim=1)  # in one pass over the logits
        del logits_NV
        loss = -logarithms_NV.gather(1, at).sum()
        if gradient_NH is not None:
            probabilities_NV = logarithms_NV.exp_()
            probabilities_NV.scatter_add_(1, at, at.new_full(at.shape, -1.0, dtype=torch.float32))
            gradient_NH.copy_(torch.mm(probabilities_NV.to(dtype), weight_VH))
    return loss
