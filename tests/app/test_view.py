from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.view import Question, differences, notice, open_hole, panels, waiting
from finetune.records import Answer, FimPrompt, InstructPrompt, TextPrompt

PLAIN = Question(TextPrompt("x = "))


def answer(text: str, arm: str = "base", *, stopped: bool = True, finished: bool = True, tokens: int = 4) -> Answer:
    return Answer(arm, text, tokens, 0.5, stopped=stopped, finished=finished)


@given(st.text(alphabet="ab \n\t(", max_size=40), st.text(alphabet="ab \n\t(", max_size=40))
def test_the_pieces_join_to_the_text(text: str, other: str) -> None:
    assert "".join(piece for piece, _ in differences(text, other)) == text


@given(st.text(max_size=40))
def test_equal_texts_have_no_differences(text: str) -> None:
    assert not any(new for _, new in differences(text, text))


def test_only_the_changed_word_differs() -> None:
    assert differences("return a + b", "return c + b") == [("return ", False), ("a", True), (" + b", False)]


def test_nothing_is_marked_while_answers_are_written() -> None:
    both = [answer("a", finished=False), answer("b", "tuned", finished=False)]
    assert "<mark>" not in panels(both, PLAIN, state="running", first_s=None)
    assert "<mark>b</mark>" in panels(both, PLAIN, state="cut", first_s=None)


def test_every_further_adapter_is_compared_with_the_base() -> None:
    three = [answer("a"), answer("a", "tuned"), answer("b", "other")]
    html = panels(three, PLAIN, state="ended", first_s=None)
    assert html.count("<mark>") == 1 and "<mark>b</mark>" in html


def test_one_arm_alone_has_nothing_to_differ_from() -> None:
    assert "<mark>" not in panels([answer("a")], PLAIN, state="ended", first_s=None)


@pytest.mark.parametrize(
    ("given", "state", "ending"),
    [
        (answer("x", stopped=True), "ended", "stopped by itself"),
        (answer("x", stopped=False), "ended", "ran into the limit"),
        (answer("x", finished=False), "cut", "cut off by you"),
        (answer("x", finished=False), "running", "still writing"),
        (answer("x", stopped=True), "cut", "stopped by itself"),
    ],
)
def test_how_an_answer_ended_is_said(given: Answer, state: str, ending: str) -> None:
    assert ending in panels([given], PLAIN, state=state, first_s=None)  # type: ignore[arg-type]


def test_no_speed_is_given_where_none_can_be_known() -> None:
    assert "tokens/s" not in panels([Answer("base", "", 0, 0.0, stopped=False, finished=False)], PLAIN, state="running", first_s=None)


def test_an_empty_answer_is_said_to_be_empty() -> None:
    assert "(nothing)" in panels([answer("", tokens=0)], PLAIN, state="ended", first_s=None)


def test_the_nearest_lines_stand_around_an_answer() -> None:
    question = Question(FimPrompt("\n".join(f"before {n}" for n in range(9)) + "\n", "\n" + "\n".join(f"after {n}" for n in range(9))))
    html = panels([answer("x")], question, state="ended", first_s=None)
    assert "before 5\n" in html and "before 4" not in html
    assert "after 2" in html and "after 3" not in html


def test_a_hole_does_not_show_its_truth() -> None:
    html = open_hole(Question(FimPrompt("a\n", "\nd"), truth="b\nc", name="f.py"))
    assert "2 lines to fill in" in html and "b" not in html.split("<pre")[1].split(">", 1)[1].replace("2 lines to fill in", "").replace(
        "</pre>", ""
    )


def test_everything_from_outside_is_escaped() -> None:
    evil = "<i>&\"'"
    question = Question(FimPrompt(evil, evil), truth=evil, name=evil)
    pages = [panels([answer(evil, evil)], question, state="ended", first_s=None), waiting([evil]), notice(evil), open_hole(question)]
    pages.append(panels([answer("")], Question(InstructPrompt(evil, evil)), state="running", first_s=0.1))
    assert all("<i>" not in page for page in pages)
