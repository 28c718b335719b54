"""What the score costs: the difference to the base against the share of numbers trained."""

from __future__ import annotations

from io import BytesIO

from finetune.sweep.report import SweepResult

_WIDE = 5  # largest over smallest share, from which on the axis is logarithmic


def figure(result: SweepResult) -> bytes:
    """A PNG: each run with its interval, the base as the zero line, the frontier joined. Failed runs are named in the title."""
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(8, 5), layout="constrained")
    axes = canvas.subplots()
    front = {row.name for row in result.frontier()}
    shares: list[float] = []
    line: list[tuple[float, float]] = []
    better = "lower"
    for row in sorted(result.rows, key=lambda row: row.share or 0):
        score, share = result.score(row), row.share
        if score is None or share is None:
            continue
        shares.append(share)
        better, found = score.better, score.difference
        colour = "tab:blue" if row.name in front else "tab:gray"
        axes.errorbar(
            100 * share, found.value, yerr=[[found.value - found.low], [found.high - found.value]], fmt="o", color=colour, capsize=4
        )
        axes.annotate(row.name, (100 * share, found.value), xytext=(7, 5), textcoords="offset points", fontsize=8)
        if row.name in front:
            line.append((100 * share, found.value))
    axes.plot(*zip(*line, strict=True), color="tab:blue", linewidth=1, alpha=0.6)
    axes.axhline(0, color="black", linewidth=0.8)
    if max(shares) > _WIDE * min(shares) > 0:
        axes.set_xscale("log")
    axes.margins(x=0.2, y=0.15)
    axes.set_xlabel("trained numbers, % of the model")
    axes.set_ylabel(f"{result.metric}: tuned - base ({better} is better)")
    failed = [row.name for row in result.rows if row.error is not None]
    axes.set_title(
        f"{result.folder.name}: {len(shares)} runs" + (f"; failed: {', '.join(failed)}" if failed else ""), loc="left", fontsize=10
    )
    image = BytesIO()
    canvas.savefig(image, format="png", dpi=120, metadata={"Software": None})
    return image.getvalue()
