"""No text is on both sides: lines of the user's own, high thresholds, and a proof that can fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MakeRecipe
from small_files import module, modules

from finetune.base import read_base
from finetune.data.build import build as made
from finetune.data.build import open_inputs, plan
from finetune.data.build.clean import FACTS
from finetune.data.build.join import read_joined
from finetune.data.build.proof import Straddles, proof
from finetune.data.build.stages import STAGES, perform
from finetune.data.build.teach import KEPT
from finetune.data.dedup import plain
from finetune.data.report import BuildReport
from finetune.data.room import Memory
from finetune.data.split import side
from finetune.data.store import read_heldout
from finetune.data.tables import DECISIONS, Row, read_table
from finetune.recipe import Recipe
from finetune.records import Origin
from finetune.run import open_run

Build = Callable[..., BuildReport]
SHAPE = (
    "def area(width, height):\n    first = width + 1\n    second = height + 2\n    third = first {0} second\n    return third {0} height\n"
)


def path_on(name: str) -> str:
    """A path of the repository `project` on that side."""
    places = (f"d{number}/a.py" for number in range(99))
    return next(path for path in places if side(Origin("project", "", path), valid_share=0.3, seed=0) == name)


@pytest.fixture
def build(recipe_of: MakeRecipe, tmp_path: Path) -> Build:
    """Builds a repository with lines of the user's own mixed in."""

    def run(repository: Path, *answers: str) -> BuildReport:
        path = tmp_path / "own.jsonl"
        said = [{"prompt": f"What was number {number}?", "completion": answer} for number, answer in enumerate(answers)]
        path.write_text("".join(json.dumps(line) + "\n" for line in said))
        jsonl = {"kind": "jsonl", "path": str(path), "share": 0.9}
        return made(recipe_of(repository, row_length=2048, miners=["fim", {"kind": "commits", "max_tokens": 2000}, jsonl]))

    return run


def test_a_line_that_tells_what_a_held_out_change_replaced_is_left_out(make_repository: Any, build: Build) -> None:
    held, old = path_on("valid"), SHAPE.format("+")
    commits = [
        ("Add everything there is", modules("pump") | {held: old}),
        ("Multiply the sides of every rectangle", {held: SHAPE.format("*")}),
        ("Write it all anew and better", {held: module("anew", 3)}),
    ]
    report = build(make_repository(commits), old, f"It was:\n```python\n{old}```\n", "Something else.")
    assert report.samples["commits"] == {"train": 0, "valid": 2}
    assert report.lines.dropped == {"near_held_out": 2} and report.lines.kept == 1
    assert report.split.train == report.sides["train"] + 2, "what was asked and what was answered of the line that stays"


def test_a_line_like_a_change_that_was_withdrawn_stays(make_repository: Any, build: Build) -> None:
    """The change is measured on no more, as its old text lives on in a file that is trained on."""
    before, after = module("before", 2), module("after", 2)
    first = modules("pump") | {path_on("valid"): before, path_on("train"): before + "\nONE = 1\n"}
    repository = make_repository([("Add everything there is", first), ("Write the module once again", {path_on("valid"): after})])
    report = build(repository, before, after)
    assert report.changes.dropped["near_train"] == 1
    assert report.lines.kept == 1 and report.lines.dropped == {"near_held_out": 1}


def test_a_line_is_compared_as_it_is_trained_on_without_its_secrets(make_repository: Any, build: Build) -> None:
    people = ["anna.lind", "jorge.diaz", "mei.tanaka", "omar.said", "nina.petrova", "carl.berg"]
    held = "".join(f"TEAM_{n} = 'ask {person}@corp{n}-mail.io about it'\n" for n, person in enumerate(people))
    other = "".join(f"TEAM_{n} = 'ask {person[::-1]}@other{n}-mail.net about it'\n" for n, person in enumerate(people))
    report = build(make_repository([("Add it", modules("pump") | {path_on("valid"): held})]), other)
    assert report.lines.dropped == {"near_held_out": 1}


def twins() -> dict[str, str]:
    """Twelve files and, of each, a copy with one line more in another folder."""
    files = modules("pump")
    return files | {f"copies/{Path(path).name}": text + f"\nLAST = {number}\n" for number, (path, text) in enumerate(files.items())}


def runs_of(texts: dict[str, str]) -> dict[str, set[int]]:
    return {path: set(plain.runs(text.encode()).tolist()) for path, text in texts.items()}


def alike(one: set[int], other: set[int]) -> float:
    return len(one & other) / len(one | other)


def test_a_high_threshold_keeps_near_copies_within_a_side_alone(make_repository: Any, recipe_of: MakeRecipe) -> None:
    recipe = recipe_of(make_repository([("Add it", files := twins())]), near_duplicates={"threshold": 1.0})
    report = made(recipe)
    folder = open_run(recipe).data
    held = runs_of({file.origin.path: file.text for file in read_heldout(folder / "heldout.jsonl")})
    kept = {row.path for row in read_table(Row, folder / DECISIONS) if row.kind == "file" and row.reason is None}
    train = runs_of({path: text for path, text in files.items() if path in kept - held.keys()})
    assert max(alike(one, other) for one in held.values() for other in train.values()) < 0.7
    assert max(alike(train[one], train[other]) for one in train for other in train if one < other) > 0.7
    assert report.files.dropped.keys() == {"near_held_out"} and report.split.threshold == 0.7


def test_a_low_threshold_holds_across_as_well() -> None:
    recipe = Recipe.model_validate({"name": "x", "data": {"near_duplicates": {"threshold": 0.5}}})
    assert recipe.data.near_duplicates.across == 0.5


def test_the_proof_refuses_a_text_that_an_earlier_stage_let_through(make_repository: Any, recipe_of: MakeRecipe) -> None:
    """A file that went for being like a held-out one is put back behind the stage's back."""
    recipe = recipe_of(make_repository([("Add it", twins())]), near_duplicates={"enabled": False})
    opened = open_inputs(recipe, read_base(recipe.model))
    job = plan(opened)
    shard = job.shards[0]
    for stage in STAGES:
        if stage.name == "settle":
            place = job.place("teach", shard) / KEPT
            gone = np.setdiff1d(np.arange(len(np.load(job.place("clean", shard) / FACTS))), np.load(place))
            assert len(gone) and (read_joined(job).keeper < 0).all(), "they went for nothing but the other side"
            np.save(place, np.sort([*np.load(place), gone[0]]))
        perform(stage, job, opened.tools, shard if stage.by_shard else None)
    with pytest.raises(Straddles, match=r"1 held-out files are like texts that are trained on: project: .*\.py \(0\.\d\d\)"):
        proof(job, Memory())
