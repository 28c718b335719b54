"""Draws that depend on what is drawn for, never on the order in which it comes; digests of files."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path


def stable_hash(*parts: str | int) -> int:
    """A 64-bit number from the parts, the same on every machine and in every order of work."""
    joined = "\0".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(joined.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big")


def generator(*parts: str | int) -> random.Random:
    """A random generator of its own for the parts, usually (seed, repo, commit, path)."""
    return random.Random(stable_hash(*parts))


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
