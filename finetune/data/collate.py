"""Packed rows as tensors. Shapes: B rows, T tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from finetune.records import IGNORED

if TYPE_CHECKING:
    from torch import Tensor


def collate(rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """`input_ids`, `labels` and `position_ids` of stored rows, each BT, and no attention mask.

    With a mask, even one of all ones, transformers no longer sees that positions restart, and samples in a row attend
    to each other (trap T1). The first token of a sample is never learnt: the token before it belongs to another sample.
    """
    ids_BT, learnt_BT, positions_BT = (_column(rows, name) for name in ("input_ids", "learnt", "position_ids"))
    learnt_here_BT = learnt_BT.bool() & (positions_BT > 0)
    return {"input_ids": ids_BT, "labels": ids_BT.masked_fill(~learnt_here_BT, IGNORED), "position_ids": positions_BT}


def collate_alone(rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """`input_ids` and `labels` of rows that hold one sample each, padded on the right to the longest.

    Needs no mask and no positions: no token looks to its right, and what stands there is not learnt.
    """
    batch = collate(rows)
    del batch["position_ids"]
    return batch


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> Tensor:
    """One column of all rows, BT; a shorter row ends in zeros, which are not learnt."""
    import numpy as np
    import torch

    values = [np.asarray(row[name], dtype=np.int64) for row in rows]
    column_BT = np.zeros((len(values), max(map(len, values))), dtype=np.int64)
    for row, each in zip(column_BT, values, strict=True):
        row[: len(each)] = each
    return torch.from_numpy(column_BT)
