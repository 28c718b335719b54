"""The output head and the loss over learnt tokens alone.

The library's own loss holds the logits of every token three times over: as computed, in float32, and their gradient. Here a part of the
learnt tokens is taken at a time, and its logits live until their gradient is in that of the hidden states and of what trains in the
head: so it is known in the forward pass. A head that can not be read so (`learnt_logits`) computes the logits of all learnt tokens at once.
Shapes: B rows, T tokens, N learnt tokens of all rows, H hidden, V vocabulary, K rows of it that train.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from finetune.kernels.head import Head, reader_of
from finetune.records import IGNORED

PARTS = 8  # a fixed number, not a fixed size: the same operators at any length, which the plan counts on


@contextmanager
def learnt_loss(model: nn.Module, *, all_learnt: bool = False) -> Iterator[None]:
    """Within the block a causal language model computes its loss part by part, and gives out no logits."""
    causal, head = _of(model)
    read = None if _scales(causal.config) else reader_of(head)
    if read is None:
        with learnt_logits(model, all_learnt=all_learnt):
            yield
        return
    before = causal.loss_function
    kernel = _LearntLoss(read, causal.config.get_text_config().vocab_size, all_learnt=all_learnt)
    head.forward = kernel.hold
    causal.loss_function = kernel
    try:
        yield
    finally:
        del head.forward  # the class's own again
        causal.loss_function = before


@contextmanager
def learnt_logits(model: nn.Module, *, all_learnt: bool = False) -> Iterator[None]:
    """Within the block a causal language model computes logits of learnt tokens alone, by whatever its head is: in pieces, with a bias."""
    causal, head = _of(model)
    before = causal.loss_function
    kernel = _LearntLogits(all_learnt=all_learnt)
    hooks = [model.register_forward_pre_hook(kernel.see, with_kwargs=True), head.register_forward_pre_hook(kernel.select)]
    causal.loss_function = kernel
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        causal.loss_function = before


def _of(model: nn.Module) -> tuple[Any, Any]:
    """The causal model below an adapter, and its head."""
    from peft import PeftModel

    causal: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    return causal, causal.get_output_embeddings()


def _scales(config: Any) -> bool:
    """Whether the model does something to its logits after the head."""
    names = ("logit_scale", "logits_scaling", "final_logit_softcapping", "output_multiplier", "lm_head_multiplier")
    return any(getattr(config, name, None) is not None for name in names)


def _learnt(hidden_BTH: Tensor, labels_BT: Tensor, *, all_learnt: bool) -> tuple[Tensor, Tensor]:
    """The hidden states NH that learnt tokens follow, and these; before labels there may be tokens of a prompt."""
    labels_BT = pad(labels_BT, (hidden_BTH.shape[1] - labels_BT.shape[1], 0), value=IGNORED)
    hidden_BTH, targets_BT = hidden_BTH[:, :-1], labels_BT[:, 1:]
    if all_learnt:
        return hidden_BTH.flatten(0, 1), targets_BT.flatten()
    learnt_BT = targets_BT != IGNORED
    return hidden_BTH[learnt_BT], targets_BT[learnt_BT]


def _share(total: Tensor, learnt: int, num_items_in_batch: Tensor | int | None) -> Tensor:
    """The summed loss by `num_items_in_batch`, or by the number of learnt tokens."""
    return total / (learnt if num_items_in_batch is None else torch.as_tensor(num_items_in_batch).to(total.device))


class _LearntLogits:
    """Stands where a model calls its loss; the head was given the hidden states of learnt tokens before."""

    def __init__(self, *, all_learnt: bool) -> None:
        self.all_learnt = all_learnt
        self.labels_BT: Tensor | None = None
        self.targets_N: Tensor | None = None

    def see(self, _: nn.Module, __: tuple[Any, ...], inputs: Mapping[str, Any]) -> None:
        """Keep the labels that a model is called with."""
        self.labels_BT = inputs["labels"]

    def select(self, _: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        """The learnt ones of the hidden states that come to the head, as one row."""
        labels_BT, self.labels_BT = self.labels_BT, None
        assert labels_BT is not None
        hidden_NH, self.targets_N = _learnt(inputs[0], labels_BT, all_learnt=self.all_learnt)
        return (hidden_NH.unsqueeze(0),)

    def __call__(self, logits: Tensor, labels: Tensor, vocab_size: int, num_items_in_batch: Tensor | int | None = None, **_: Any) -> Tensor:
        """The loss as the library computes it."""
        targets_N, self.targets_N = self.targets_N, None
        assert targets_N is not None
        total = cross_entropy(logits.squeeze(0).float(), targets_N, reduction="sum")
        return _share(total, len(targets_N), num_items_in_batch)


class _LearntLoss:
    """Stands where a model calls its head, and where it calls its loss."""

    def __init__(self, read: Callable[[], Head], vocabulary_size: int, *, all_learnt: bool) -> None:
        self.read = read
        self.vocabulary_size = vocabulary_size
        self.all_learnt = all_learnt
        self.hidden_BTH: Tensor | None = None

    def hold(self, hidden_BTH: Tensor) -> Tensor:
        """Keep the hidden states, and give the logits of no token."""
        self.hidden_BTH = hidden_BTH
        return hidden_BTH.new_empty(len(hidden_BTH), 0, self.vocabulary_size)

    def __call__(self, logits: Tensor, labels: Tensor, vocab_size: int, num_items_in_batch: Tensor | int | None = None, **_: Any) -> Tensor:
        hidden_BTH, self.hidden_BTH = self.hidden_BTH, None
        assert hidden_BTH is not None
        hidden_NH, targets_N = _learnt(hidden_BTH, labels, all_learnt=self.all_learnt)
        head, device = self.read(), hidden_NH.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden_NH.dtype
        trained_KH = head.trained_KH if torch.is_grad_enabled() else None
        weight_VH = head.weight_VH.detach().to(dtype)
        total: Tensor = _HeadLoss.apply(hidden_NH, trained_KH, weight_VH, head.rows_K, targets_N)  # type: ignore[no-untyped-call]
        return _share(total, len(targets_N), num_items_in_batch)


class _Gradients(NamedTuple):
    """Where they are written; None where none is wanted. `rows_K`: which rows of the head train, None for all."""

    hidden_NH: Tensor | None
    trained_KH: Tensor | None
    rows_K: Tensor | None

    def of(self, part: slice) -> _Gradients:
        """Those of some tokens."""
        return self if self.hidden_NH is None else self._replace(hidden_NH=self.hidden_NH[part])


class _HeadLoss(torch.autograd.Function):
    """The sum of -log p(target) over all tokens. Products are in the format of the weight; what trains has its gradient in float32."""

    @staticmethod
    def forward(
        ctx: Any, hidden_NH: Tensor, trained_KH: Tensor | None, weight_VH: Tensor, rows_K: Tensor | None, targets_N: Tensor
    ) -> Tensor:
        for_hidden, for_trained = ctx.needs_input_grad[:2]
        of = _Gradients(
            torch.empty_like(hidden_NH) if for_hidden else None,
            torch.zeros_like(trained_KH, dtype=torch.float32) if for_trained and trained_KH is not None else None,
            rows_K,
        )
        total = torch.zeros((), dtype=torch.float32, device=hidden_NH.device)
        size = max(-(-len(targets_N) // PARTS), 1)
        with torch.autocast(hidden_NH.device.type, enabled=False):
            for start in range(0, len(targets_N), size):
                part = slice(start, start + size)
                total += _part(hidden_NH[part].to(weight_VH.dtype), weight_VH, targets_N[part], of.of(part))
        ctx.save_for_backward(of.hidden_NH, of.trained_KH)
        ctx.trained_dtype = None if trained_KH is None else trained_KH.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        of_hidden_NH, of_trained_KH = ctx.saved_tensors
        if of_hidden_NH is not None:
            of_hidden_NH = of_hidden_NH * gradients[0]  # a number in float32, which is not rounded to 16 bits
        if of_trained_KH is not None:
            of_trained_KH = of_trained_KH.mul_(gradients[0]).to(ctx.trained_dtype)  # in place: a second pass back would be refused
        return of_hidden_NH, of_trained_KH, None, None, None


def _part(hidden_NH: Tensor, weight_VH: Tensor, targets_N: Tensor, of: _Gradients) -> Tensor:
    """The loss of some tokens; writes its gradients. The memory of the logarithms becomes the probabilities', and those the gradient's."""
    logits_NV = torch.mm(hidden_NH, weight_VH.t()).float()
    at = targets_N.unsqueeze(1)
    logarithms_NV = torch.log_softmax(logits_NV, dim=1)  # in one pass over the logits
    del logits_NV
    loss = -logarithms_NV.gather(1, at).sum()
    if of.hidden_NH is None and of.trained_KH is None:
        return loss
    probabilities_NV = logarithms_NV.exp_()
    probabilities_NV.scatter_add_(1, at, at.new_full(at.shape, -1.0, dtype=torch.float32))
    of_logits_NV = probabilities_NV.to(weight_VH.dtype)
    if of.hidden_NH is not None:
        of.hidden_NH.copy_(torch.mm(of_logits_NV, weight_VH))
    if of.trained_KH is not None:
        _add_product(of.trained_KH, (of_logits_NV if of.rows_K is None else of_logits_NV[:, of.rows_K]).t(), hidden_NH)
    return loss


def _add_product(total_KH: Tensor, left_KN: Tensor, right_NH: Tensor) -> None:
    if right_NH.dtype == total_KH.dtype:
        total_KH.addmm_(left_KN, right_NH)
    else:
        total_KH += torch.mm(left_KN, right_NH)
