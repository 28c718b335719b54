"""How far an export may be from its adapter, in nats a token of KL(adapter || export)."""

from __future__ import annotations

from collections.abc import Iterable

ROUNDING = {"float32": 1e-8, "float16": 1e-5, "bfloat16": 1e-3}
SHARE = 0.01
SHARE_OF_ANOTHER_BASE = 0.25


def tolerance(formats: Iterable[str], *, effect: float, same_base: bool) -> float:
    """The divergence allowed."""
    rounding = max(ROUNDING[name] for name in formats)
    if same_base:
        return max(rounding, SHARE * effect)
    return max(rounding, SHARE_OF_ANOTHER_BASE * effect)
