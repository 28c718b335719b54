"""Which side of the split a file falls on."""

from __future__ import annotations

from finetune.hashing import stable_hash
from finetune.records import Origin, Side

SIDES = 2**64


def side(origin: Origin, *, valid_share: float, seed: int) -> Side:
    """The side of a file and of all its changes, by a hash of the seed, the repository's name and the path.

    Hash, not a draw: the side must not change when a file or a repository is added.
    """
    return "valid" if stable_hash("side", seed, origin.repo, origin.path) < valid_share * SIDES else "train"
