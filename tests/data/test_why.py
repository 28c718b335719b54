"""`finetune why`: every reason comes with its numbers, and a path nobody has seen with what comes near."""

from __future__ import annotations

import gc
import json
import re
from pathlib import Path
from typing import Any

import pytest
from adversarial import build_adversary
from office import commit, make_office, module
from test_tables import recipe_for

from finetune.__main__ import main
from finetune.data.build import build
from finetune.data.build.card import card
from finetune.data.reasons import MEANINGS
from finetune.data.repos import open_repository, read_files
from finetune.data.tables import DECISIONS, Row, read_table
from finetune.data.tally import Tally
from finetune.data.why import why
from finetune.errors import DataError
from finetune.recipe import Recipe
from finetune.run import Run, open_run


@pytest.fixture(scope="module")
def asked(byte_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = make_office(tmp_path_factory.mktemp("why") / "office")
    wide = "x = [" + ", ".join(map(str, range(600))) + "]\n"
    commit(folder, "Add what is odd", {"src/wide.py": module("wide") + wide, "src/old.py": module("old")})
    commit(folder, "Correct the old ones here", {"src/old.py": module("old", 7), "src/wide.py": module("wide", 2) + wide})
    (folder / "src/old.py").unlink()
    commit(folder, "Take the old one out", {})
    runs = tmp_path_factory.mktemp("runs")
    (runs / "bench.jsonl").write_text(json.dumps({"task_id": "T/1", "solution": module("part10")}) + "\n")
    recipe = recipe_for(folder, byte_base, runs, exclude=["/src/part9.py"], decontaminate=[str(runs / "bench.jsonl")])
    build(recipe)
    return open_run(recipe)


def test_a_file_that_stayed_is_told_with_side_samples_and_rows(asked: Run) -> None:
    text = why(asked, ["src/twin.py"])
    head = text.splitlines()[0]
    assert head == "src/twin.py"
    assert re.search(r"repository office at [0-9a-f]{12}\n  read +\d+ bytes, Python\n  licence +MIT\n", text)
    assert re.search(r"decision +kept, on the (train|valid) side\n  samples +\d+, fim \d+", text)
    assert re.search(r"rows +\d+(, \d+)* of (train|valid)", text)


CASES = {
    "src/part1.py": ["near_copy", "because of office: src/twin.py (0.", "threshold 0.7", "one of 2 alike; office: src/twin.py stays"],
    "src/wide.py": ["minified", "long_lines: max_length 1000, mean_length 100", "the longest of 2,894 characters"],
    "contrib/parser/parse.py": ["licence_not_permissive", "GPL-3.0-or-later", "data.licences: keep permissive"],
    "src/part9.py": ["excluded", "data.exclude: /src/part9.py"],
    "src/part10.py": ["benchmark", "because of bench.jsonl: T/1, solution"],
    "logo.png": ["binary", "6 bytes\n", "no text"],
    "src/keys.py": ["kept", "redactions 1: aws_key in line 1"],
}


@pytest.mark.parametrize("path", CASES)
def test_a_reason_comes_with_its_numbers_and_what_decided(asked: Run, path: str) -> None:
    text = why(asked, [path])
    assert [part for part in CASES[path] if part not in text] == []


def test_a_commit_is_told_by_its_id_or_the_beginning_of_it(asked: Run) -> None:
    rows = [row for row in read_table(Row, asked.data / DECISIONS) if row.kind == "commit"]
    kept = next(row for row in rows if row.reason is None)
    text = why(asked, [kept.commit[:10]])
    assert text.startswith(f"commit {kept.commit}\n  repository office: src/shapes.py\n") and "samples    1, commits 1" in text
    many = next(row for row in rows if row.reason == "many_files")
    assert "many_files, the commit changes more files than one" in why(asked, [many.commit])


def test_a_file_is_told_with_what_became_of_its_history(asked: Run) -> None:
    assert "commits    1 of this file alone: 1 kept" in why(asked, ["src/shapes.py"])


def test_a_path_that_only_history_has_is_told_by_its_commits(asked: Run) -> None:
    assert "deleted" in why(asked, ["src/old.py"])


def test_patterns_reasons_and_repositories_choose(asked: Run) -> None:
    assert len(re.findall(r"^src/part\d+\.py$", why(asked, ["src/part*.py"]), re.MULTILINE)) == 12
    assert why(asked, ["src/*.py"], limit=1).endswith("see all of them")
    assert why(asked, ["*.py"], reason="near_copy").splitlines()[0] == "src/part1.py"
    assert why(asked, ["office:src/twin.py"]) == why(asked, ["./src/twin.py"])
    assert why(asked, ["src/twin.py"], reason="binary") == "none of src/twin.py was left out for binary"
    assert "files read" in why(asked, []) and "near_copy" in why(asked, [])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["src/twins.py"], "did you mean src/twin.py?"),
        (["lib/shapes.py"], "did you mean src/shapes.py?"),
        (["zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"], "a pattern such as"),
        (["--reason", "near_copi"], "did you mean near_copy?"),
    ],
)
def test_what_nobody_has_seen_is_an_error_with_what_comes_near(asked: Run, words: list[str], message: str, capsys: Any) -> None:
    assert main(["why", str(asked.folder), *words]) == 2
    assert message in capsys.readouterr().err


