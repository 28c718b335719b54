"""numba's compiler, as it is used here: a function is compiled when it is first called, and the result is kept on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F, **options: Any) -> F:
    """The function, compiled; in every process again where no folder may be written to: beside the code, at home, NUMBA_CACHE_DIR."""
    try:
        return cast(F, numba.njit(cache=True, nogil=True, **options)(function))
    except RuntimeError:  # numba looks for the folder at once
        return cast(F, numba.njit(nogil=True, **options)(function))
