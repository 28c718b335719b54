"""How long: tokens through the model, and a rate that was measured, stated, or follows from stated numbers."""

from __future__ import annotations

import math
import statistics
from typing import NamedTuple

from finetune.data.report import read_report
from finetune.errors import TrainError
from finetune.files import object_in
from finetune.plan.result import Hours
from finetune.recipe import Recipe
from finetune.run import Run

LOG = "metrics.jsonl"
_WRONG_LINE = "take the line out that is none, or state a rate with --tokens-per-second"
UTILISATION = 0.4  # of a GPU's stated dense rate in its number format: an assumption


class Rate(NamedTuple):
    """What is stated of the speed: tokens a second, or a GPU's rate in TFLOP/s of which a share is reached."""

    tokens_per_s: float | None = None
    tflops: float | None = None
    utilisation: float = UTILISATION


def planned_steps(recipe: Recipe, run: Run) -> int | None:
    """Optimizer steps of one process over the rows that build made; None before build, unless train.max_steps says it."""
    section = recipe.train
    report = run.data / "report.json"
    if not run.done("build") or not report.exists():
        return section.max_steps
    passes = math.ceil(read_report(report).rows["train"] / section.batch_size)
    steps = max(math.ceil(passes / section.accumulation), 1)
    return section.max_steps or math.ceil(section.epochs * steps)


def hours(tokens: int | None, work_per_token: float, run: Run, stated: Rate) -> Hours | None:
    """Hours for so many tokens; None without tokens or without any rate. Never a speed that nobody stated or measured."""
    if tokens is None:
        return None
    if stated.tokens_per_s is not None:
        return Hours(tokens / stated.tokens_per_s / 3600, stated.tokens_per_s, "stated")
    if stated.tflops is not None:
        rate = stated.tflops * 1e12 * stated.utilisation / work_per_token
        how = f"arithmetic, not measured: {stated.tflops:g} TFLOP/s stated, of which {stated.utilisation:.0%} is assumed to be reached"
        return Hours(tokens / rate / 3600, rate, how)
    measured = measured_rate(run)
    return None if measured is None else Hours(tokens / measured / 3600, measured, "measured by this run so far")


def measured_rate(run: Run) -> float | None:
    """Tokens a second of the run's own training, the median of its log; None when it has none."""
    for folder in (run.checkpoints, run.adapter):
        path = folder / LOG
        if path.exists():
            *texts, _ = path.read_bytes().split(b"\n")
            numbered = enumerate(texts, start=1)
            lines = [object_in(text, where=f"{path}, line {number}", error=TrainError, cure=_WRONG_LINE) for number, text in numbered]
            rates: list[float] = [line["tokens_per_s"] for line in lines if line.get("tokens_per_s")]
            if rates:
                return statistics.median(rates)
    return None
