"""STEP build, from git repositories to the dataset on disk."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from small_files import module, modules

from finetune.data.build import build, table
from finetune.data.render import Encoder
from finetune.data.show import samples
from finetune.data.store import read_heldout
from finetune.errors import DataError
from finetune.recipe import Recipe
from finetune.records import Origin
from finetune.run import open_run

MakeRecipe = Callable[..., Recipe]
SHAPES = "def area(width, height):\n    return width {sign} height\n"
FIXED = ("Multiply the sides of every rectangle", {"src/shapes.py": SHAPES.format(sign="*")})


@pytest.fixture
def project(make_repository) -> Path:
    files = modules("pump") | {"src/shapes.py": SHAPES.format(sign="+"), "logo.png": b"\x89PNG\0\0", "empty.py": ""}
    return make_repository([("Add everything there is", files), FIXED])


def texts_of(recipe: Recipe, side: str) -> list[str]:
    run = open_run(recipe)
    encoder = encoder_for(recipe)
    return sorted(encoder.decode([token.id for token in tokens]) for tokens in samples(run.data / side))


def encoder_for(recipe: Recipe) -> Encoder:
    from finetune.base import read_base

    base = read_base(recipe.model)
    return Encoder(base.tokenizer, base.family)


def left_behind(recipe: Recipe) -> list[str]:
    """What a build that failed must not leave."""
    folder = Path(recipe.runs) / recipe.name
    return [path.name for path in folder.glob("*")] if folder.exists() else []


def commit(folder: Path, path: str, content: str, message: str) -> None:
    (folder / path).write_text(content)
    identity = ["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    for arguments in (["add", "-A"], ["commit", "-q", "-m", message]):
        subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_the_report_counts_everything_that_was_read(project: Path, recipe_of: MakeRecipe) -> None:
    recipe = recipe_of(project)
    report = build(recipe)
    stored = json.loads((open_run(recipe).data / "report.json").read_text())
    assert stored == report.as_dict() | {
        "repositories": [{"name": "project", "path": str(project), "commit": report.repositories[0].commit}]
    }
    items, tokens = stored["items"], stored["tokens"]
    assert items["read"] == items["kept"] + sum(items["dropped"].values()) == 15 + 2
    assert (items["dropped"]["binary"], items["dropped"]["empty"]) == (1, 1)
    assert sum(stored["languages"].values()) == stored["files"]["kept"] == 13
    assert set(stored["samples"]) == {"fim", "commits"}
    for side in ("train", "valid"):
        assert sum(made[side] for made in stored["samples"].values()) == len(texts_of(recipe, side))
    assert tokens["train"] + tokens["padding"] == stored["rows"]["train"] * 256
    assert tokens["fill"] == pytest.approx(tokens["train"] / (tokens["train"] + tokens["padding"]), abs=1e-4)
    assert tokens["learnt"] == tokens["train"] - sum(made["train"] for made in stored["samples"].values())


def test_every_drop_is_on_disk_with_its_place(project: Path, recipe_of: MakeRecipe) -> None:
    report = build(recipe := recipe_of(project))
    decisions = [json.loads(line) for line in (open_run(recipe).data / "decisions.jsonl").read_text().splitlines()]
    assert len(decisions) == sum(report.items.dropped.values())
    assert {"repo": "project", "commit": report.repositories[0].commit, "path": "logo.png", "reason": "binary"} in decisions


def test_the_table_names_each_reason(project: Path, recipe_of: MakeRecipe) -> None:
    from rich.console import Console

    console = Console(width=100)
    with console.capture() as capture:
        console.print(table(build(recipe_of(project))))
    shown = capture.get()
    for word in ("dropped: binary", "fim", "commits", "Python", "fill of rows", "project at "):
        assert word in shown


def test_the_same_commits_and_seed_give_the_same_bytes(project: Path, recipe_of: MakeRecipe) -> None:
    folders = []
    for runs in ("first", "second"):
        recipe = recipe_of(project, runs=runs)
        build(recipe)
        folders.append(open_run(recipe).data)
    files = sorted(path.relative_to(folders[0]) for path in folders[0].rglob("*") if path.is_file())
    assert len(files) == 9 + 2 * 3
    for file in files:
        assert (folders[0] / file).read_bytes() == (folders[1] / file).read_bytes()


def test_another_seed_gives_other_samples(project: Path, recipe_of: MakeRecipe) -> None:
    found = []
    for seed in (0, 1):
        build(recipe := recipe_of(project, seed=seed, name=f"seed{seed}"))
        found.append(texts_of(recipe, "train"))
    assert found[0] != found[1]


def test_another_repository_changes_no_sample_and_no_side_of_the_first(project: Path, recipe_of: MakeRecipe, make_repository) -> None:
    other = make_repository([("Add the valves of it all", modules("valve"))], name="another")
    alone, both = recipe_of(project, name="alone"), recipe_of(other, project, name="both")
    build(alone)
    build(both)
    for side in ("train", "valid"):
        mine, ours = texts_of(alone, side), texts_of(both, side)
        assert [text for text in ours if "valve" not in text] == mine
        assert len(ours) > len(mine)
    held = [set(read_heldout(open_run(recipe).data / "heldout.jsonl")) for recipe in (alone, both)]
    assert {file for file in held[1] if file.origin.repo == "project"} == held[0]


def test_control_tokens_in_a_source_file_become_plain_text(make_repository, recipe_of: MakeRecipe) -> None:
    """T9, all the way to the rows on disk."""
    line = "END = '<|endoftext|>'  # and <fim_middle> or <file_sep>\n"
    recipe = recipe_of(make_repository([("Add it", {f"a{number}.py": line * 3 + module(f"f{number}") for number in range(9)})]))
    report = build(recipe)
    encoder, run = encoder_for(recipe), open_run(recipe)
    for side in ("train", "valid"):
        for tokens in samples(run.data / side):
            ids = [token.id for token in tokens]
            assert ids.count(encoder.end_id) == 1 and ids[-1] == encoder.end_id
            assert ids.count(encoder.token("<fim_middle>")) <= 1
            assert encoder.token("<file_sep>") not in ids
    assert any(text.count("<|endoftext|>") > 1 for text in texts_of(recipe, "train"))
    assert report.samples["fim"]["train"] > 0


def test_only_the_answer_is_learnt_when_asked(project: Path, recipe_of: MakeRecipe) -> None:
    recipe = recipe_of(project, learn="answer", miners=[{"kind": "fim", "rate": 1, "spm_rate": 0}])
    build(recipe)
    encoder = encoder_for(recipe)
    middle = encoder.token("<fim_middle>")
    for tokens in samples(open_run(recipe).data / "train"):
        place = [token.id for token in tokens].index(middle)
        assert [token.learnt for token in tokens] == [number > place for number in range(len(tokens))]


def test_a_second_build_of_the_same_commits_does_nothing(project: Path, recipe_of: MakeRecipe) -> None:
    recipe = recipe_of(project)
    first = build(recipe)
    report = open_run(recipe).data / "report.json"
    stamp = report.stat().st_mtime_ns
    second = build(recipe)
    assert (first.fresh, second.fresh) == (True, False)
    assert second.as_dict() == first.as_dict()
    assert report.stat().st_mtime_ns == stamp


def test_a_new_commit_is_built_anew(project: Path, recipe_of: MakeRecipe) -> None:
    build(recipe := recipe_of(project))
    before = open_run(recipe).mark("build")["result"]
    commit(project, "added.py", module("added"), "Add one more")
    report = build(recipe)
    assert report.fresh and report.files.kept == 14
    assert open_run(recipe).mark("build")["result"] != before


def test_a_dataset_that_was_deleted_is_built_anew(project: Path, recipe_of: MakeRecipe) -> None:
    build(recipe := recipe_of(project))
    shutil.rmtree(open_run(recipe).data)
    assert build(recipe).fresh
    assert (open_run(recipe).data / "report.json").exists()


def test_held_out_files_are_the_valid_side_without_secrets(make_repository, recipe_of: MakeRecipe) -> None:
    key = "AKIA" + "QYLPMN5HHHFPZAM2"
    files = {name: text + f'KEY = "{key}"\n' for name, text in modules("pump").items()}
    recipe = recipe_of(make_repository([("Add it", files)]))
    report = build(recipe)
    held = read_heldout(open_run(recipe).data / "heldout.jsonl")
    assert 0 < len(held) == report.heldout < len(files)
    assert key not in "".join(path.read_bytes().decode(errors="ignore") for path in open_run(recipe).data.rglob("*") if path.is_file())
    assert sum(report.redactions.values()) >= len(files)
    train = "".join(texts_of(recipe, "train"))
    assert not [file for file in held if file.text.splitlines()[0] in train]


def test_what_was_redacted_is_listed_for_review_without_the_values(make_repository, recipe_of: MakeRecipe) -> None:
    key = "AKIA" + "QYLPMN5HHHFPZAM2"
    files = modules("pump") | {"keys.py": f'"""Keys."""\n\nFIRST = "{key}"\nMAIL = "jane@corp.io"\n' + module("keys")}
    recipe = recipe_of(make_repository([("Add it", files), ("Ask jane@corp.io about the keys", {"keys.py": "KEYS = 'jane@corp.io'\n"})]))
    report = build(recipe)
    text = (open_run(recipe).data / "redactions.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert key not in text and "jane" not in text
    places = {(line["path"], line["part"], line["line"], line["kind"], line["shown"]) for line in lines}
    assert ("keys.py", "text", 1, "email", "KEYS = '<EMAIL>'") in places
    assert ("keys.py", "before", 3, "aws_key", 'FIRST = "<KEY>"') in places
    assert ("keys.py", "message", 1, "email", "Ask <EMAIL> about the keys") in places
    assert {line["kind"] for line in lines} == set(report.redactions)


def test_every_value_is_listed_two_of_one_line_and_those_of_paths_too(make_repository, recipe_of: MakeRecipe) -> None:
    mail, line = "jane.doe@corp-mail.io", "BOTH = ['me@corp-mail.io', 'you@corp-mail.io']\n"
    files = modules("pump") | {f"users/{mail}/both.py": line + module("both")}
    changed = {f"users/{mail}/both.py": line + module("both", 3)}
    recipe = recipe_of(
        make_repository([("Add it", files), ("Take some of both away", changed)]), miners=[{"kind": "repository", "name_rate": 1}]
    )
    report = build(recipe)
    lines = [json.loads(line) for line in (open_run(recipe).data / "redactions.jsonl").read_text().splitlines()]
    told = [(line["part"], line["line"], line["shown"]) for line in lines]
    assert sorted(told) == [("path", 1, "users/<EMAIL>/both.py")] + [("text", 1, "BOTH = ['<EMAIL>', '<EMAIL>']")] * 2
    assert report.redactions == {"email": 3}
    written = "".join(text for side in ("train", "valid") for text in texts_of(recipe, side))
    assert "users/<EMAIL>/both.py" in written and "jane" not in written


def sides(recipe: Recipe, paths: list[str]) -> dict[str, str]:
    from finetune.data.split import side

    return {path: side(Origin("project", "", path), valid_share=recipe.data.valid_share, seed=recipe.seed) for path in paths}


def test_the_commits_of_a_file_fall_on_its_side(make_repository, recipe_of: MakeRecipe) -> None:
    paths = [f"src/part{number}.py" for number in range(12)]
    texts = {path: module(f"part_{number}", 2) + SHAPES.format(sign="+") for number, path in enumerate(paths)}
    fixes = [("Multiply the sides of every rectangle", {path: text.replace("width +", "width *")}) for path, text in texts.items()]
    recipe = recipe_of(make_repository([("Add everything there is", texts), *fixes]), row_length=512)
    report = build(recipe)
    expected = list(sides(recipe, paths).values())
    assert report.samples["commits"] == {"train": expected.count("train"), "valid": expected.count("valid")}
    assert 0 < expected.count("valid") < 12


def test_a_change_that_holds_the_text_of_a_held_out_file_is_not_trained_on(make_repository, recipe_of: MakeRecipe) -> None:
    recipe = recipe_of()
    copy, held = one_on_each_side(recipe)
    own, good = module("own", 2), SHAPES.format(sign="*")
    near = good.replace("area", "surface")
    files = modules("pump") | {copy: own, held: good}
    texts = {"Multiply the sides of every rectangle": good, "Call the area by its other name": near, "Change the copy so it differs": own}
    report = build(recipe_of(make_repository([("Add everything there is", files), *((why, {copy: text}) for why, text in texts.items())])))
    assert (report.changes.dropped["held_out_text"], report.changes.dropped["near_held_out"]) == (2, 1)
    decisions = [json.loads(line) for line in (open_run(recipe).data / "decisions.jsonl").read_text().splitlines()]
    assert {each["detail"] for each in decisions if each["reason"] == "near_held_out"} == {f"project: {held} (0.71)"}
    assert "commits" not in report.samples


def test_what_may_be_a_held_out_file_before_it_moved_is_not_trained_on(make_repository, recipe_of: MakeRecipe) -> None:
    """Two files of one name move and change in one commit: which went where can not be told."""
    recipe = recipe_of()
    old, new = one_on_each_side(recipe)
    files = {old: SHAPES.format(sign="+"), "e/shapes.py": SHAPES.format(sign="/")}
    moved = {old: None, "e/shapes.py": None, new: SHAPES.format(sign="*") + module("moved"), "f/shapes.py": module("moved_as_well")}
    edit = ("Multiply the sides of every rectangle", {old: SHAPES.format(sign="*")})
    report = build(recipe_of(make_repository([("Add it", modules("pump") | files), edit, ("Move them to their place", moved)])))
    assert report.changes.dropped["held_out_before_a_move"] == 1


def one_on_each_side(recipe: Recipe) -> tuple[str, str]:
    """Two paths with one file name, the first on the train side, the second held out."""
    found = sides(recipe, [f"d{number}/shapes.py" for number in range(40)])
    train, valid = (next(path for path in found if found[path] == side) for side in ("train", "valid"))
    return train, valid


def test_a_recipe_without_a_file_miner_still_holds_files_out(make_repository, recipe_of: MakeRecipe) -> None:
    paths = [f"src/part{number}.py" for number in range(12)]
    texts = {path: module(f"part_{number}", 2) + SHAPES.format(sign="+") for number, path in enumerate(paths)}
    fixes = [("Multiply the sides of every rectangle", {path: text.replace("width +", "width *")}) for path, text in texts.items()]
    report = build(recipe_of(make_repository([("Add everything there is", texts), *fixes]), miners=["commits"], row_length=512))
    assert (report.files.kept, report.heldout > 0) == (12, True)
    assert set(report.samples) == {"commits"}


def test_only_wanted_languages_are_kept(make_repository, recipe_of: MakeRecipe) -> None:
    files = modules("pump") | {"main.go": "package main\n\nfunc main() {}\n"}
    report = build(recipe_of(make_repository([("Add it", files)]), languages=["Python"]))
    assert set(report.languages) == {"Python"}
    assert report.files.dropped["other_language"] == 1


PUMPS = ("Add it", modules("pump"))
MISTAKES: dict[str, tuple[list[Any] | None, dict[str, Any], str]] = {
    "no git repository": (None, {"repositories": ["."]}, "no git repository"),
    "no repositories": (None, {}, "write data.repositories="),
    "no commit": ([], {}, "empty repository"),
    "no usable file": (
        [("Add it", {"logo.png": b"\0\1", "data.unknown": "text\n"})],
        {},
        r"not a single usable file among 2 paths \(dropped: .*binary 1",
    ),
    "no held-out file": ([PUMPS], {"valid_share": 0.0}, r"holds out none of 12 files.*write data.valid_share=0\.\d+$"),
    "a single file": ([("Add it", {"a.py": module("a")})], {"valid_share": 0.0}, "repositories with more files"),
    "nothing to train on": ([PUMPS], {"valid_share": 1.0}, "nothing is left to train on.*smaller data.valid_share"),
    "nothing but changes": ([PUMPS], {"miners": ["commits"]}, "nothing is left to train on.*add fim"),
    "unknown language": ([PUMPS], {"languages": ["python"]}, "found 'python'; did you mean Python?"),
    "row too short": ([PUMPS], {"row_length": 20}, "data.row_length: found 20; write 23 or more"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_named_with_its_cure_and_leaves_nothing(
    kind: str, make_repository, recipe_of: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    commits, data, message = MISTAKES[kind]
    recipe = recipe_of(*([] if commits is None else [make_repository(commits)]), **data)
    with pytest.raises(DataError, match=message):
        build(recipe)
    assert left_behind(recipe) in ([], ["recipe.yaml"])


@contextmanager
def no_room_for(file_bytes: int) -> Iterator[None]:
    """A disk on which no file grows beyond `file_bytes`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_named_and_leaves_nothing(project: Path, recipe_of: MakeRecipe) -> None:
    recipe = recipe_of(project)
    with no_room_for(4096), pytest.raises(DataError, match=r"can not be written \(File too large\); make room there"):
        build(recipe)
    assert left_behind(recipe) == []
    assert not open_run(recipe).done("build")


