"""From holes to scores, and from scores to comparisons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from finetune.base import BaseFolder
from finetune.errors import EvaluateError
from finetune.evaluate.report import Evaluation
from finetune.generate import BatchCompleter, Filled
from finetune.hashing import stable_hash
from finetune.metrics import Attempt, Metric
from finetune.progress import track
from finetune.recipe import EvaluateSection, Recipe
from finetune.records import Comparison, Sampling
from finetune.statistics import FEWEST_FILES, PairedScores, compare
from finetune.tasks import Hole, prompt_of, within_hole

_DIGITS = 6  # of a score; what differs by less differs by the order in which a processor added
ARMS = ("base", "tuned")


class Pair(NamedTuple):
    """One metric of one item for both arms; None where it can not be computed."""

    base: float | None
    tuned: float | None


@dataclass(frozen=True, slots=True)
class Item:
    """A hole, what both arms wrote into it, and what that is worth."""

    hole: Hole
    base: Attempt
    tuned: Attempt
    scores: Mapping[str, Pair]

    @property
    def file(self) -> str:
        return f"{self.hole.origin.repo}\0{self.hole.origin.path}"

    def to_json(self) -> dict[str, Any]:
        """A line of answers.jsonl."""
        arms = ((name, getattr(self, name)) for name in ARMS)
        answers = {name: {"text": arm.text, "stopped": arm.stopped, "nats": round(arm.nats, _DIGITS)} for name, arm in arms}
        return {**asdict(self.hole), "answers": answers, "scores": {name: pair._asdict() for name, pair in self.scores.items()}}


def ask(completer: BatchCompleter, holes: Sequence[Hole], section: EvaluateSection) -> list[Item]:
    """Both arms' greedy answers to every hole, scored, in the order of the holes."""
    prompts = [prompt_of(hole, completer.encoder.family) for hole in holes]
    filling = completer.fill(prompts, [hole.truth for hole in holes], Sampling(max_new_tokens=section.max_new_tokens))
    to_the_right = completer.encoder.family.fim is None
    done = {
        index: _item(holes[index], filled, section.metrics, to_the_right=to_the_right)
        for index, filled in track(filling, label="holes, by base and tuned", total=len(holes))
    }
    return [done[index] for index in range(len(holes))]


def _item(hole: Hole, filled: Filled, metrics: Sequence[Metric], *, to_the_right: bool) -> Item:
    base, tuned = (
        Attempt(
            truth=hole.truth,
            text=within_hole(answer.text, hole.truth) if to_the_right else answer.text,
            stopped=answer.stopped,
            nats=nats,
            to_the_right=to_the_right,
        )
        for answer, nats in zip(filled.answers, filled.nats, strict=True)
    )
    return Item(hole, base, tuned, {metric.kind: Pair(_rounded(metric(base)), _rounded(metric(tuned))) for metric in metrics})


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, _DIGITS)


def summarise(items: Sequence[Item], recipe: Recipe, *, base: BaseFolder, prompt_tokens: int) -> Evaluation:
    """Every metric over all holes, and over those of each kind that come from enough files for an interval."""
    section = recipe.evaluate
    kinds = {kind: [item for item in items if item.hole.kind == kind] for kind in section.holes}
    return Evaluation(
        metrics=_comparisons(items, recipe),
        unscored=_unscored(items, section.metrics),
        kinds={kind: _comparisons(chosen, recipe) for kind, chosen in kinds.items() if _enough(chosen)},
        holes={kind: len(chosen) for kind, chosen in kinds.items()},
        files=len({item.file for item in items}),
        settings={
            "base": base.name,
            "base_digest": base.digest,
            "adapter": recipe.adapter.kind,
            "quantization": recipe.model.quantization,
            "decoding": "greedy",
            "holes_of_each_kind": section.items,
            "max_new_tokens": section.max_new_tokens,
            "prompt_tokens": prompt_tokens,
            "resamples": section.resamples,
            "seed": recipe.seed,
        },
        notes=(*_notes(items, section.metrics), *_about_base(base)),
    )


def require_files(holes: Sequence[Hole]) -> None:
    """Raises EvaluateError, before the long work, for holes of so few files that no interval could be given."""
    files = {(hole.origin.repo, hole.origin.path) for hole in holes}
    if len(files) < FEWEST_FILES:
        raise EvaluateError(
            f"evaluate: {len(holes)} holes could be cut out of {len(files)} held-out files; an interval needs two files or more; "
            "write a larger data.valid_share or evaluate.max_new_tokens, or more repositories"
        )


def _enough(items: Iterable[Item]) -> bool:
    return len({item.file for item in items}) >= FEWEST_FILES


def _comparisons(items: Sequence[Item], recipe: Recipe) -> dict[str, Comparison]:
    """Each metric that holes of enough files have a score for."""
    scored = {metric: [item for item in items if None not in item.scores[metric.kind]] for metric in recipe.evaluate.metrics}
    return {metric.kind: _compare(chosen, metric, recipe) for metric, chosen in scored.items() if _enough(chosen)}


def _compare(items: Sequence[Item], metric: Metric, recipe: Recipe) -> Comparison:
    pairs = [item.scores[metric.kind] for item in items]
    scores = PairedScores(
        base=[pair.base for pair in pairs if pair.base is not None],
        tuned=[pair.tuned for pair in pairs if pair.tuned is not None],
        files=[item.file for item in items],
        weights=[metric.weight(item.base) for item in items],
    )
    seed = stable_hash(recipe.seed, "bootstrap", metric.kind)
    return compare(scores, resamples=recipe.evaluate.resamples, seed=seed, better=metric.better, bounds=metric.bounds)


def _unscored(items: Sequence[Item], metrics: Sequence[Metric]) -> dict[str, int]:
    """How many items a metric has no score for, by metric and reason."""
    counts = Counter(f"{metric.kind}: {metric.unscored}" for metric in metrics for item in items if None in item.scores[metric.kind])
    return dict(sorted(counts.items()))


def _about_base(base: BaseFolder) -> Iterator[str]:
    """What "base" means where it was given tokens."""
    if base.family.added:
        words = " ".join(token.text for token in base.family.added)
        yield f"Base is the base model with new rows for {words} that no training has seen: it is asked in words it does not know."


def _notes(items: Sequence[Item], metrics: Sequence[Metric]) -> list[str]:
    """What a reader must know beside the numbers."""
    notes = [
        "No held-out file, nor a copy of one, gave a training sample. What the base saw before is not known, and the same for both arms.",
        "Intervals: 95 %, bootstrap over files, paired by hole.",
    ]
    left_out = [metric.kind for metric in metrics if not _enough(item for item in items if None not in item.scores[metric.kind])]
    if left_out:
        notes.append(f"Left out, fewer than two files have a score: {', '.join(left_out)}.")
    if any(item.base.to_the_right for item in items):
        notes.append("The model has no fill-in-the-middle: it saw the prefix alone; its answers are read as far as the truth has lines.")
    return notes
