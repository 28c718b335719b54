"""The parts of a training pass that are computed here, in less time or memory than the libraries take, and to the same result.

    learnt_loss     head and loss over the learnt tokens alone, in parts; on every device (head: what a head multiplies by)
    low_rank        a frozen linear layer and its LoRA update as one operation; on a CPU, where it was measured
    attention       attention within the samples of a row, without a mask; on a CPU, and on a GPU that has the kernel for it (joined)
    activation      GELU in one pass over memory; on a CPU, in float32
    rotary          the same for positions in queries and keys

What a kernel does not know (DoRA, a head with a bias) is left to the libraries, a head's logits then for all learnt tokens at once. So is
all but that of a model spread over processes (`learnt_logits` alone).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from torch import nn

from finetune.kernels import joined
from finetune.kernels.activation import gelu_kernels
from finetune.kernels.attention import Rehearsed, attention_within_samples
from finetune.kernels.learnt_loss import learnt_logits, learnt_loss
from finetune.kernels.low_rank import low_rank_kernels
from finetune.kernels.rotary import rotary_kernels

__all__ = ["Rehearsed", "kernels", "learnt_logits"]


@contextmanager
def kernels(model: nn.Module, *, cpu: bool, half: bool, checkpointing: bool, rehearsed: Rehearsed | None = None) -> Iterator[None]:
    """Within the block, forward and backward passes of a model with its adapter use the kernels; passes must be given labels and no mask.

    `half`: the pass multiplies in 16 bits. `checkpointing`: blocks are computed again in the backward pass. `rehearsed`: every token
    counts as learnt and every row as one sample.
    """
    with ExitStack() as stack:
        stack.enter_context(learnt_loss(model, all_learnt=rehearsed is not None))
        if cpu or (half and joined.on_gpus()):
            stack.enter_context(attention_within_samples(model, rehearsed=rehearsed))
        if cpu:
            stack.enter_context(low_rank_kernels(model, checkpointing=checkpointing))
            stack.enter_context(gelu_kernels(model))
            stack.enter_context(rotary_kernels(model))
        yield
