"""Attention within samples: of a packed row no product of two samples is computed, and no mask is built of samples within the window.

The library gives attention one mask for all rows, and attention computes each row's whole square:

    masked                within samples
    a . . . . .           a
    a a . . . .           a a
    . . b . . .               b
    . . b b . .               b b
    . . b b b .               b b b
    . . . . . c                     c

Shapes: B rows, T tokens of a row, N tokens of all rows, L tokens of a sample, H heads (of keys: fewer), D numbers of a head.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from finetune.kernels import joined

LIBRARY, OURS = "sdpa", "within_samples"


class Rehearsed(NamedTuple):
    """A pass of which only what it holds is asked: each row is one sample, and the output is put together as that of several is.

    `beyond_window`: rows are longer than the window, whatever the length of those that stand for them. `gpu`: as on one that has
    the kernel of `joined`.
    """

    beyond_window: bool
    gpu: bool = False


@contextmanager
def attention_within_samples(model: nn.Module, *, rehearsed: Rehearsed | None = None) -> Iterator[None]:
    """Within the block, attention is computed so where a model attends causally and nothing else; forward passes must be given no mask.

    `rehearsed`: every row is one sample, whatever the positions say.
    """
    from peft import PeftModel
    from transformers import AttentionInterface

    causal: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    if not _is_plain(model, causal):
        yield
        return
    samples = _Samples(rehearsed)
    AttentionInterface.register(OURS, _attention)
    hook = causal.base_model.register_forward_pre_hook(samples.see, with_kwargs=True)  # some of peft's models go past the outer one's hooks
    layers = [module for module in causal.modules() if getattr(module, "is_causal", False)]
    causal.config._attn_implementation = OURS  # a name for which the library builds no mask
    for layer in layers:
        layer.samples = samples
    try:
        yield
    finally:
        hook.remove()
        causal.config._attn_implementation = LIBRARY
        for layer in layers:
            del layer.samples


def _is_plain(model: Any, causal: Any) -> bool:
    """A model that lets attention be replaced, tells it all it must know (as for flash attention), and reads nothing before its rows."""
    config = causal.config
    prompted = any(getattr(each, "is_prompt_learning", False) for each in getattr(model, "peft_config", {}).values())
    able = all(getattr(causal, name, False) for name in ("_supports_flash_attn", "_supports_attention_backend"))
    known = able and getattr(config, "is_causal", True)
    odd = any(getattr(config, name, None) is not None for name in ("attention_chunk_size", "attn_logit_softcapping"))
    return bool(config._attn_implementation == LIBRARY and known and not odd and not prompted)


class _Samples:
    """The lengths of the samples of a pass, in the order of its rows; None where every row is one sample."""

    def __init__(self, rehearsed: Rehearsed | None) -> None:
        self.rehearsed = rehearsed
        self.seen = False
        self.lengths: list[int] | None = None
        self.joined = joined.on_gpus() and (rehearsed is None or rehearsed.gpu)
        self._bounds: joined.Bounds | None = None
        self._masks: dict[tuple[int, int], Tensor] = {}

    def see(self, _: nn.Module, __: tuple[Any, ...], inputs: Mapping[str, Any]) -> None:
        """Read them from the positions that a model is called with, which start anew with each sample."""
        positions_BT = inputs.get("position_ids")
        self.seen, self.lengths, self._bounds = True, None, None
        self._masks.clear()
        if positions_BT is not None and self.rehearsed is None:
            steps_BT = torch.diff(positions_BT, dim=1, prepend=positions_BT[:, :1])
            starts_BT = steps_BT != 1
            starts = starts_BT.flatten().nonzero().flatten().tolist()
            ends = [*starts[1:], positions_BT.numel()]
            self.lengths = [end - start for start, end in zip(starts, ends, strict=True)] if len(starts) > len(positions_BT) else None

    def bounds(self, states_BHTD: Tensor) -> joined.Bounds:
        """Where samples end. Made once a pass, for all layers."""
        if self._bounds is None:
            rows, _, tokens, _ = states_BHTD.shape
            self._bounds = joined.bounds(self.lengths or [tokens] * rows, states_BHTD.device)
        return self._bounds

    def window_mask(self, length: int, window: int, device: torch.device) -> Tensor | None:
        """What each token of a sample sees, LL; None where the sample lies within the window. Made once a pass, for all layers."""
        if not (length > window if self.rehearsed is None else self.rehearsed.beyond_window):
            return None
        if (length, window) not in self._masks:
            every = torch.ones(length, length, dtype=torch.bool, device=device)
            self._masks[length, window] = every.tril_().triu_(1 - window)
        return self._masks[length, window]


def _attention(module: Any, query_BHTD: Tensor, key_BHTD: Tensor, value_BHTD: Tensor, *_: None, **options: Any) -> tuple[Tensor, None]:
    """The library's interface for attention: what comes out is BTHD."""
    samples: _Samples = module.samples
    assert samples.seen
    window, lengths = options.get("sliding_window"), samples.lengths
    if not options.get("dropout") and _in_one_call(samples, query_BHTD, window):
        rows, heads, tokens = query_BHTD.shape[:3]
        dtype = _format(query_BHTD)
        query, key, value = (each.transpose(1, 2).flatten(0, 1).to(dtype) for each in (query_BHTD, key_BHTD, value_BHTD))
        out_NHD = joined.attend(query, key, value, samples.bounds(query_BHTD), window=window, scale=options.get("scaling"))
        return out_NHD.view(rows, tokens, heads, -1), None
    attend = partial(_attend, samples=samples, window=window, dropout_p=options.get("dropout", 0.0), scale=options.get("scaling"))
    if lengths is None:
        out_BTHD = attend(query_BHTD, key_BHTD, value_BHTD).transpose(1, 2)
        return out_BTHD.contiguous() if samples.rehearsed is None else torch.cat([out_BTHD]), None
    parts = [_by_sample(each, lengths) for each in (query_BHTD, key_BHTD, value_BHTD)]
    out_NHD = torch.cat([attend(*each).transpose(1, 2)[0] for each in zip(*parts, strict=True)])
    rows, heads, tokens = query_BHTD.shape[:3]
    return out_NHD.view(rows, tokens, heads, -1), None


