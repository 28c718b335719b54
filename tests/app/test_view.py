from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.record import Question, Record, State
from app.view import Look, differences, notice, open_hole, panels, waiting
from finetune.records import Answer, FimPrompt, InstructPrompt, Sampling, TextPrompt, Token

PLAIN = Question(TextPrompt("x = "))


def shown(answers: Sequence[Answer], question: Question, *, state: State, look: Look = "Differences") -> str:
    return panels(Record(question, Sampling(), answers, state, "2026-01-02T03:04:05Z"), look)


def answer(text: str, arm: str = "base", *, stopped: bool = True, finished: bool = True, tokens: int = 4) -> Answer:
    return Answer(arm, text, tokens, 0.5, stopped=stopped, finished=finished)


def marks(html: str) -> list[str]:
    """What is marked in the panels, not in the legend under them."""
    return re.findall("<mark>(.*?)</mark>", html.split('<p class="legend">', maxsplit=1)[0])


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
    assert "<mark>b" not in shown(both, PLAIN, state="running")
    assert "<mark>b</mark>" in shown(both, PLAIN, state="cut")


def test_every_further_adapter_is_compared_with_the_base() -> None:
    three = [answer("a"), answer("a", "tuned"), answer("b", "other")]
    html = shown(three, PLAIN, state="ended")
    assert marks(html) == ["b"]


def test_one_arm_alone_has_nothing_to_differ_from() -> None:
    assert marks(shown([answer("a")], PLAIN, state="ended")) == []


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
def test_how_an_answer_ended_is_said(given: Answer, state: State, ending: str) -> None:
    assert ending in shown([given], PLAIN, state=state)


def test_no_speed_is_given_where_none_can_be_known() -> None:
    assert "tokens/s" not in shown([Answer("base", "", 0, 0.0, stopped=False, finished=False)], PLAIN, state="running")


def test_a_blind_record_tells_neither_arms_nor_times_before_the_vote() -> None:
    answers = [Answer(arm, text, 4, 0.5, stopped=True, finished=True, first_s=0.1) for arm, text in (("tuned", "x"), ("base", "y"))]
    hidden = Record(PLAIN, Sampling(), answers, "ended", "2026-01-02T03:04:05Z", blind=True)
    told = ("tuned", "base", "0.50 s", "0.10 s", "tokens/s")
    assert not [word for word in told if word in panels(hidden, "Differences")]
    assert not [word for word in told if word not in panels(replace(hidden, choice="tuned"), "Differences")]


def test_an_empty_answer_is_said_to_be_empty() -> None:
    assert "(nothing)" in shown([answer("", tokens=0)], PLAIN, state="ended")


def test_the_nearest_lines_stand_around_an_answer() -> None:
    question = Question(FimPrompt("\n".join(f"before {n}" for n in range(9)) + "\n", "\n" + "\n".join(f"after {n}" for n in range(9))))
    html = shown([answer("x")], question, state="ended")
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
    pages = [shown([answer(evil, evil)], question, state="ended"), waiting([evil]), notice(evil), open_hole(question)]
    pages.append(shown([answer("")], Question(InstructPrompt(evil, evil)), state="running"))
    assert all("<i>" not in page for page in pages)


def test_with_a_known_truth_the_answer_is_marked_against_it() -> None:
    question = Question(FimPrompt("a = ", "\n"), truth="one + two", name="f.py")
    html = shown([answer("one + 2"), answer("one", "tuned")], question, state="ended")
    assert "one + <mark>2</mark><del>two</del>" in html
    assert "one<del> + two</del>" in html
    assert "struck out" in html.split('<p class="legend">')[1]


def test_what_is_written_past_the_hole_is_not_compared() -> None:
    """A model that only writes to the right does not know where the hole ends; evaluation reads it as far as well."""
    question = Question(TextPrompt("a = "), truth="one\ntwo", name="f.py")
    html = shown([answer("one\n2\nthree"), answer("one\ntwo\nthree", "tuned")], question, state="ended")
    assert marks(html) == ["2"] and html.count('<span class="context">\nthree</span>') == 2
    assert html.count("equal to the true text") == 1 and "paler and not compared" in html
    gap = Question(FimPrompt("a = ", "\n"), truth="one\ntwo", name="f.py")
    assert marks(shown([answer("one\ntwo three")], gap, state="ended")) == [" three"]


SURE, DOUBTFUL = Token("\n  x", 0.95, [("\n  x", 0.95)]), Token("<b>", 0.1234, [("y", 0.4), ("<b>", 0.1234)])
STOP = Token("<|endoftext|>", 0.5, [("<|endoftext|>", 0.5)], stop=True)


def test_chances_stand_as_numbers_beside_their_tokens_and_in_a_table() -> None:
    given = replace(answer("\n  x<b>"), said=(SURE, DOUBTFUL, STOP))
    html = shown([given], PLAIN, state="ended", look="Probabilities")
    body, table = html.split("<details")
    assert 'class="token sure" title' in body and "data-chance" in body and 'data-chance="12%"' in body
    assert "endoftext" not in body, "a stop token is no part of the answer"
    for cell in ("95.0 %", "12.3 %", "&lt;|endoftext|&gt; (stop)", "↵␣␣x", "y</code> 40.0 %"):
        assert cell in table
    assert "<b>" not in html and "below 30 %" in html.split('<p class="legend">')[1]


def test_while_an_answer_grows_no_chances_are_shown() -> None:
    given = replace(answer("x", finished=False), said=(SURE,))
    assert "<details" not in shown([given], PLAIN, state="running", look="Probabilities")