def test_a_failed_rebuild_keeps_the_dataset_that_was_there(project: Path, recipe_of: MakeRecipe) -> None:
    first = build(recipe := recipe_of(project))
    commit(project, "added.py", module("added", 50), "Add one more")
    with no_room_for(4096), pytest.raises(DataError, match="can not be written"):
        build(recipe)
    assert json.loads((open_run(recipe).data / "report.json").read_text())["items"]["read"] == first.items.read
    assert sorted(left_behind(recipe)) == ["data", "manifest.json", "recipe.yaml"]


def test_ids_of_a_vocabulary_beyond_two_bytes_are_stored_whole(
    recipe_of: MakeRecipe, byte_base: Path, project: Path, tmp_path: Path
) -> None:
    from datasets import load_from_disk

    far = 70_000
    shutil.copytree(byte_base, tmp_path / "wide")
    tokenizer = json.loads((byte_base / "tokenizer.json").read_text())
    shifted_vocabulary = {token: far + index for token, index in tokenizer["model"]["vocab"].items()}
    tokenizer["model"]["vocab"] = {f"never said {index}": index for index in range(far)} | shifted_vocabulary
    tokenizer["added_tokens"] = [token | {"id": far + token["id"]} for token in tokenizer["added_tokens"]]
    (tmp_path / "wide/tokenizer.json").write_text(json.dumps(tokenizer))
    config = json.loads((byte_base / "config.json").read_text())
    (tmp_path / "wide/config.json").write_text(json.dumps(config | {"vocab_size": far + 320}))
    near = recipe_of(project, miners=["fim", "commits"], row_length=1024)
    wide = near.model_copy(update={"name": "wide", "model": near.model.model_copy(update={"path": str(tmp_path / "wide")})})
    rows = []
    for recipe in (near, wide):
        build(recipe)
        rows.append(load_from_disk(str(open_run(recipe).data / "train")))
    assert [each.features["input_ids"].feature.dtype for each in rows] == ["uint16", "uint32"]
    ids, shifted = (each["input_ids"][:] for each in rows)
    assert [[token - far for token in row] for row in shifted] == ids
    assert rows[0]["learnt"][:] == rows[1]["learnt"][:]


def test_held_out_files_that_are_gone_are_made_again_and_the_training_stays(recipe_of: MakeRecipe, project: Path) -> None:
    recipe = recipe_of(project)
    build(recipe)
    run = open_run(recipe)
    path, result = run.data / "heldout.jsonl", run.mark("build")["result"]
    before = path.read_bytes()
    path.unlink()
    build(recipe)
    assert (path.read_bytes(), run.mark("build")["result"]) == (before, result)
