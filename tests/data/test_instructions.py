"""Instructions all the way to the rows on disk, and a file of the user's own mixed in."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from finetune.base import read_base
from finetune.check import require_sound
from finetune.data.build import build, table
from finetune.data.render import Encoder
from finetune.data.show import samples
from finetune.data.store import read_heldout
from finetune.errors import DataError, RecipeError
from finetune.recipe import Recipe, parse_recipe
from finetune.run import open_run

MakeRecipe = Callable[..., Recipe]
SAID = "Gives how much room a thing of number {0} takes up on the paper."
ALL = ["fim", "commits", "fixes", "docstrings", "unit_tests"]


def module(name: str, *, sign: str = "+", turns: int = 12) -> str:
    lines = "".join(f"    {name}_{turn} = width {sign} {turn}\n" for turn in range(turns))
    return f'def {name}(width, height):\n    """{SAID.format(name)}"""\n{lines}    return width {sign} height\n'


def case_of(name: str) -> str:
    return f"from {name} import {name}\n\n\ndef test_{name}():\n    width = 2\n    assert {name}(width, 3) == 6\n"


def project(names: Sequence[str], *, sign: str = "+") -> dict[str, str]:
    programs = {f"src/{name}.py": module(name, sign=sign) for name in names}
    return programs | {f"tests/test_{name}.py": case_of(name) for name in names}


NAMES = [f"thing{letter}" for letter in "abcdefghijkl"]
FIXED = [(f"Fix what {name[:5]} {name[5]} takes up", {f"src/{name}.py": module(name, sign="*")}) for name in NAMES]


@pytest.fixture
def repository(make_repository) -> Path:
    return make_repository([("Add everything there is", project(NAMES)), *FIXED])


@pytest.fixture
def recipe_of(byte_base: Path, tmp_path: Path, repository: Path) -> MakeRecipe:
    def make(*miners: Any, name: str = "made", **data: Any) -> Recipe:
        values = {"repositories": [str(repository)], "row_length": 2048, "valid_share": 0.3, "miners": [*miners]} | data
        return parse_recipe(json.dumps({"name": name, "runs": str(tmp_path / "runs"), "model": {"path": str(byte_base)}, "data": values}))

    return make


def texts_of(recipe: Recipe, side: str) -> list[str]:
    base = read_base(recipe.model)
    encoder = Encoder(base.tokenizer, base.family)
    return [encoder.decode([token.id for token in tokens]) for tokens in samples(open_run(recipe).data / side)]


def own(path: Path, *pairs: tuple[str, str]) -> str:
    path.write_text("".join(json.dumps({"prompt": asked, "completion": answer}) + "\n" for asked, answer in pairs))
    return str(path)


def sums(count: int) -> list[tuple[str, str]]:
    return [(f"What is {number} and {number}?", f"It is {2 * number}, twice the number {number}.") for number in range(count)]


def refused(recipe: Recipe) -> list[dict[str, str]]:
    return [json.loads(line) for line in (open_run(recipe).data / "refused.jsonl").read_text().splitlines()]


def test_each_miner_is_counted_and_every_sample_ends_in_a_learnt_stop_token(recipe_of: MakeRecipe) -> None:
    recipe = recipe_of(*ALL, learn="answer")
    report = build(recipe)
    for miner in ("fixes", "docstrings", "unit_tests"):
        tried = report.instructions[miner]
        assert tried.kept == sum(report.samples[miner].values()) > 0
        assert tried.read == tried.kept + sum(tried.dropped.values())
    listed = [line["reason"] for line in refused(recipe)]
    assert len(listed) == sum(sum(each.dropped.values()) for each in report.instructions.values())
    for side in ("train", "valid"):
        for tokens in samples(open_run(recipe).data / side):
            assert tokens[-1].learnt
            assert sum(token.id == tokens[-1].id for token in tokens) == 1


def test_a_function_and_its_test_are_a_sample_where_both_are_on_one_side(recipe_of: MakeRecipe) -> None:
    recipe = recipe_of("fim", "unit_tests")
    report = build(recipe)
    held = {Path(file.origin.path).stem for file in read_heldout(open_run(recipe).data / "heldout.jsonl")}
    apart = [name for name in NAMES if (name in held) != (f"test_{name}" in held)]
    assert report.instructions["unit_tests"].dropped["sides_differ"] == len(apart) > 0
    train, valid = "".join(texts_of(recipe, "train")), "".join(texts_of(recipe, "valid"))
    for name in NAMES:
        asked = f"Write the unit test `test_{name}`"
        assert (asked in train) == (name not in held and name not in apart)
        assert (asked in valid) == (name in held and name not in apart)


def test_every_form_of_a_change_comes_from_the_same_commits(recipe_of: MakeRecipe) -> None:
    made = [build(recipe_of("fim", {"kind": "fixes", "form": form}, name=form)).samples["fixes"] for form in ("text", "lines")]
    assert made[0] == made[1]


def test_a_commit_of_several_program_files_gives_a_sample_for_each(make_repository, recipe_of: MakeRecipe) -> None:
    both = {f"src/{name}.py": module(name, sign="*") for name in NAMES[:2]}
    beside = {"tests/test_a.py": "x = 1\n", "README.md": "# Things\n\nMuch is said here.\n"}
    commits = [("Add all", project(NAMES)), ("Fix what things take up here", both | beside)]
    folder = make_repository(commits, name="several")
    one, two = (
        build(recipe_of("fim", {"kind": "fixes", "program_files": count}, name=f"p{count}", repositories=[str(folder)])) for count in (1, 2)
    )
    assert one.changes.dropped["many_files"] == 2
    assert (one.changes.read, two.changes.read) == (2, 3)  # it counts once for each program file
    assert sum(two.samples["fixes"].values()) == 2


def test_a_file_of_ones_own_gets_its_share_of_the_train_tokens(recipe_of: MakeRecipe, tmp_path: Path) -> None:
    path = own(tmp_path / "own.jsonl", *sums(2000))
    recipe = recipe_of("fim", {"kind": "jsonl", "path": path, "share": 0.25})
    report = build(recipe)
    train = texts_of(recipe, "train")
    mixed = [text for text in train if text.startswith("Question: What is")]
    lengths = [len(tokens) for tokens in samples(open_run(recipe).data / "train")]
    tokens = sum(length for length, text in zip(lengths, train, strict=True) if text in mixed)
    assert sum(lengths) == report.tokens.train
    assert 0 <= tokens - 0.25 * report.tokens.train < 100  # at most a line over
    assert not any("What is" in text for text in texts_of(recipe, "valid"))
    assert len(mixed) == report.samples["jsonl"]["train"] == report.lines.kept
    assert report.lines.read == 2000 == report.lines.kept + sum(report.lines.dropped.values())


def test_which_lines_are_taken_depends_on_the_lines_alone(recipe_of: MakeRecipe, tmp_path: Path) -> None:
    taken = []
    for number, pairs in enumerate((sums(400), sums(400)[::-1], sums(390))):
        recipe = recipe_of("fim", {"kind": "jsonl", "path": own(tmp_path / "own.jsonl", *pairs), "share": 0.3}, name=f"run{number}")
        build(recipe)
        taken.append({text for text in texts_of(recipe, "train") if text.startswith("Question: What is")})
    assert taken[0] == taken[1]
    assert len(taken[0] & taken[2]) >= len(taken[0]) - 10


def test_lines_are_redacted_and_neither_copies_nor_benchmarks_nor_held_out_files_get_in(recipe_of: MakeRecipe, tmp_path: Path) -> None:
    build(first := recipe_of("fim", name="first"))
    held = read_heldout(open_run(first).data / "heldout.jsonl")[0]
    benchmark = tmp_path / "benchmark.jsonl"
    benchmark.write_text(json.dumps({"task_id": "T/1", "prompt": "Count all the islands in a grid of land and water."}) + "\n")
    pairs = [
        ("Who wrote this?", "It was jane.doe@corp-mail.io who wrote it."),
        ("Twice?", "Once is quite enough for everybody."),
        ("Twice?", "Once is quite enough for everybody."),
        ("Count all the islands in a grid  of land and WATER.", "No."),
        ("What stands there?", f"This does:\n```python\n{held.text}```\n"),
        ("What is long?", "This one is. " * 900),
    ]
    miner = {"kind": "jsonl", "path": own(tmp_path / "own.jsonl", *pairs), "share": 0.9}
    recipe = recipe_of("fim", miner, decontaminate=[str(benchmark)])
    report = build(recipe)
    assert dict(report.lines.dropped) == {"same_question": 1, "benchmark": 1, "near_held_out": 1, "longer_than_a_row": 1}
    assert report.samples["jsonl"] == {"train": 2, "valid": 0}
    mixed = [text for text in texts_of(recipe, "train") if text.startswith("Question: ")]
    assert "Question: Who wrote this?\n\nAnswer:\nIt was <EMAIL> who wrote it.<|endoftext|>" in mixed
    assert report.redactions["email"] == 1
    places = {line["path"] for line in refused(recipe) if line["miner"] == "jsonl"}
    assert {"own.jsonl:4", "own.jsonl:5", "own.jsonl:6"} <= places


def test_each_answer_of_a_conversation_is_a_sample_with_what_was_said_before(recipe_of: MakeRecipe, tmp_path: Path) -> None:
    said = [("user", "Hi?"), ("assistant", "Hello."), ("user", "Why?"), ("assistant", "Because.")]
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps({"messages": [{"role": role, "content": content} for role, content in said]}) + "\n")
    recipe = recipe_of("fim", {"kind": "jsonl", "path": str(path), "share": 0.5})
    build(recipe)
    assert {text for text in texts_of(recipe, "train") if text.startswith("Question: Hi?")} == {
        "Question: Hi?\n\nAnswer:\nHello.<|endoftext|>",
        "Question: Hi?\n\nAnswer:\nHello.\n\nQuestion: Why?\n\nAnswer:\nBecause.<|endoftext|>",
    }


def test_a_changed_file_of_ones_own_is_built_anew(recipe_of: MakeRecipe, tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    recipe = recipe_of("fim", {"kind": "jsonl", "path": own(path, *sums(3)), "share": 0.5})
    assert [build(recipe).fresh, build(recipe).fresh] == [True, False]
    own(path, *sums(4))
    assert build(recipe).samples["jsonl"]["train"] == 4


def test_a_line_that_can_not_be_read_stops_the_build_and_leaves_nothing(recipe_of: MakeRecipe, tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(own(path, *sums(1)) and path.read_text() + "{\n")
    recipe = recipe_of("fim", {"kind": "jsonl", "path": str(path)})
    with pytest.raises(DataError, match=r"own\.jsonl:2"):
        build(recipe)
    assert not (Path(recipe.runs) / recipe.name / "data").exists()


def test_the_table_tells_what_became_of_instructions(recipe_of: MakeRecipe, tmp_path: Path) -> None:
    from rich.console import Console

    console = Console(width=120)
    miner = {"kind": "jsonl", "path": own(tmp_path / "own.jsonl", *sums(900)), "share": 0.01}
    with console.capture() as capture:
        console.print(table(build(recipe_of("docstrings", "fim", miner))))
    shown = capture.get()
    for word in ("instructions", "tried", "docstrings", "lines", "dropped: beyond_share"):
        assert word in shown


@pytest.mark.parametrize(
    ("miners", "fault"),
    [
        ([{"kind": "commits", "form": "sentinels"}], r"miners\.0\.form: found sentinels.*has no tokens for commits; write data\.miners\.0"),
        (["fim", {"kind": "fixes", "form": "sentinels"}], r"miners\.1=\{kind: fixes, form: text\}"),
        ([{"kind": "jsonl", "path": "/nowhere/own.jsonl"}], r"miners\.0\.path: found /nowhere/own\.jsonl, which is no file"),
        ([{"kind": "jsonl", "path": path, "share": 0.5} for path in "xy"], "leaves nothing to the repositories"),
    ],
)
def test_check_refuses_what_can_not_work_and_says_what_to_write(recipe_of: MakeRecipe, miners: list[Any], fault: str) -> None:
    with pytest.raises(RecipeError, match=fault):
        require_sound(recipe_of(*miners))
