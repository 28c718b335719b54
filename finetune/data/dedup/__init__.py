"""Copies and near-duplicates: found, left out, and kept from straddling train and valid."""

from finetune.data.dedup.boundary import Boundary, Match
from finetune.data.dedup.exact import digest, drop_copies
from finetune.data.dedup.files import Copies, Means, content, find_copies, preferred
from finetune.data.dedup.near import Sketched, engine_for, sketch
from finetune.data.dedup.words import BINS

__all__ = [
    "BINS",
    "Boundary",
    "Copies",
    "Match",
    "Means",
    "Sketched",
    "content",
    "digest",
    "drop_copies",
    "engine_for",
    "find_copies",
    "preferred",
    "sketch",
]
