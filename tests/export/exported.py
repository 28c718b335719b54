"""What the tests of exports ask of an exported run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from finetune.export.verify import Task
from finetune.exporters import MergeReport
from finetune.records import Answer
from finetune.run import Run

Exported = tuple[Run, MergeReport]


def folder_of(run: Run) -> Path:
    return run.export / run.recipe.export[0].name


def read(run: Run, name: str) -> Any:
    return json.loads((folder_of(run) / name).read_text())


def task(run: Run, exported: Path, scratch: Path) -> Task:
    return Task(
        model=run.recipe.model,
        adapter=run.adapter,
        strength=1.0,
        exported=exported,
        form="merged",
        data=run.data,
        tokens=256,
        scratch=scratch,
    )


def parts_at_a_tie(text: str, answer: Answer) -> bool:
    """Whether another text goes its own way where the model's two likeliest tokens are within a hundredth: rounding decides there."""
    said = ""
    for token in answer.said:
        if not text.startswith(said + token.text):
            (_, first), (second, chance) = token.others
            return text.startswith(said + second) and chance > 0.99 * first
        said += token.text
    return False
