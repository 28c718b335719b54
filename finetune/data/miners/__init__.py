"""Miners: samples out of files and changes."""

from __future__ import annotations

from typing import ClassVar, Literal

from finetune.registry import Plugin, Registry


class Miner(Plugin):
    """Makes samples of one item."""

    source: ClassVar[Literal["files", "history"]] = "files"


MINERS: Registry[Miner] = Registry("miner", Miner)
