"""What the score costs, and whether the held-out loss foretells it."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from finetune.records import Estimate
from finetune.sweep.report import SweepResult
from finetune.sweep.words import correlation_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

_WIDE = 5  # largest over smallest share, from which on the axis is logarithmic
_FRONT, _OTHER = "tab:blue", "tab:gray"
_PLACES = ((7, 5), (7, -11), (-7, 5), (-7, -11))  # of a name beside its point, in points to the right and up


def figure(result: SweepResult) -> bytes:
    """A PNG of two panels: each run with its interval over its trained share, the frontier joined; and over its held-out loss.

    The base is the zero line; failed runs are named in the title.
    """
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(13, 5.5), layout="constrained")
    cost, loss = canvas.subplots(1, 2, sharey=True)
    _over_share(cost, result)
    _over_loss(loss, result)
    for axes in (cost, loss):
        axes.axhline(0, color="black", linewidth=0.8)
        axes.margins(x=0.2, y=0.15)
        axes.spines[["top", "right"]].set_visible(False)
    failed = [row.name for row in result.rows if row.error is not None]
    count = sum(result.score(row) is not None for row in result.rows)
    canvas.suptitle(f"{result.folder.name}: {count} runs" + (f"; failed: {', '.join(failed)}" if failed else ""), fontsize=10)
    canvas.draw_without_rendering()
    for axes in (cost, loss):
        keep_apart(axes)
    image = BytesIO()
    canvas.savefig(image, format="png", dpi=110, metadata={"Software": None})
    return image.getvalue()


def keep_apart(axes: Axes) -> None:
    """Put each point's name where it covers no name before it; where every place is taken it stays at its first."""
    from matplotlib.text import Annotation

    placed: list[Bbox] = []
    for name in axes.get_children():
        if isinstance(name, Annotation):
            for right, up in (*_PLACES, _PLACES[0]):
                name.set_horizontalalignment("left" if right > 0 else "right")
                name.set_position((right, up))
                box = name.get_window_extent()
                if not any(box.overlaps(other) for other in placed):
                    break
            placed.append(box)


def _over_share(axes: Axes, result: SweepResult) -> None:
    front, names = {row.name for row in result.frontier()}, result.labels()
    scored = [(row, score, row.share) for row in result.rows if (score := result.score(row)) is not None and row.share]
    shares = sorted(share for _, _, share in scored)
    line = sorted((100 * share, score.difference.value) for row, score, share in scored if row.name in front)
    for row, score, share in scored:
        _point(axes, names[row.name], 100 * share, score.difference, front=row.name in front)
    axes.plot([x for x, _ in line], [y for _, y in line], color=_FRONT, linewidth=1, alpha=0.6)
    if shares and shares[-1] > _WIDE * shares[0]:
        axes.set_xscale("log")
    better = next((score.better for _, score, _ in scored), "lower")
    axes.set_xlabel("trained numbers, % of the model")
    axes.set_ylabel(f"{result.metric}: tuned - base ({better} is better)")
    axes.set_title("what no other run beats for as few trained numbers is joined", loc="left", fontsize=9)


def _over_loss(axes: Axes, result: SweepResult) -> None:
    names = result.labels()
    for row in result.comparable():
        score = result.score(row)
        if score is not None and row.valid_loss is not None:
            _point(axes, names[row.name], row.valid_loss, score.difference)
    axes.set_xlabel("held-out loss, nats per learnt token")
    axes.set_title(correlation_words(result, result.metric), loc="left", fontsize=9, wrap=True)


def _point(axes: Axes, name: str, x: float, found: Estimate, *, front: bool = False) -> None:
    y = found.value
    axes.errorbar(x, y, yerr=[[y - found.low], [found.high - y]], fmt="o", color=_FRONT if front else _OTHER, capsize=4)
    axes.annotate(name, (x, y), xytext=_PLACES[0], textcoords="offset points", fontsize=8)
