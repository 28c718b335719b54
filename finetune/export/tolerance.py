"""How far an export may be from its adapter, in nats a token of KL(adapter || export)."""

from __future__ import annotations

from collections.abc import Iterable

# What rounding alone may cost: five times and more what benchmarks/export_rounding.py found on the embedded model, bfloat16 2.1e-4,
# float16 2.4e-6, float32 1.3e-12; larger models round more often. An adapter of less effect than this can not be told from its base.
ROUNDING = {"float32": 1e-9, "float16": 2e-5, "bfloat16": 1e-3}

# Of the adapter's own effect, KL(adapter || base). An adapter added at 1 + d times its scale is about d x d x effect away: 1 %
# lets through d = 0.1, and refuses every coarser mistake; left out altogether it is 100 % away.
SHARE = 0.01

# On another base the quantisation error itself comes on top, which no merge can avoid: 3e-2 for nf4 on the embedded model.
# A quarter of the effect is as much as is given away without being asked.
SHARE_OF_ANOTHER_BASE = 0.25


def tolerance(formats: Iterable[str], *, effect: float, same_base: bool) -> float:
    """The divergence allowed for an adapter of this effect, computed and stored in these number formats.

    `same_base`: the export computes with the very weights the adapter was trained on.
    """
    rounding = max(ROUNDING[name] for name in formats)
    return max(rounding, effect * (SHARE if same_base else SHARE_OF_ANOTHER_BASE))


# What rounding the weights to a GGUF format may cost by itself: seven times and more what benchmarks/gguf_rounding.py found,
# q8_0 3.9e-4, q6_k 2.8e-3, q5_k_m 5.6e-3, q4_k_m 1.7e-2; larger models lose less.
QUANTISED = {"q8_0": 5e-3, "q6_k": 2e-2, "q5_k_m": 5e-2, "q4_k_m": 2e-1}


def quantised_tolerance(kind: str, *, effect: float) -> float:
    """The divergence allowed for a quantised file: of this format, and for an adapter of this effect."""
    return max(QUANTISED[kind], effect * SHARE_OF_ANOTHER_BASE)
