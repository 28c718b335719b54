"""Copies and near-duplicates: found, left out, and kept from straddling train and valid."""

from finetune.data.dedup.boundary import Boundary, Match
from finetune.data.dedup.exact import digest, drop_copies
from finetune.data.dedup.files import Copies, content, find_copies, preferred
from finetune.data.dedup.near import engine_for

__all__ = ["Boundary", "Copies", "Match", "content", "digest", "drop_copies", "engine_for", "find_copies", "preferred"]
