"""Every byte that torch holds while a step runs, by what it is for: real tensors and fake ones alike.

A storage counts from the operator that made it until nothing refers to it, as torch's own allocators count it, so that sizes are
exact and what the allocator, the kernels and the driver keep for themselves is not in them.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from finetune.plan.bits import gemm_4bit_in_parts

Sizes = NDArray[np.int64]
_FORWARD, _BACKWARD = 2, 5  # products of tokens with tokens: scores and values; the scores again and four gradients


class Part(IntEnum):
    """What a storage is for."""

    LINEAR = 0
    REST = 1
    ADAPTER = 2
    OPTIMIZER = 3
    GRADIENTS = 4
    ACTIVATIONS = 5
    LOSS = 6
    BACKWARD = 7
    UPDATE = 8


class Stage(IntEnum):
    """When. The backward pass is in two: before and after the first block but one, where memory may rise or fall with the depth."""

    FORWARD = 0
    BACKWARD = 1
    BACKWARD_END = 2
    UPDATE = 3


@dataclass(slots=True)
class Timeline:
    """Bytes held after every allocation: a column for each part, and the operator that allocated."""

    sizes: list[tuple[int, ...]] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    operators: list[str] = field(default_factory=list)
    flops: int = 0

    def rows(self) -> Sizes:
        """Allocations x parts."""
        return np.array(self.sizes, dtype=np.int64).reshape(len(self.sizes), len(Part))


class Counter(TorchDispatchMode):
    """Counts within its `with` block; `part` and `stage` say what new storages are for."""

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)
        self.part = Part.UPDATE
        self.stage = Stage.UPDATE
        self.held = [0] * len(Part)
        self.timeline = Timeline()
        self._known: dict[int, tuple[weakref.ref[Any], list[Any]]] = {}

    def keep(self, tensors: Iterable[Tensor | None], part: Part) -> None:
        """Counts tensors that are there already, or says anew what they are for."""
        for tensor in tensors:
            if tensor is None:
                continue
            storage = tensor.untyped_storage()
            found = self._known.get(storage._cdata)
            if found is None:
                self._add(storage, part)
                continue
            entry = found[1]
            self.held[entry[0]] -= entry[1]
            entry[0] = part
            self.held[part] += entry[1]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.prim.device.default:
            return func(*args, **kwargs)
        if func is torch.ops.bitsandbytes.gemm_4bit.default:
            with self:  # one operator that holds the dequantised weights inside: its parts are counted one by one
                return gemm_4bit_in_parts(*args, **kwargs)
        out = func(*args, **kwargs)
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._see(leaf, func)
        self._count_flops(func, args, kwargs, out)
        return out

    def _count_flops(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        if func is torch.ops.aten.linear.default:  # below autograd it is one operator; torch's table lists none of these three
            self.timeline.flops += 2 * out.numel() * args[0].shape[-1]
            return
        if (attention := _attention_flops(func, args)) is not None:
            self.timeline.flops += attention
            return
        flops = flop_registry.get(func._overloadpacket)
        if flops is not None:
            self.timeline.flops += flops(*args, **kwargs, out_val=out)

    def _see(self, tensor: Tensor, func: Any) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata in self._known:
            return
        self._add(storage, self.part)
        self.timeline.sizes.append(tuple(self.held))
        self.timeline.stages.append(self.stage)
        self.timeline.operators.append(str(func))

    def _add(self, storage: Any, part: Part) -> None:
        entry: list[Any] = [part, storage.nbytes()]
        self.held[part] += entry[1]
        key = storage._cdata
        self._known[key] = (weakref.ref(storage, self._gone(key, entry)), entry)

    def _gone(self, key: int, entry: list[Any]) -> Callable[[object], None]:
        def forget(_: object) -> None:
            self.held[entry[0]] -= entry[1]
            self._known.pop(key, None)

        return forget


def _attention_flops(func: Any, args: Any) -> int | None:
    """Of attention, forward or backward; None for another operator. A token of a causal one sees half of its sample in the mean."""
    products: int
    query: Tensor
    match func.name():
        case "aten::_scaled_dot_product_flash_attention_for_cpu":
            products, query, length, halves = _FORWARD, args[0], args[1].shape[2], _parts(args[4:5])
        case "aten::_scaled_dot_product_flash_attention_for_cpu_backward":
            products, query, length, halves = _BACKWARD, args[1], args[2].shape[2], _parts(args[7:8])
        case "torch_attn::_varlen_attn":
            products, query, length, halves = _FORWARD, args[0], args[5], 2
        case "torch_attn::_varlen_attn_backward":
            products, query, length, halves = _BACKWARD, args[1], args[8], 2
        case _:
            return None
    return 2 * products * query.numel() * int(length) // halves


def _parts(causal: Sequence[bool]) -> int:
    """Of how many parts of its square attention needs one: of two, where a token sees none behind it."""
    return 2 if any(causal) else 1
