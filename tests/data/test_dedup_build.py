"""Near-duplicates, benchmarks and splits, all the way through a build."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_files import module, modules

from finetune.data.build import build
from finetune.data.dedup import plain
from finetune.data.report import Texts
from finetune.data.store import read_heldout
from finetune.errors import DataError
from finetune.recipe import Recipe
from finetune.run import open_run

MakeRecipe = Callable[..., Recipe]


def lines(recipe: Recipe, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (open_run(recipe).data / name).read_text().splitlines()]


def dropped(recipe: Recipe, reason: str) -> dict[str, str]:
    return {each["path"]: each["detail"] for each in lines(recipe, "decisions.jsonl") if each["reason"] == reason}


def with_copies() -> dict[str, str]:
    """Twelve files and, of each, a copy with one line more in another folder."""
    files = modules("pump")
    return files | {f"copies/{Path(path).name}": text + f"\nLAST = {number}\n" for number, (path, text) in enumerate(files.items())}


def test_near_duplicates_go_across_repositories_and_their_groups_are_on_disk(make_repository, recipe_of: MakeRecipe) -> None:
    one = make_repository([("Add it", modules("pump"))], name="one")
    two = make_repository([("Add it", {path: text + "\nLAST = 1\n" for path, text in modules("pump").items()})], name="two")
    report = build(recipe := recipe_of(two, one))
    assert report.files.dropped == {"near_copy": 12}
    groups = lines(recipe, "clusters.jsonl")
    assert {group["keeper"]["repo"] for group in groups} == {"two"}  # the longer ones
    assert {(each["repo"], each["reason"]) for group in groups for each in group["left_out"]} == {("one", "near_copy")}
    details = dropped(recipe, "near_copy")
    assert all(
        details[each["path"]] == f"two: {each['path']} ({group['left_out'][0]['similarity']:.2f})"
        for group in groups
        for each in [group["keeper"]]
    )


def test_switched_off_near_duplicates_stay_but_never_on_both_sides(make_repository, recipe_of: MakeRecipe) -> None:
    recipe = recipe_of(make_repository([("Add it", with_copies())]), near_duplicates={"enabled": False})
    report = build(recipe)
    left = dropped(recipe, "near_held_out")
    assert 0 < len(left) < 12 and report.files.dropped == {"near_held_out": len(left)}
    held = {file.origin.path for file in read_heldout(open_run(recipe).data / "heldout.jsonl")}
    assert all(detail.removeprefix("project: ").partition(" ")[0] in held for detail in left.values())
    assert report.split.crossing == 0 and report.split.train == report.files.kept - len(held)


def test_no_text_on_one_side_is_like_one_on_the_other(make_repository, recipe_of: MakeRecipe) -> None:
    """Every pair, from the definition: held-out files against what train rows were made of."""
    files = with_copies()
    recipe = recipe_of(make_repository([("Add it", files)]))
    report = build(recipe)
    gone = {each["path"] for each in lines(recipe, "decisions.jsonl") if each["path"]}
    held = {
        file.origin.path: set(plain.runs(file.text.encode()).tolist()) for file in read_heldout(open_run(recipe).data / "heldout.jsonl")
    }
    train = {path: set(plain.runs(text.encode()).tolist()) for path, text in files.items() if path not in gone and path not in held}
    assert (len(train), len(held)) == (report.split.train, report.split.valid) and train and held
    assert max(len(one & other) / len(one | other) for one in held.values() for other in train.values()) < 0.7


def test_a_held_out_change_that_is_like_a_trained_file_goes(make_repository, recipe_of: MakeRecipe) -> None:
    """A file becomes something else, and what it was lives on in a file on the train side."""
    recipe = recipe_of()
    from finetune.data.split import side
    from finetune.records import Origin

    places = {f"d{n}/a.py": side(Origin("project", "", f"d{n}/a.py"), valid_share=0.3, seed=0) for n in range(40)}
    held, train = (next(path for path in places if places[path] == name) for name in ("valid", "train"))
    before, after = module("before", 2), module("after", 2)
    first = [("Add everything there is", modules("pump") | {held: before, train: before + "\nONE = 1\n"})]
    report = build(recipe := recipe_of(make_repository([*first, ("Write the module once again", {held: after})])))
    assert list(dropped(recipe, "near_train").values()) == [f"project: {train} (0.78)"]
    assert report.split.crossing == 0
    assert "commits" not in report.samples


def test_a_benchmark_in_the_repository_is_left_out_with_its_item(make_repository, recipe_of: MakeRecipe, tmp_path: Path) -> None:
    solution = "def mean_of(numbers):\n    total = sum(numbers)\n    return total / len(numbers)\n"
    bench = tmp_path / "bench.jsonl"
    bench.write_text(json.dumps({"task_id": "Bench/7", "canonical_solution": solution}))
    repository = make_repository([("Add it", modules("pump") | {"mean.py": "import os\n\n\n" + solution.replace("    ", "\t")})])
    report = build(recipe := recipe_of(repository, decontaminate=[str(bench)]))
    assert dropped(recipe, "benchmark") == {"mean.py": "bench.jsonl: Bench/7, canonical_solution"}
    assert report.benchmark_texts == {"bench.jsonl": Texts(wanted=1)} and build(recipe) == replace(report, fresh=False)
    assert "| bench.jsonl | 1 | 1 | 0 | 0 |" in (open_run(recipe).data / "README.md").read_text()
    bench.write_text(json.dumps({"task_id": "Bench/8", "canonical_solution": solution.replace("mean_of", "median_of")}))
    assert build(recipe).fresh, "another benchmark is another data set"
    assert report.files.kept == 12 and not dropped(recipe, "benchmark")


def test_whole_repositories_are_held_out(make_repository, recipe_of: MakeRecipe) -> None:
    repositories = [make_repository([("Add it", modules(f"part{number}", 3))], name=f"repo{number}") for number in range(6)]
    report = build(recipe := recipe_of(*repositories, split={"by": "repository"}, valid_share=0.5))
    held = {file.origin.repo for file in read_heldout(open_run(recipe).data / "heldout.jsonl")}
    assert 0 < len(held) < 6 and report.heldout == 3 * len(held)


def test_a_split_that_holds_out_nothing_names_its_cure(make_repository, recipe_of: MakeRecipe) -> None:
    repository = make_repository([("Add it", modules("pump"))])
    with pytest.raises(DataError, match=r"data.split.date: since 2999-01-01 none of 12 files.*write an earlier date"):
        build(recipe_of(repository, split={"by": "date", "date": "2999-01-01"}))
    with pytest.raises(DataError, match=r"whole repositories each.*write data.split.by=path"):
        build(recipe_of(repository, split={"by": "repository"}, valid_share=0.0))
