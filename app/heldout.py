"""Holes of a run's held-out files, as questions whose truth is known."""

from __future__ import annotations

from app.view import Question
from finetune.base import BaseFolder, read_base
from finetune.data.render import Encoder
from finetune.data.store import read_heldout
from finetune.run import Run
from finetune.tasks import Hole, draw_holes, fit, prompt_of

HOLES = 8  # of each kind: enough to choose from, few enough to read
_LONGEST_ANSWER = 512


def longest_answer(base: BaseFolder) -> int:
    """The most new tokens one can ask for: half of a small model's context stays for the prompt."""
    return _LONGEST_ANSWER if base.context_length is None else min(_LONGEST_ANSWER, base.context_length // 2)


def questions(run: Run) -> list[Question]:
    """Holes of each kind that the run measures, cut to what its base can read beside the longest answer."""
    base = read_base(run.recipe.model)
    encoder = Encoder(base.tokenizer, base.family)
    files = read_heldout(run.data / "heldout.jsonl")
    limit = base.context_length and base.context_length - longest_answer(base)

    def short(hole: Hole) -> bool:
        return len(encoder.text(hole.truth)) <= run.recipe.evaluate.max_new_tokens

    found = []
    for kind in run.recipe.evaluate.holes:
        for hole in draw_holes(files, kind, count=HOLES, seed=run.recipe.seed, accept=short):
            name = f"{hole.origin.path}: {kind} from line {hole.prefix.count(chr(10)) + 1}"
            fitted = fit(hole, encoder, limit=limit) if limit else hole
            found.append(Question(prompt_of(fitted, base.family), truth=hole.truth, name=name))
    return found
