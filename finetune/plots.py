"""Plots as PNG bytes, drawn without a screen."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from finetune.records import Comparison

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


def comparison_plot(metrics: Sequence[tuple[str, Comparison]]) -> bytes:
    """Base against tuned, a panel for each metric, with 95 % intervals."""
    figure, panels = _figure(max(len(metrics), 1), height=3.2)
    for axes, (name, comparison) in zip(panels, metrics, strict=False):
        arms = (("base", comparison.base, _BASE), ("tuned", comparison.tuned, _TUNED))
        for place, (_, arm, colour) in enumerate(arms):
            axes.bar(place, arm.value, color=colour, width=0.6)
            reach = [[max(arm.value - arm.low, 0.0)], [max(arm.high - arm.value, 0.0)]]
            axes.errorbar(place, arm.value, yerr=reach, color="black", capsize=4, linewidth=1)
        axes.set_xticks(range(len(arms)), [arm for arm, _, _ in arms])
        axes.set_title(f"{name}\n({comparison.better} is better{'' if comparison.shown else '; no difference shown'})", fontsize=9)
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
