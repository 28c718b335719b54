"""Holes of a run's held-out files, as questions whose truth is known."""

from __future__ import annotations

from dataclasses import replace

from app.record import Question
from finetune.base import BaseFolder
from finetune.generate import holes_in_turn
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
    return [
        Question(prompt_of(hole, base.family), truth=hole.truth, name=f"{hole.origin.path}: a {hole.kind}")
        for hole in holes_in_turn(run, base)
    ]
