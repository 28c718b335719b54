"""Plots as PNG bytes, drawn without a screen."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curve = Sequence[tuple[int, float]]
_BASE, _TUNED = "#7a869a", "#c2410c"


def loss_plot(train: Curve, valid: Curve) -> bytes:
    """Loss in nats per token over optimizer steps: each point is (step, loss)."""
    figure, axes = _figure(1, height=4.0)
    axes[0].plot(*_columns(train), color=_BASE, linewidth=1, label="training rows")
    if valid:
        axes[0].plot(*_columns(valid), color=_TUNED, marker="o", markersize=4, label="held-out rows")
    axes[0].set(xlabel="optimizer step", ylabel="nats per learnt token", title="loss")
    axes[0].legend(frameon=False)
    return _png(figure)


def panels(curves: Mapping[str, Curve]) -> bytes:
    """One picture for several curves over optimizer steps, side by side, each under its title."""
    figure, axes = _figure(len(curves), height=3.2)
    for each, (title, curve) in zip(axes, curves.items(), strict=True):
        each.plot(*_columns(curve), color=_BASE, linewidth=1)
        each.set(xlabel="optimizer step", title=title)
        each.set_ylim(bottom=0)
    return _png(figure)


def _figure(panels: int, *, height: float) -> tuple[Figure, list[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(6.4, 2.6 * panels), height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(1, panels, number + 1) for number in range(panels)]
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _columns(curve: Curve) -> tuple[list[int], list[float]]:
    return [step for step, _ in curve], [value for _, value in curve]


def _png(figure: Figure) -> bytes:
    """The picture; no date in it, so that equal numbers give equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    return buffer.getvalue()
