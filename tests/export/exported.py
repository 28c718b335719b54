"""What the tests of exports ask of an exported run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from finetune.export.verify import Task
from finetune.exporters import MergeReport
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