def test_a_run_that_was_not_built_says_what_to_type(asked: Run, tmp_path: Path) -> None:
    recipe = asked.recipe.model_copy(update={"runs": str(tmp_path)})
    with pytest.raises(DataError, match="has not been made; type: finetune build"):
        why(open_run(recipe), ["src/twin.py"])


def test_without_the_repository_the_decision_still_stands(office: Path, byte_base: Path, tmp_path: Path) -> None:
    folder = make_office(tmp_path / "gone")
    commit(folder, "Add it", {"src/wide.py": "x = [" + ", ".join(map(str, range(600))) + "]\n"})
    build(recipe := recipe_for(folder, byte_base, tmp_path / "runs"))
    folder.rename(tmp_path / "elsewhere")
    text = why(open_run(recipe), ["src/wide.py"])
    assert "left out: minified" in text and "can not be read at" in text


def test_every_reason_of_a_repository_full_of_oddities_has_a_meaning(byte_base: Path, tmp_path: Path) -> None:
    adversary = build_adversary(tmp_path / "odd")
    met = {*adversary.files, *adversary.commits} - {""}
    assert len(met) >= 24 and met <= MEANINGS.keys()
    recipe = recipe_for(adversary.folder, byte_base, tmp_path / "runs", row_length=1024)
    report = build(recipe)
    run = open_run(recipe)
    assert report.items.dropped.keys() <= MEANINGS.keys()
    rows = [*read_table(Row, run.data / DECISIONS)]
    assert len(rows) == report.items.read
    assert why(run, [], reason="symlink").splitlines()[0] in {row.path for row in rows}
    odd = [row.path for row in rows if "\\x" in row.path or "\n" in row.path or "\t" in row.path]
    assert odd and all(why(run, [f"office:{path}"]).startswith(path) for path in odd)
    assert card(report, recipe) == (run.data / "README.md").read_text()


def test_every_key_that_a_reason_names_is_the_recipes() -> None:
    recipe: Any = Recipe()
    for meaning in MEANINGS.values():
        value = recipe
        for part in (meaning.key or "").split(".") if meaning.key else ():
            value = getattr(value, part)


def test_a_reader_that_is_dropped_in_a_ring_leaves_no_folder_behind(office: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    reader = read_files(open_repository(str(office), "HEAD"), Tally())
    next(reader)
    assert [*tmp_path.glob("finetune-git-*")]
    ring: list[Any] = [reader]
    ring.append(ring)
    del reader, ring
    gc.collect()
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("path", ["src/m1.py", "src/*.py", "3f2a91c"])
def test_a_path_without_a_run_is_told_the_form(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # also where the file is there, and is no recipe
        assert main(["why", path]) == 2
        assert f"{path}: no folder of a run; write it in front of what you ask for: finetune why RUN PATH, for" in capsys.readouterr().err
        (tmp_path / "src").mkdir(exist_ok=True)
        (tmp_path / "src/m1.py").write_text("x = 1\n")
    assert main(["why", "runs/none", path]) == 2
    assert capsys.readouterr().err.strip().endswith("finetune why RUN PATH")
