"""A recipe made for a GPU, typed on a machine that has none: what its user reads, and what is left behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from watching import ROOT

from finetune.__main__ import main
from finetune.base import read_base
from finetune.recipe import load_recipe
from finetune.run import open_run

RECIPE = ROOT / "recipes" / "starcoder2-15b-qlora.yaml"
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")


def below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def no_memory_is_enough(tiny_base: Path, tmp_path: Path) -> Path:
    """A base with more tokens than any machine could hold."""
    folder = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    more = {"max_position_embeddings": 16384, "sliding_window": 4096, "vocab_size": 1 << 36}
    (folder / "config.json").write_text(json.dumps(json.loads((folder / "config.json").read_text()) | more))
    return folder


def test_training_says_that_it_does_not_fit_and_leaves_everything_as_it_was(
    no_memory_is_enough: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"model.path={no_memory_is_enough}", f"runs={tmp_path / 'runs'}"]
    recipe = load_recipe(RECIPE, words)
    run = open_run(recipe)
    with run.step("build") as notes:
        notes["inputs"] = {"base": read_base(recipe.model).digest}
        run.data.mkdir()
    before = below(tmp_path)
    assert main(["train", str(RECIPE), *words]) == 2
    said = capsys.readouterr().err
    assert "this training needs about" in said and "this CPU with" in said and "can not hold it; torch finds no GPU here" in said
    assert "finetune doctor" in said and "train.fit=ignore" in said and "Traceback" not in said
    assert below(tmp_path) == before


def test_a_base_that_is_not_on_this_machine_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for verb in ("check", "build", "train", "plan"):
        assert main([verb, str(RECIPE), "data.repositories=[.]"]) == 2
        assert "model.path=bigcode/starcoder2-15b: neither a folder nor a model in the local cache" in capsys.readouterr().err
    assert not below(tmp_path)
