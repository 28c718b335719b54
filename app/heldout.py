"""Holes of a run's held-out files, as questions whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, zip_longest

from app.view import Question
from finetune.base import BaseFolder
from finetune.data.render import Encoder
from finetune.generate import heldout_files, heldout_holes, prompt_limit
from finetune.run import Run
from finetune.tasks import prompt_of

HOLES = 8  # of each kind: enough to choose from, few enough to read
_LONGEST_ANSWER = 512


def longest_answer(base: BaseFolder) -> int:
    """The most new tokens one can ask for: half of a small model's context stays for the prompt."""
    return _LONGEST_ANSWER if base.context_length is None else min(_LONGEST_ANSWER, base.context_length // 2)


def questions(run: Run, base: BaseFolder) -> list[Question]:
    """The first holes that an evaluation of the run measures, one of each kind in turn."""
    few = run.recipe.evaluate.model_copy(update={"items": HOLES})
    run = replace(run, recipe=run.recipe.model_copy(update={"evaluate": few}))
    by_kind = heldout_holes(heldout_files(run), run, Encoder(base.tokenizer, base.family), limit=prompt_limit(run, base))
    in_turn = chain.from_iterable(zip_longest(*by_kind.values()))
    return [
        Question(prompt_of(hole, base.family), truth=hole.truth, name=f"{hole.origin.path}: a {hole.kind}")
        for hole in in_turn
        if hole is not None
    ]
