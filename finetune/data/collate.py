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
    import numpy as np
    import torch

    columns = ("input_ids", "learnt", "position_ids")
    ids_BT, learnt_BT, positions_BT = (
        torch.from_numpy(np.stack([np.asarray(row[name], dtype=np.int64) for row in rows])) for name in columns
    )
    learnt_here_BT = learnt_BT.bool() & (positions_BT > 0)
    return {"input_ids": ids_BT, "labels": ids_BT.masked_fill(~learnt_here_BT, IGNORED), "position_ids": positions_BT}
