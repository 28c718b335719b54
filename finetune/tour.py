"""The whole road once, step by step, with what each step found."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
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
    built = build.build(recipe)
    say(build.table(built))
    say("\n2/4 train: an adapter on the base model")
    say(train.table(train.train(recipe)))
    say("\n3/4 evaluate: base against tuned on held-out files")
    report = evaluate.evaluate(recipe)
    say("\n4/4 export: merged, reloaded in a fresh process, checked")
    say(export.table(export.export(recipe)))
    say(f"\nleft out: {left_out(built.items.dropped)}")
    say("\nbase against tuned")
    say(evaluate.table(report))
    say(f"\n{time.monotonic() - started:.0f} s in all. Next:\n{next_commands(recipe)}")


def run_name(repository: str) -> str:
    """A run's name for a repository, so that one repository does not take the other's folder; here it is plainly demo."""
    name, _, path = repository.rpartition("=")
    if Path(path).resolve() == Path.cwd():
        return "demo"
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name or Path(path).resolve().name).strip("-")
    return f"demo-{plain}" if plain else "demo"


def left_out(dropped: Mapping[str, int]) -> str:
    """Why files and changes were dropped, the commonest reason first."""
    return ", ".join(f"{count:,} {reason}" for reason, count in dropped.items()) or "nothing"


def next_commands(recipe: Recipe) -> str:
    """What to type next, with this run's own folder; each command whole on its line, what it is for below."""
    folder = shlex.quote(f"{recipe.runs}/{recipe.name}")
    here = "" if shutil.which("finetune") else f"{Path(sys.executable).parent}/"
    commands = {
        f"finetune compare {folder}": "both answers side by side, with the true text",
        f"python -m app {folder}": "the playground, in a browser",
        f"finetune build {folder} --show 3": "what was learnt, token by token",
        f"finetune why {folder}": "what was left out, and why",
        f"finetune export {folder} export=gguf_lora && finetune serve {folder}": "in your editor (needs octotune[deploy])",
    }
    return "\n".join(f"  {here}{command.replace('&& ', f'&& {here}')}\n      {purpose}" for command, purpose in commands.items())
