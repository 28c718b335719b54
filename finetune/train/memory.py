"""Memory that a step frees and the next one asks for again."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's names for what mallopt is told
_OWN = 32 << 20  # bytes from which on a block is the system's alone, and twice that: to where glibc raises both by itself


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Within the block the process keeps what is freed, and gives it back at the end; where the C library is not glibc, as always.

    Else glibc gives memory back whenever 64 MiB are free at its heap's end, and the system clears every page of it anew for the next step.
    """
    library = ctypes.CDLL(None)
    if not all(hasattr(library, name) for name in ("mallopt", "malloc_trim")):
        yield
        return
    library.mallopt(_MMAP_THRESHOLD, _OWN)
    library.mallopt(_TRIM_THRESHOLD, -1)  # never
    try:
        yield
    finally:
        library.mallopt(_TRIM_THRESHOLD, 2 * _OWN)
        library.malloc_trim(0)
