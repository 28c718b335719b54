"""Samples for reading."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from finetune.data.build import build
from finetune.data.show import abridged, show
from finetune.errors import DataError
from finetune.recipe import Recipe, parse_recipe
from finetune.run import open_run


@pytest.fixture
def recipe(make_repository, byte_base: Path, tmp_path: Path) -> Recipe:
    files = {f"a{number}.py": f"# café {number}\r\nx = '\x1b[31m'\n" + "year = years\n" * 20 for number in range(12)}
    repository = make_repository([("Add it", files)])
    data = {
        "repositories": [str(repository)],
        "row_length": 512,
        "valid_share": 0.3,
        "learn": "answer",
        "miners": [{"kind": "fim", "rate": 1}],
    }
    return parse_recipe(json.dumps({"name": "shown", "runs": str(tmp_path / "runs"), "model": {"path": str(byte_base)}, "data": data}))


def shown(recipe: Recipe, n: int) -> str:
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(show(open_run(recipe), n))
    return capture.get()


def test_learnt_tokens_are_marked_without_colour(recipe: Recipe) -> None:
    build(recipe)
    text = shown(recipe, 2)
    for title in ("train sample 1:", "train sample 2:", "valid sample 1:", "valid sample 2:"):
        assert title in text
    assert "sample 3" not in text
    assert text.count("<|endoftext|>⟧") == 4
    for sample in text.split("── ")[1:]:
        before, _, learnt = sample.partition("⟦")
        assert "<fim_middle>" in before and "<fim_prefix>" in before
        assert "<fim_" not in learnt
    assert "café" in text


def test_control_characters_never_reach_the_terminal(recipe: Recipe) -> None:
    build(recipe)
    text = shown(recipe, 3)
    assert "␛[31m" in text and "␍" in text
    assert not {"\x1b", "\r"} & set(text)


def test_a_run_without_data_says_what_to_type(recipe: Recipe) -> None:
    with pytest.raises(DataError, match="type: finetune build"):
        show(open_run(recipe), 1)


def test_long_texts_show_their_ends() -> None:
    lines = [f"line {number}" for number in range(100)]
    assert abridged("\n".join(lines)).splitlines() == [*lines[:8], "    … 84 lines …", *lines[-8:]]
    assert abridged("a\nb") == "a\nb"
