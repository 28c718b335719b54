"""Linear layers on a few rows, or on a few columns, at once: as fast on a CPU as on one.

One row times a weight is a matrix times a vector, which reads the weight once. For two to four rows MKL, on a processor of AMD's, packs
the weight as for a large product first: twice the time, measured on the demo base's layers (docs/benchmarks/playground.md). With the
weight on the left it does not. From eight rows on, and for any number on a processor of Intel's, the usual order is the faster one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Linear, Module

FEW = range(2, 5)  # rows
CPUINFO = Path("/proc/cpuinfo")

# What stands in for the `forward` of a layer, by the layer's own attributes.
Forwards = Sequence[tuple[dict[str, object], Callable[..., object]]]


def packs_few_rows() -> bool:
    """Whether this machine is one where the usual order was found slow. By its name, not by a stopwatch: the last bits of a sum
    depend on the order, and one machine is to give the same answers every day."""
    import torch

    return torch.backends.mkl.is_available() and CPUINFO.is_file() and "AuthenticAMD" in CPUINFO.read_text(encoding="utf-8")


def few_row_forwards(modules: Sequence[Module]) -> Forwards:
    """For each plain linear layer in float32 on the CPU its product with the weight on the left."""
    import torch
    from torch.nn import Linear

    return [
        (vars(module), _weight_first(module))
        for module in modules
        if type(module) is Linear
        and module.weight.dtype == torch.float32
        and module.weight.device.type == "cpu"
        and "forward" not in vars(module)
    ]


def head_forward(model: Any) -> Forwards:
    """For a plain last layer its product on a slice of the hidden states, in one matrix product.

    Of a prompt only the last column goes through it. That column does not lie together in memory, for which torch takes a batch of
    products and reads the weight once a row: five times as long for 16 rows of the demo base.
    """
    from torch.nn import Linear
    from torch.nn.functional import linear

    head = model.get_output_embeddings()
    if type(head) is not Linear or "forward" in vars(head):
        return ()

    def forward(x: Tensor) -> Tensor:
        return linear(x.contiguous(), head.weight, head.bias)

    return [(vars(head), forward)]


@contextmanager
def swapped(forwards: Forwards) -> Iterator[None]:
    """Within the block these layers compute by another `forward`."""
    for own, forward in forwards:
        own["forward"] = forward  # not setattr: torch looks through a layer's parameters and children first
    try:
        yield
    finally:
        for own, _ in forwards:
            del own["forward"]


def _weight_first(layer: Linear) -> Callable[[Tensor], Tensor]:
    import torch
    from torch.nn.functional import linear

    def forward(x: Tensor) -> Tensor:
        width, weight, bias = x.shape[-1], layer.weight, layer.bias
        if x.numel() // width not in FEW:
            return linear(x, weight, bias)
        y = (weight @ x.reshape(-1, width).T).T
        if bias is None:
            return y.contiguous().view(*x.shape[:-1], -1)
        # Into a tensor of its own: a plain sum would keep the order of y in memory, in which all that follows is slow.
        total = y.new_empty(y.shape)
        return torch.add(y, bias, out=total).view(*x.shape[:-1], -1)

    return forward
