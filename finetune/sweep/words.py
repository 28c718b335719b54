"""A sweep in words and cells, the same in the terminal and on the page."""

from __future__ import annotations

from finetune.records import FEWEST_FOR_A_VERDICT, Estimate
from finetune.sweep.ranks import LEVEL
from finetune.sweep.report import SweepResult, SweepRow

_MIB = 1 << 20


def heads(result: SweepResult) -> list[str]:
    """What the cells of a row say; of every metric the tuned value, of the sweep's own what changed too."""
    metrics = [f"{name} ({_direction(result, name)} is better)" for name in result.metrics()]
    return ["run", "trained", "tokens", "seconds", "peak memory", "held-out loss", f"{result.metric}: tuned - base", *metrics]


def cells(result: SweepResult, row: SweepRow) -> list[str]:
    """A run as text, empty where nothing is known."""
    score = result.score(row)
    return [
        row.name,
        "" if row.share is None else f"{row.trainable:,} ({row.share:.2%})",
        "" if row.tokens is None else f"{row.tokens:,}",
        "" if row.seconds is None else f"{row.seconds:.0f}",
        "" if row.peak_memory_bytes is None else f"{row.peak_memory_bytes / _MIB:,.0f} MiB",
        _loss(result, row),
        "" if score is None else _interval(score.difference, sign="+"),
        *("" if not row.metrics or name not in row.metrics else _interval(row.metrics[name].tuned) for name in result.metrics()),
    ]


def base_cells(result: SweepResult) -> list[str]:
    """The base model beside the runs: the same on the same holes, so the first run's figures are taken."""
    first = next((row.metrics for row in result.rows if row.metrics), {})
    return ["base", *[""] * 6, *(_interval(first[name].base) if name in first else "" for name in result.metrics())]


def notes(result: SweepResult) -> list[str]:
    """What the figures are worth."""
    found = [_advice(result)]
    found += [correlation_words(result, name) for name in result.metrics()]
    others = len([row for row in result.rows if row.valid_loss is not None and row.metrics]) - len(result.comparable())
    if others:
        found.append(
            f"* {others} of the runs stand on other rows than most (another data section): their held-out losses are not compared, "
            "their scores are: the holes are cut out of the same files."
        )
    if result.waiting:
        found.append(f"Not ended: {', '.join(result.waiting)}; another process is at them, or type the same again.")
    return found


def correlation_words(result: SweepResult, metric: str) -> str:
    """Whether a lower held-out loss goes with a better score, and how sure that is."""
    found = result.correlation(metric)
    begin = f"held-out loss and {metric}, n = {found.n} runs"
    if found.rho is None or found.p is None:
        return f"{begin}: no rank correlation, {'one run alone' if found.n == 1 else 'nothing varies' if found.n else 'no run'}."
    told = f"{begin}: Spearman's rho {found.rho:+.2f}, p {_chance(found.p)}"
    if found.too_few:
        return f"{told}; n is too small: even the same order on both sides would not be told from chance."
    if found.p > LEVEL:
        return f"{told}: not told from chance."
    return f"{told}: a lower loss goes with a {'better' if found.rho > 0 else 'worse'} score."


def _chance(p: float) -> str:
    """No chance is 0: what would round to it is under the least that is shown."""
    return f"{p:.3f}" if p >= 0.0005 else "< 0.001"


def _loss(result: SweepResult, row: SweepRow) -> str:
    if row.valid_loss is None:
        return ""
    if row.pruned_at is not None:
        return f"{row.valid_loss:.4f}, ended at step {row.pruned_at}"
    return f"{row.valid_loss:.4f}" + ("" if row in result.comparable() else " *")


def _direction(result: SweepResult, metric: str) -> str:
    return next((row.metrics[metric].better for row in result.rows if row.metrics and metric in row.metrics), "higher")


def _interval(found: Estimate, *, sign: str = "") -> str:
    return f"{found.value:{sign}.3f} ({found.low:{sign}.3f} to {found.high:{sign}.3f})"


def _advice(result: SweepResult) -> str:
    """What the ranking is worth."""
    scored = [(row, score) for row in result.ranked() if (score := result.score(row)) is not None]
    if len(scored) < 2:
        return "One run alone is ranked against nothing."
    (first, best), (second, next_) = scored[:2]
    if (files := min(best.files, next_.files)) < FEWEST_FOR_A_VERDICT:
        return f"{files} held-out files are too few to show which run is better; hold out more (data.valid_share, more repositories)."
    if best.difference.low <= next_.difference.high and next_.difference.low <= best.difference.high:
        return (
            f"The intervals of {first.name} and {second.name} overlap: this does not show which is better. "
            "Take the one that trains fewer numbers, or measure more holes (evaluate.items)."
        )
    return f"{first.name} is better than {second.name}: their intervals do not overlap."