def _in_one_call(samples: _Samples, query_BHTD: Tensor, window: int | None) -> bool:
    """Whether the kernel for samples of several lengths is the one to take: rows of one sample within the window have a faster one."""
    if not samples.joined or not joined.takes(query_BHTD.shape[-1], _format(query_BHTD)) or not (query_BHTD.is_cuda or samples.rehearsed):
        return False
    several = samples.lengths is not None or samples.rehearsed is not None
    return several or (window is not None and window < query_BHTD.shape[2])


def _format(states: Tensor) -> torch.dtype:
    """What attention computes in: that of autocast, where it is on."""
    device = states.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states.dtype


def _by_sample(states_BHTD: Tensor, lengths: list[int]) -> list[Tensor]:
    """1HLD of each sample."""
    rows_NHD = states_BHTD.transpose(1, 2).flatten(0, 1)
    return [each.transpose(0, 1).unsqueeze(0) for each in rows_NHD.split(lengths)]


def _attend(query: Tensor, key: Tensor, value: Tensor, *, samples: _Samples, window: int | None, **options: Any) -> Tensor:
    """Causal attention within samples of one length; `window`: how many tokens back a token sees, itself included."""
    seen_LL = None if window is None else samples.window_mask(query.shape[2], window, query.device)
    return scaled_dot_product_attention(
        query,
        key,
        value,
        seen_LL,
        is_causal=seen_LL is None,
        enable_gqa=query.shape[1] != key.shape[1],
        **options,
    )
