"""Conversations of the user's own, mixed in at a share: so that a model does not forget what the repositories do not show."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from finetune.data.miners import MINERS, Miner


@MINERS.register("jsonl")
class Jsonl(Miner):
    """Conversations from a JSONL file (`messages`, or `prompt` and `completion`) as a share of training; their licence is your matter."""

    source: ClassVar[Literal["files", "history", "lines"]] = "lines"

    path: str = Field(min_length=1, description="the JSONL file")
    share: Annotated[float, Field(gt=0, lt=1)] = Field(0.1, description="share of the tokens of the train side, as far as the file goes")
