"""Every test here needs a CUDA GPU: `make test-gpu`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from finetune.recipe import Recipe, parse_recipe

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    lacking = pytest.mark.skip(reason="torch sees no CUDA GPU; on a machine with one type: make test-gpu")
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.gpu)
            if not torch.cuda.is_available():
                item.add_marker(lacking)


def _file(draw: random.Random) -> str:
    """Functions of drawn words, which no two files share."""
    words = ["".join(draw.choices("abcdefghiklmnoprstu", k=6)) for _ in range(40)]
    body = "def {}({}, {}):\n    {} = {} + {}\n    return {}\n\n\n"
    return "".join(body.format(*draw.choices(words, k=7)) for _ in range(12))


@pytest.fixture
def on_demo(make_repository: object, tmp_path: Path) -> Recipe:
    """A recipe of the embedded base on a small repository, the two in one folder."""
    texts = {f"src/part{number}.py": _file(random.Random(number)) for number in range(24)}
    repository = make_repository([("Add the parts", texts)])  # type: ignore[operator]
    settings = {
        "runs": tmp_path / "runs",
        "data.repositories": f"[{repository}]",
        "data.valid_share": 0.2,
        "data.row_length": 512,
        "train.max_steps": 12,
        "train.accumulation": 1,
        "train.batch_size": 2,
        "train.warmup_steps": 0,
        "train.learning_rate": "2e-3",
        "train.log_every": 1,
        "train.save_every": 4,
        "train.eval_every": 4,
        "train.optimizer": "adamw",
        "train.gradient_checkpointing": "false",
    }
    return parse_recipe("", [f"{key}={value}" for key, value in settings.items()], name="gpu")
