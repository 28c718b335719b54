"""The step itself."""

from __future__ import annotations

import json

from finetune.base import read_base
from finetune.errors import EvaluateError
from finetune.evaluate.measure import Item, ask, require_files, summarise
from finetune.evaluate.plot import figure
from finetune.evaluate.report import Evaluation, read_report, to_json
from finetune.files import json_text, write_together
from finetune.generate import heldout_files, heldout_holes, open_completer, prompt_limit
from finetune.lock import hold
from finetune.model import Load, load_model
from finetune.recipe import Recipe
from finetune.records import REPORT_FORMAT
from finetune.run import Run, open_run, run_to_change


def evaluate(recipe: Recipe, *, load: Load = load_model) -> Evaluation:
    """Base against tuned on the same held-out holes, or the report that is there. Raises EvaluateError when nothing was held out."""
    run = run_to_change(recipe)
    for step in ("build", "train"):
        run.require(step, error=EvaluateError)
    files = heldout_files(run)
    inputs = {"format": REPORT_FORMAT}
    if run.done("evaluate") and run.mark("evaluate")["inputs"] == inputs and run.report.exists():
        open_run(recipe)
        return read_report(run.report)
    with hold(run.folder, doing="evaluate"):
        base = read_base(recipe.model)
        completer = open_completer([run], load=load)
        limit = prompt_limit(run, base)
        by_kind = heldout_holes(files, run, completer.encoder, limit=limit)
        holes = [hole for kind in by_kind.values() for hole in kind]
        require_files(holes)
        with run.step("evaluate", held=True) as notes:
            notes["inputs"] = inputs
            items = ask(completer, holes, recipe.evaluate)
            evaluation = summarise(items, recipe, base=base, prompt_tokens=limit)
            _write(run, evaluation, items)
    return evaluation


def _write(run: Run, evaluation: Evaluation, items: list[Item]) -> None:
    """The report last: where it lies, the rest lies too."""
    lines = "".join(json.dumps(item.to_json(), ensure_ascii=False) + "\n" for item in items)
    picture, report = figure(evaluation), json_text(to_json(evaluation))
    write_together({run.folder / "answers.jsonl": lines, run.folder / "report.png": picture, run.report: report})
