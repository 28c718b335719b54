"""The verbs of the command line, one function each; its docstring is its help."""

from __future__ import annotations

import os
import shlex
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.errors import FinetuneError, RecipeError
from finetune.recipe import Recipe, dump_recipe, load_recipe
from finetune.run import is_main_process, open_run, run_of

if TYPE_CHECKING:
    from rich.console import RenderableType


def check(options: Namespace) -> None:
    """Read a recipe and name every fault in it, in half a second and without torch."""
    from finetune.base import read_base
    from finetune.check import require_rows_of, require_sound, summary

    recipe = _named(options)
    base = read_base(recipe.model)
    require_rows_of(base, run_of(require_sound(recipe, base, lists=True)), error=RecipeError)
    _say(summary(recipe, base))


def list_(options: Namespace) -> None:
    """What a recipe can choose from, a line each; one kind of it with its options; or every key of a recipe."""
    from finetune.catalogue import catalogue

    _say(catalogue(options.kind))


def doctor(_: Namespace) -> None:
    """What works on this machine, what is missing, and the line to type."""
    from finetune import doctor as module

    _say(module.table(module.doctor()))


def build(options: Namespace) -> None:
    """Make the dataset: repositories to packed rows, with a count for everything left out."""
    from finetune.data import build as module
    from finetune.data.show import show

    if options.export:
        options.overrides = [*options.overrides, f"data.exports=[{', '.join(options.export)}]"]
    recipe = _recipe(options)
    _say(module.table(module.build(recipe)))
    if options.show:
        _say(show(open_run(recipe), options.show))


def why(options: Namespace) -> None:
    """What became of a file or a commit in a build: kept or left out, for what reason, by which numbers."""
    from finetune.data import why as module

    named, place = options.recipe, Path(options.recipe)
    if not place.is_dir() and place.suffix not in {".yaml", ".yml"}:
        example = "" if options.targets else f", for example finetune why runs/demo {shlex.quote(named)}"
        raise RecipeError(f"{named}: no folder of a run; write it in front of what you ask for: finetune why RUN PATH{example}")
    _say(module.why(run_of(_recipe(options)), options.targets, reason=options.reason, limit=options.n))


def plan(options: Namespace) -> None:
    """Will it fit, where, and how long will it take: a step on fake tensors, before anything is loaded."""
    from finetune import plan as module

    rate = module.Rate(options.tokens_per_second, options.tflops, options.utilisation or module.Rate().utilisation)
    found = module.plan(_recipe(options), gpu=options.gpu, rate=rate)
    _say(module.as_json(found) if options.json else module.table(found))


def train(options: Namespace) -> None:
    """Train the adapter on the built dataset; goes on from the last checkpoint by itself."""
    from finetune import train as module

    recipe = _recipe(options)
    if options.dry_run:
        from finetune import plan as planning

        _say(dump_recipe(recipe))
        _say(planning.table(planning.plan(recipe)))
        return
    _say(module.table(module.train(recipe)))


def evaluate(options: Namespace) -> None:
    """Measure base against tuned on held-out files, with intervals."""
    from finetune import evaluate as module

    _say(module.table(module.evaluate(_recipe(options))))


def compare(options: Namespace) -> None:
    """Show base and tuned side by side on held-out holes."""
    from finetune import compare as module

    _say(module.compare(run_of(_recipe(options)), n=options.n))


def export(options: Namespace) -> None:
    """Write what is deployed, reload it in a fresh process and check it against the adapter."""
    from finetune import export as module

    _say(module.table(module.export(_recipe(options))))


def serve(options: Namespace) -> None:
    """Answer editors from an export, with vLLM or llama.cpp, on this machine alone unless told otherwise; Ctrl+C ends it."""
    from finetune import serve as module
    from finetune.deploy.llama import Address

    address = Address(options.host, options.port, options.api_key or os.environ.get("FINETUNE_API_KEY"))
    try:
        words = shlex.split(options.vllm)
    except ValueError as error:
        raise FinetuneError(f"--vllm: found {options.vllm!r} ({error}); write words as a shell reads them") from error
    how = module.Options(address, options.engine, options.export, options.parallel, (*words,))
    module.serve(run_of(_recipe(options)), how, say=_say)


def sweep(options: Namespace) -> None:
    """Run a product, a list or a search of overrides, all checked before the first; goes on after a kill; several processes share it."""
    from finetune import sweep as module

    _say(module.table(module.sweep(_recipe(options))))


def demo(options: Namespace) -> None:
    """Walk the whole road once: build, train, evaluate, export; on a CPU, with the embedded base model."""
    from finetune.base import DEMO
    from finetune.check import require_sound
    from finetune.tour import run_name, tour

    words = [options.recipe] if "=" in options.recipe else []
    path = DEMO / "demo.yaml" if words or not options.recipe else Path(options.recipe)
    named = [f"data.repositories=[{options.repo!r}]", f"name={run_name(options.repo)}"] if options.repo else []
    tour(require_sound(load_recipe(path, [*named, *words, *options.overrides])), say=_say)


def _recipe(options: Namespace) -> Recipe:
    """The recipe that was named, checked."""
    from finetune.check import require_sound

    return require_sound(_named(options), weights=options.verb != "plan")


def _named(options: Namespace) -> Recipe:
    """The recipe that was named, by its file or by the folder of its run, with the overrides."""
    if "=" in options.recipe:
        raise RecipeError(f"found {options.recipe!r} where the recipe belongs; type: finetune {options.verb} RECIPE [key=value ...]")
    path = Path(options.recipe)
    if not path.is_dir():
        return load_recipe(path, options.overrides)
    # A run that was moved, or is named from elsewhere, is the folder that was named.
    here = [f"runs={str(path.resolve().parent)!r}", f"name={path.resolve().name!r}"]
    return load_recipe(path / "recipe.yaml", [*here, *options.overrides])


def _say(what: RenderableType) -> None:
    """Prints on the process that speaks."""
    if not is_main_process():
        return
    if isinstance(what, str):
        print(what, flush=True)
        return
    from rich.console import Console

    Console(highlight=False).print(what)


RECIPE_FREE = ("list", "doctor")
VERBS: Mapping[str, Callable[[Namespace], None]] = {
    "demo": demo,
    "doctor": doctor,
    "check": check,
    "list": list_,
    "build": build,
    "why": why,
    "plan": plan,
    "train": train,
    "evaluate": evaluate,
    "compare": compare,
    "export": export,
    "serve": serve,
    "sweep": sweep,
}
