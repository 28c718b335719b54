"""Make the embedded base model again, step by step; every step reads what the one before left in --work.

python -m finetune.demo.pretrain fetch --work FOLDER     packages through pip, npm and apt
python -m finetune.demo.pretrain corpus --work FOLDER    files worth learning from
python -m finetune.demo.pretrain rows --work FOLDER      tokenizer and rows of tokens
python -m finetune.demo.pretrain train --work FOLDER     to read; by the clock, goes on where it was stopped
python -m finetune.demo.pretrain holes --work FOLDER     to fill holes, from where the first training ended
python -m finetune.demo.pretrain export --work FOLDER    the newest checkpoint as a model folder
python -m finetune.demo.pretrain measure --work FOLDER   measurement.json
python -m finetune.demo.pretrain card --work FOLDER      README.md of the model
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from finetune.demo.pretrain import card, fetch, licences
from finetune.errors import DataError, FinetuneError
from finetune.files import write_atomic, write_json

READ, FILLED, CHECKPOINT = "read", "filled", "weights.pt"  # folders of the two trainings


class Work(NamedTuple):
    """Where a run keeps what it makes, and where the model goes."""

    folder: Path
    out: Path
    recipe: dict[str, Any]


def run_fetch(work: Work) -> None:
    """Downloads every package and refuses one whose licence is not permissive."""
    wanted = fetch.packages()
    for package, fault in fetch.fetch_all(work.folder / "raw", wanted):
        if fault:
            raise DataError(f"packages.yaml: {package.name} could not be fetched ({fault}); try again, or take the line out")
        found = licences.licence(fetch.folder_of(work.folder / "raw", package), package.ecosystem)
        if not licences.permissive(found):
            raise DataError(f"packages.yaml: {package.name} says its licence is {found!r}, which is not permissive; take the line out")
        _say(f"{package.ecosystem:10} {package.name} ({found})")


def run_corpus(work: Work) -> None:
    """Chooses the files."""
    from finetune.demo.pretrain.corpus import Limits, write_corpus

    section = work.recipe["corpus"]
    limits = Limits(section["package_bytes"], section["language_bytes"])
    tally = write_corpus(work.folder / "raw", fetch.packages(), limits, out=work.folder / "corpus")
    write_json(work.folder / "corpus" / "tally.json", dict(tally))


def run_rows(work: Work) -> None:
    """Trains the tokenizer and packs the rows."""
    from finetune.demo.pretrain.pack import Mix
    from finetune.demo.pretrain.prepare import Mixes, Plan, make_rows, make_tokenizer

    corpus, tokenizer = work.folder / "corpus", work.folder / "tokenizer"
    make_tokenizer(corpus, tokenizer, **work.recipe["tokenizer"])
    plan, mixes = Plan(**work.recipe["rows"]), Mixes(Mix(**work.recipe["mix"]), Mix(**work.recipe["hole_mix"]))
    for name, count in make_rows(corpus, tokenizer, work.folder / "rows", plan=plan, mixes=mixes):
        _say(f"{name}: {count} rows")


def run_train(work: Work) -> None:
    """Trains until the minutes are over."""
    from finetune.demo.pretrain.processes import Job, train_everywhere
    from finetune.demo.pretrain.train import Schedule

    schedule = Schedule(**work.recipe["schedule"])
    train_everywhere(Job(work.recipe["model"], schedule, work.folder / "rows", work.folder / READ))


def run_holes(work: Work) -> None:
    """Trains on the answers to holes, from the weights of the first training."""
    from finetune.demo.pretrain.processes import Job, train_everywhere
    from finetune.demo.pretrain.train import Schedule

    schedule = Schedule(**work.recipe["hole_schedule"])
    job = Job(work.recipe["model"], schedule, work.folder / "rows", work.folder / FILLED)
    start = work.folder / READ / CHECKPOINT
    train_everywhere(job._replace(first="holes", last="holes", valid="holes_valid", learn="answers", weights=start))


def run_export(work: Work) -> None:
    """Writes the model folder."""
    import torch

    from finetune.demo.pretrain.export import export
    from finetune.demo.pretrain.train import new_model

    model = new_model(work.recipe["model"], work.recipe["schedule"]["seed"])
    model.load_state_dict(torch.load(work.folder / FILLED / CHECKPOINT)["model"])
    export(model, work.folder / "tokenizer", work.out)


def run_measure(work: Work) -> None:
    """Measures the model folder on the held-out packages."""
    from finetune.demo.pretrain import measure
    from finetune.demo.pretrain.prepare import read_corpus

    loaded = measure.load(work.out)
    files = read_corpus(work.folder / "corpus" / "held_out.jsonl")
    table: dict[str, object] = {
        "parameters": loaded.model.num_parameters(),
        "training": {name: _training(work.folder / name) for name in (READ, FILLED)},
        "corpus": json.loads((work.folder / "corpus" / "tally.json").read_text()),
        "bits_per_byte": measure.bits_per_byte(loaded, measure.sample(files, work.recipe["measure"]["read"])),
    }
    for shape in measure.LIMITS:
        chosen = measure.sample(files, work.recipe["measure"][shape])
        table[shape] = measure.fill(loaded, measure.holes(loaded, chosen, shape), shape)
    write_json(work.out / "measurement.json", table)


def _training(folder: Path) -> dict[str, float]:
    """How far a training came, from its checkpoint."""
    import torch

    progress: dict[str, float] = torch.load(folder / CHECKPOINT)["progress"]
    return progress


def run_card(work: Work) -> None:
    """Writes the model card from the packages, the recipe and the measurement."""
    facts = card.Facts(work.recipe, fetch.packages(), json.loads((work.out / "measurement.json").read_text()))
    write_atomic(work.out / "README.md", card.card(facts))


NEEDS = {
    "corpus": "raw",
    "rows": "corpus/train.jsonl",
    "train": "rows/valid.npy",
    "holes": f"{READ}/{CHECKPOINT}",
    "export": f"{FILLED}/{CHECKPOINT}",
    "measure": "corpus/held_out.jsonl",
}
STEPS: dict[str, Callable[[Work], None]] = {
    "fetch": run_fetch,
    "corpus": run_corpus,
    "rows": run_rows,
    "train": run_train,
    "holes": run_holes,
    "export": run_export,
    "measure": run_measure,
    "card": run_card,
}


def main() -> int:
    """One step; 2 for a mistake of the user's."""
    parser = argparse.ArgumentParser(
        prog="python -m finetune.demo.pretrain", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--work", type=Path, required=True, help="folder for everything the steps make, a few GB")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1], help="the model folder")
    parser.add_argument("--recipe", type=Path, default=card.RECIPE)
    parser.add_argument("--minutes", type=float, help="the training's length by the clock")
    given = parser.parse_args()
    recipe = card.read_recipe(given.recipe)
    if given.minutes:
        recipe["schedule"]["minutes"] = given.minutes
    try:
        _ready(given.step, given.work)
        STEPS[given.step](Work(given.work.resolve(), given.out.resolve(), recipe))
    except FinetuneError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _ready(step: str, folder: Path) -> None:
    """Raises DataError where the step before, or a program, is missing."""
    needed = NEEDS.get(step)
    if needed and not (folder / needed).exists():
        raise DataError(f"{folder / needed} is not there, and step {step} reads it; run the steps before it first ({', '.join(STEPS)})")
    missing = [program for program in ("npm", "apt-get", "dpkg-deb") if step == "fetch" and shutil.which(program) is None]
    if missing:
        raise DataError(f"fetch: {', '.join(missing)} not found; install it, packages come through their own clients")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
