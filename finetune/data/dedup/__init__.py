"""Copies and near-duplicates: found, left out, and kept from straddling train and valid."""

from finetune.data.dedup.boundary import Boundary, Match
from finetune.data.dedup.exact import digest, drop_copies
from finetune.data.dedup.files import Copy, Rank, find_copies
from finetune.data.dedup.near import engine_for

__all__ = ["Boundary", "Copy", "Match", "Rank", "digest", "drop_copies", "engine_for", "find_copies"]
