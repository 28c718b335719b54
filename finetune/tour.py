"""The whole road once, step by step, with what each step found."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from finetune.recipe import Recipe

if TYPE_CHECKING:
    from rich.console import RenderableType


def tour(recipe: Recipe, *, say: Callable[[RenderableType], None]) -> None:
    """Build, train, evaluate and export `recipe`; `say` gets the table of each step and what to type next."""
    from finetune import evaluate, export, train
    from finetune.data import build

    started = time.monotonic()
    say("\n1/4 build: repositories to packed rows")
    say(build.table(build.build(recipe)))
    say("\n2/4 train: an adapter on the base model")
    say(train.table(train.train(recipe)))
    say("\n3/4 evaluate: base against tuned on held-out files")
    report = evaluate.evaluate(recipe)
    say("\n4/4 export: merged, reloaded in a fresh process, checked")
    say(export.table(export.export(recipe)))
    say("\nbase against tuned")
    say(evaluate.table(report))
    say(f"\n{time.monotonic() - started:.0f} s in all. Next:\n{next_commands(recipe)}")


def next_commands(recipe: Recipe) -> str:
    """The three commands that follow, with this run's own folder."""
    folder = f"{recipe.runs}/{recipe.name}"
    return "\n".join(
        [
            f"  finetune compare {folder}        both answers side by side, with the true text",
            f"  python -m app {folder}           the playground, in a browser",
            f"  finetune build {folder} --show 3   what was learnt, token by token",
        ]
    )
