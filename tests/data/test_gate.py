"""No question twice, no answer twice, and everything that was tried is counted."""

from __future__ import annotations

from finetune.data.gate import Gate
from finetune.records import FimSample, InstructSample, Origin

ORIGIN = Origin("project", "c0ffee", "a.py")
ANSWER = "def area(width, height):\n    return width * height\n"


def sample(instruction: str = "Write it", context: str = "", answer: str = ANSWER) -> InstructSample:
    return InstructSample(ORIGIN, instruction, context, answer)


def test_a_question_or_an_answer_comes_once_whatever_its_white_space() -> None:
    gate = Gate()
    found = [
        gate.admit("commits", each)
        for each in (
            sample(),
            sample("Write  it\n", answer="x = 1\n" * 9),
            sample("Do it", answer=ANSWER.replace("    ", "\t")),
            sample(context="x", answer="y = 1\n" * 9),
            sample("Explain", answer="Yes."),
            sample("Explain more", answer="Yes."),
        )
    ]
    assert found == [None, "same_question", "same_answer", None, None, None]
    tally = gate.tallies["commits"]
    assert (tally.read, tally.kept, dict(tally.dropped), tally.lost) == (6, 4, {"same_question": 1, "same_answer": 1}, 0)
    assert [(each.reason, each.detail) for each in tally.decisions] == [("same_question", "Write  it"), ("same_answer", "Do it")]


def test_an_answer_of_24_characters_is_one_of_its_own_a_shorter_one_is_not() -> None:
    gate = Gate()
    short, long = "a b " * 11 + "c", "a b " * 12
    found = [gate.admit("a", sample(f"{number}", answer=answer)) for number, answer in enumerate((short, short, long, long))]
    assert found == [None, None, None, "same_answer"]


def test_what_is_left_out_leaves_no_trace() -> None:
    gate = Gate()
    assert gate.admit("a", sample()) is None
    assert gate.admit("a", sample("Other", answer=ANSWER)) == "same_answer"
    assert gate.admit("a", sample("Other", answer="something else that is long")) is None


def test_what_was_said_before_is_a_part_of_the_question() -> None:
    gate = Gate()
    first = InstructSample(ORIGIN, "And then?", "", "Then it ends there.", earlier=(("What now?", "It begins."),))
    other = InstructSample(ORIGIN, "And then?", "", "Then it goes on and on.", earlier=(("What else?", "It begins."),))
    assert [gate.admit("a", each) for each in (first, other, first)] == [None, None, "same_question"]


def test_holes_pass_uncounted() -> None:
    gate = Gate()
    hole = FimSample(ORIGIN, "a", "b", "c", "psm")
    assert gate.admit("fim", hole) is gate.admit("fim", hole) is None
    assert not gate.tallies
