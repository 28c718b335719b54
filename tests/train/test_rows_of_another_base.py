"""A dataset built for another tokenizer, family or base: every step that would use it says so, and all that lies there stays."""

from __future__ import annotations

import cProfile
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from test_train import train_until_stopped
from training_runs import Prepare, logged
from watching import content

from finetune.__main__ import main
from finetune.base import read_base
from finetune.recipe import parse_recipe
from finetune.run import Run, open_run

QWEN = {"<fim_prefix>": "<|fim_prefix|>", "<fim_middle>": "<|fim_middle|>", "<fim_suffix>": "<|fim_suffix|>", "<fim_pad>": "<|fim_pad|>"}


def with_other_ids(base: Path) -> None:
    """As many tokens, two of which stand for each other."""
    tokenizer = json.loads((base / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (base / "tokenizer.json").write_text(json.dumps(tokenizer))


def with_sentinels_of_another_family(base: Path) -> None:
    text = (base / "tokenizer.json").read_text()
    for mine, other in {**QWEN, "<repo_name>": "<|repo_name|>", "<file_sep>": "<|file_sep|>"}.items():
        text = text.replace(mine, other)
    (base / "tokenizer.json").write_text(text)


def with_one_token_more(base: Path) -> None:
    tokenizer = json.loads((base / "tokenizer.json").read_text())
    tokenizer["added_tokens"].append({**tokenizer["added_tokens"][-1], "id": 300, "content": "<|user|>"})
    (base / "tokenizer.json").write_text(json.dumps(tokenizer))


def with_other_weights(base: Path) -> None:
    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"] += 1
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})


CHANGES = [with_other_ids, with_one_token_more, with_other_weights]


@pytest.fixture
def base(tiny_base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_base, tmp_path / "base"))


def refused(run: Run, capsys: pytest.CaptureFixture[str], verb: str, *words: str) -> str:
    """What is said; asserts that nothing in the run's folder changes."""
    before = content(run.folder)
    assert main([verb, str(run.folder), *words]) == 2
    assert content(run.folder) == before
    said = capsys.readouterr().err
    assert "Traceback" not in said and said.count("\n") == 1
    return said


@pytest.mark.parametrize("change", CHANGES)
def test_rows_of_another_base_are_refused_at_every_step(
    prepare: Prepare, base: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Path], None]
) -> None:
    """Before the base is loaded, whatever else it would say."""
    run = open_run(prepare("train.max_steps=1", base=base))
    change(base)
    for verb in ("check", "train"):
        said = refused(run, capsys, verb)
        assert said.startswith(
            f"finetune {verb}: {base}: the base model changed since the rows of {run.data} were made; bring its files back"
        )
        assert said.endswith(f"or type: finetune build {run.folder}\n")
    assert "the result of 'train' has not been made" in refused(run, capsys, "evaluate")


@pytest.mark.parametrize("change", CHANGES)
def test_a_base_of_another_path_was_not_changed(
    prepare: Prepare, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Path], None]
) -> None:
    """A recipe that names it is sound, and a build for it is a build anew; the rows there are refused by whoever would use them."""
    run, other = open_run(prepare("train.max_steps=1")), f"model.path={base}"
    change(base)
    assert main(["check", str(run.folder), other]) == 0
    assert f"was made with other files than lie in {other}; write model.path of that very base" in refused(run, capsys, "train", other)


def test_a_check_reads_the_base_once(prepare: Prepare, capsys: pytest.CaptureFixture[str]) -> None:
    """A tokenizer of 151,000 tokens takes 0.2 seconds."""
    run, profile = open_run(prepare()), cProfile.Profile()
    assert profile.runcall(main, ["check", str(run.folder)]) == 0
    assert [entry.callcount for entry in profile.getstats() if entry.code is read_base.__code__] == [1]


def test_rows_that_end_in_another_token_are_refused(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """tokenizer_config.json names the end of a model without a family of its own."""
    plain = ["model.family=none", "data.miners=[{kind: fim, rate: 0}]", "data.row_length=256"]
    run = open_run(parse_recipe("", [f"runs={tmp_path}", f"model.path={base}", *plain]))
    with run.step("build") as notes:
        notes["inputs"] = {"base": read_base(run.recipe.model).digest}
        run.data.mkdir()
    config = json.loads((base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").write_text(json.dumps(config | {"eos_token": "<file_sep>"}))
    for verb in ("check", "train"):
        assert f"the base model changed since the rows of {run.data} were made" in refused(run, capsys, verb)


def test_a_training_goes_on_once_the_tokenizer_is_back(prepare: Prepare, base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = prepare("train.max_steps=5", "evaluate.items=1", base=base)
    train_until_stopped(recipe, step=2)
    run, before = open_run(recipe), (base / "tokenizer.json").read_bytes()
    with_other_ids(base)
    assert "the base model changed since the rows" in refused(run, capsys, "train")
    (base / "tokenizer.json").write_bytes(before)
    assert main(["train", str(run.folder)]) == 0
    assert [*logged(run.adapter)] == [*range(1, 6)]


def test_an_adapter_of_another_base_is_not_measured(small_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Path(small_run.recipe.model.path)
    base = Path(shutil.copytree(place, tmp_path / "other"))
    with_other_ids(base)
    for verb in ("evaluate", "export"):
        said = refused(small_run, capsys, verb, f"model.path={base}")
        assert f"was made with other files than lie in model.path={base}; write model.path of that very base" in said


@pytest.mark.parametrize("verb", ["check", "train"])
def test_sentinels_of_another_family_are_named(prepare: Prepare, base: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    run = open_run(prepare(base=base))
    with_sentinels_of_another_family(base)
    said = refused(run, capsys, verb)
    assert "has no fill-in-the-middle tokens that are known here" in said and "or choose a base model with them" in said


@pytest.mark.parametrize("verb", ["check", "train", "evaluate"])
def test_another_family_than_the_tokenizer_s_is_named(prepare: Prepare, base: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    said = refused(open_run(prepare(base=base)), capsys, verb, "model.family=starcoder")
    assert "model.family=starcoder: the tokenizer has no <filename>, <reponame>" in said and "write model.family=auto" in said
