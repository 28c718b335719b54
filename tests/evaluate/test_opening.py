"""Several runs in one completer: one base, an arm for each."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from finetune.errors import ModelError
from finetune.generate import open_completer
from finetune.records import Sampling, TextPrompt


def test_two_runs_of_one_base_are_two_arms_beside_it(trained_run: Any) -> None:
    runs = [trained_run("shop.v1"), trained_run("shop.v2")]
    completer = open_completer(runs)
    assert list(completer.arms) == ["base", "shop.v1", "shop.v2"]
    (answers,) = completer.complete([TextPrompt("def f")], Sampling(max_new_tokens=8))
    assert [answer.arm for answer in answers] == ["base", "shop.v1", "shop.v2"]
    assert answers[1].text == answers[2].text, "both runs hold the same adapter"


def test_runs_of_two_bases_are_refused(trained_run: Any, tiny_base: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_base, other)
    config = (other / "config.json").read_text()
    (other / "config.json").write_text(config.replace('"sliding_window": 256', '"sliding_window": 128'))
    with pytest.raises(ModelError, match="one base at a time"):
        open_completer([trained_run("one"), trained_run("two", model={"path": str(other)})])


def test_runs_that_load_the_base_in_two_ways_are_refused(trained_run: Any, tiny_base: Path) -> None:
    with pytest.raises(ModelError, match="nf4.*one model section at a time"):
        open_completer([trained_run("one"), trained_run("two", model={"path": str(tiny_base), "quantization": "nf4"})])


def test_a_run_called_base_or_two_of_one_name_are_refused(trained_run: Any) -> None:
    with pytest.raises(ModelError, match="'base' is taken"):
        open_completer([trained_run("base")])
    run = trained_run("one")
    with pytest.raises(ModelError, match="'one' is taken"):
        open_completer([run, run])


def test_a_run_that_is_not_trained_is_refused(trained_run: Any) -> None:
    run = trained_run()
    run.manifest.unlink()
    with pytest.raises(ModelError, match="type: finetune train"):
        open_completer([run])


def test_an_adapter_of_another_base_is_refused(trained_run: Any, tiny_base: Path, tmp_path: Path) -> None:
    run = trained_run()
    base = run.adapter / "base.json"
    base.write_text(base.read_text().replace('"digest": "', '"digest": "0'))
    with pytest.raises(ModelError, match="was trained on"):
        open_completer([run])
