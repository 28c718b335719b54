"""Memory that a step frees and the next one asks for again."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

from finetune.model import on_cpu

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's names for what mallopt is told
_OWN = 32 << 20  # bytes from which on a block is the system's alone, and twice that: to where glibc raises both by itself
_OF_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Within the block a process that computes on a CPU keeps what is freed, and gives it back at the end.

    Else glibc gives memory back whenever 64 MiB are free at its heap's end, and the system clears every page of it anew for the next step.
    On a GPU no gain was measured. Nothing is done there, where the C library is not glibc, and where the user told glibc otherwise. Both
    thresholds stay as they are set at the end: glibc no longer moves them for the rest of the process.
    """
    library = ctypes.CDLL(None)
    if told_by_user() or not on_cpu() or not all(hasattr(library, name) for name in ("mallopt", "malloc_trim")):
        yield
        return
    library.mallopt(_MMAP_THRESHOLD, _OWN)
    library.mallopt(_TRIM_THRESHOLD, -1)  # never
    try:
        yield
    finally:
        library.mallopt(_TRIM_THRESHOLD, 2 * _OWN)
        library.malloc_trim(0)


def told_by_user() -> bool:
    """Whether the environment says when glibc gives memory back."""
    return any(name in os.environ for name in _OF_USER) or "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", "")
