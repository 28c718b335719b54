"""The forest plot: what tuning changed, metric by metric, with its interval."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from finetune.evaluate.report import NOT_SHOWN, Evaluation, verdict
from finetune.records import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"better": "tab:green", "worse": "tab:red", NOT_SHOWN: "tab:gray"}
_ROW, _MARGIN, _WIDTH = 0.3, 0.75, 8.0  # inches


def figure(evaluation: Evaluation) -> bytes:
    """A PNG with one panel for each metric, each with its own scale: all holes, then each kind."""
    from matplotlib.figure import Figure

    names = sorted(evaluation.metrics)
    rows = 1 + len(evaluation.kinds)
    height = len(names) * (rows * _ROW + _MARGIN) + _MARGIN
    canvas = Figure(figsize=(_WIDTH, height), layout="constrained")
    canvas.suptitle(f"tuned against base, {sum(evaluation.holes.values())} holes of {evaluation.files} held-out files")
    for axes, name in zip(canvas.subplots(len(names), 1, squeeze=False)[:, 0], names, strict=True):
        kinds = [(kind, metrics[name]) for kind, metrics in evaluation.kinds.items() if name in metrics]
        _panel(axes, name, [("all holes", evaluation.metrics[name]), *kinds])
    image = BytesIO()
    canvas.savefig(image, format="png", dpi=120, metadata={"Software": None})
    return image.getvalue()


def _panel(axes: Axes, name: str, rows: list[tuple[str, Comparison]]) -> None:
    for place, (_, comparison) in enumerate(rows):
        found, word = comparison.difference, verdict(comparison)
        axes.plot([found.low, found.high], [place, place], color=_COLOURS[word], linewidth=3 if place == 0 else 1.5)
        axes.plot(found.value, place, "o", color=_COLOURS[word], markersize=6)
        axes.annotate(f" {word}", (max(found.high, 0.0), place), va="center", fontsize=8, xytext=(4, 0), textcoords="offset points")
    arrow = "right is better" if rows[0][1].better == "higher" else "left is better"
    axes.set_title(f"{name}: tuned - base ({arrow})", fontsize=10, loc="left")
    axes.set_yticks(range(len(rows)), [label for label, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.margins(x=0.3)
