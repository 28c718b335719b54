"""A page that is there before its model."""

from __future__ import annotations

import random
import threading

from fake_completer import FakeCompleter

from app.answering import Desk
from app.pending import Pending
from app.record import Question, Session
from app.view import LOOKS
from finetune.records import Sampling, TextPrompt

ASKED = TextPrompt("def f():")


def test_answers_are_empty_until_the_model_is_there_and_then_its_own() -> None:
    completer = FakeCompleter()
    pending = Pending(completer.arms)
    stream = pending.stream(ASKED, Sampling())
    first = next(stream)
    assert pending.loading
    assert [(answer.arm, answer.text, answer.finished) for answer in first] == [(arm, "", False) for arm in completer.arms]
    pending.give(completer)
    (*_, last) = stream
    assert not pending.loading
    assert [answer.text for answer in last] == [answer.text for answer in completer.complete([ASKED], Sampling())[0]]


def test_who_asks_before_is_told_that_the_model_is_being_loaded() -> None:
    completer = FakeCompleter()
    pending = Pending(completer.arms)
    desk = Desk(pending, None, random.Random(0))
    fields = (64, 0.0, 1.0, 0, [*completer.arms], False, LOOKS[0])
    shown = desk.worker(lambda: Question(ASKED))(Session(), *fields)
    assert "still being loaded" in next(shown).told  # type: ignore[call-overload]
    pending.give(completer)
    later = [each.told for each in shown]  # type: ignore[attr-defined]
    assert later[-1] == "" and "still being loaded" not in later[-2]


def test_the_sides_of_a_blind_question_are_drawn_by_lot_and_those_of_an_open_one_stand() -> None:
    completer = FakeCompleter()
    fields = (64, 0.0, 1.0, 0, [*completer.arms])
    for blind, orders in ((True, {("base", "tuned"), ("tuned", "base")}), (False, {("base", "tuned")})):
        completer.answering.clear()
        for seed in range(8):
            worker = Desk(completer, None, random.Random(seed)).worker(lambda: Question(ASKED))
            assert [*worker(Session(), *fields, blind, LOOKS[0])]
        assert {(*arms,) for arms in completer.answering} == orders


def test_one_who_waits_can_stop() -> None:
    stream = Pending(["base", "tuned"]).stream(ASKED, Sampling(), arms=["tuned"])
    assert [answer.arm for answer in next(stream)] == ["tuned"]
    stream.close()  # type: ignore[attr-defined]
    assert list(stream) == []


def test_finished_answers_wait_for_the_model() -> None:
    completer = FakeCompleter()
    pending = Pending(completer.arms)
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.extend(pending.complete([ASKED], Sampling())))
    thread.start()
    assert found == []
    pending.give(completer)
    thread.join()
    assert found == completer.complete([ASKED], Sampling())
