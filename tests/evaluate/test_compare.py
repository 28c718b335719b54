"""Both answers side by side, readable without colour."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console, RenderableType

from finetune.compare import compare, marked
from finetune.errors import EvaluateError
from finetune.records import FimPrompt, TextPrompt
from finetune.run import Run


def plain(what: RenderableType) -> str:
    console = Console(width=120, no_color=True)
    with console.capture() as captured:
        console.print(what)
    return captured.get()


def test_held_out_holes_are_shown_with_both_answers_and_the_truth(trained_run: Any) -> None:
    run: Run = trained_run()
    text = plain(compare(run, n=4))
    assert text.count("the true text:") == 4
    assert [text.count(f".py, {kind}") for kind in ("line", "span", "block")] == [2, 1, 1]
    assert "base: " in text and "shop: " in text
    assert "[-" in text or "{+" in text


def test_a_prompt_of_ones_own_is_answered_by_both(trained_run: Any) -> None:
    run: Run = trained_run()
    text = plain(compare(run, prompt=FimPrompt("def f():\n    return ", "\n# the end")))
    assert "def f():" in text and "# the end" in text and "tokens" in text
    assert "the true text" not in text
    assert "def g" in plain(compare(run, prompt=TextPrompt("def g")))


def test_the_marks_say_what_is_missing_and_what_is_too_much() -> None:
    assert marked("return a", "return a").plain == "return a"
    assert marked("return b + c", "return a + c").plain == "return [-a-]{+b+} + c"
    assert marked("x", "x = 1").plain == "x[- = 1-]"
    assert marked("", "x").plain == "[-x-]"


def test_code_that_looks_like_markup_is_shown_as_it_is(trained_run: Any) -> None:
    assert "[bold]x[/bold]" in plain(compare(trained_run(), prompt=TextPrompt("[bold]x[/bold]")))


def test_nothing_to_show_is_refused(trained_run: Any) -> None:
    with pytest.raises(EvaluateError, match="write how many holes"):
        compare(trained_run(), n=0)
