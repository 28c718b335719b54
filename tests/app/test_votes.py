"""Blind votes on disk: once a record, whole lines, told apart by training."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from app.pages import results
from app.record import Question, Record, export_lines
from app.votes import FILE, Ballots, tallies
from finetune.errors import EvaluateError
from finetune.records import Answer, FimPrompt, Sampling
from finetune.statistics import share_of


def record(choice: str | None, text: str = "b = 2", *, arms: tuple[str, str] = ("base", "tuned"), prefix: str = "a\n") -> Record:
    answers = [Answer(arm, f"{text} {arm}", 3, 0.5, stopped=True, finished=True) for arm in arms]
    question = Question(FimPrompt(prefix, "\n"), truth="b = 2", name="src/a.py: a line")
    return Record(question, Sampling(), answers, "ended", "2026-01-02T03:04:05Z", blind=True, choice=choice)


@pytest.fixture
def ballots(tmp_path: Path) -> Ballots:
    return Ballots({"tuned": tmp_path}, {"tuned": "first training"})


def test_a_vote_counts_once_across_sides_sessions_and_restarts(ballots: Ballots, tmp_path: Path) -> None:
    assert ballots.cast(record("tuned"))
    assert not ballots.cast(record("base", arms=("tuned", "base"))), "the other way round, it is the same record"
    again = Ballots({"tuned": tmp_path}, {"tuned": "first training"})
    assert not again.cast(record("base"))
    assert again.cast(record("base", "another answer"))
    assert again.cast(record("base", prefix="another question\n"))
    votes, stale = again.votes()
    assert [vote.choice for vote in votes] == ["tuned", "base", "base"] and stale == 0


def test_of_many_who_vote_at_once_one_counts_and_no_line_is_torn(ballots: Ballots, tmp_path: Path) -> None:
    counted: list[bool] = []

    def vote(number: int) -> None:
        counted.append(ballots.cast(record("tuned", f"text {number // 4}")))

    threads = [threading.Thread(target=vote, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counted) == 6
    lines = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    assert len({line["id"] for line in lines}) == len(lines) == 6


def test_what_a_kill_left_of_a_line_is_cut_off(ballots: Ballots, tmp_path: Path) -> None:
    ballots.cast(record("tuned"))
    whole = (tmp_path / FILE).read_bytes()
    ballots.cast(record("base", "second"))
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[: len(whole) + 20])
    assert len(ballots.votes()[0]) == 1
    assert ballots.cast(record("base", "second"))
    assert [vote.choice for vote in ballots.votes()[0]] == ["tuned", "base"]


def test_a_line_that_is_no_vote_is_named(ballots: Ballots, tmp_path: Path) -> None:
    ballots.cast(record("tuned"))
    with (tmp_path / FILE).open("a") as file:
        file.write('{"id": 3}\n')
    with pytest.raises(EvaluateError, match=rf"{FILE}:2: no vote .* take the line out"):
        ballots.votes()


def test_votes_on_an_earlier_training_are_left_out_and_said(ballots: Ballots, tmp_path: Path) -> None:
    ballots.cast(record("tuned"))
    later = Ballots({"tuned": tmp_path}, {"tuned": "second training"})
    later.cast(record("base", "new"))
    votes, stale = later.votes()
    assert [vote.choice for vote in votes] == ["base"] and stale == 1
    assert "1 vote on an earlier training" in results(tallies(votes, ["base", "tuned"]), stale, later.places)


def test_a_vote_keeps_what_was_judged_byte_for_byte(ballots: Ballots, tmp_path: Path) -> None:
    ballots.cast(record("neither", "\ttab\r\n  \u2028 end ", prefix=" \r\n\tx"))
    line = json.loads((tmp_path / FILE).read_bytes().decode().split("\n")[0])
    assert line["prompt"] == {"kind": "fim", "prefix": " \r\n\tx", "suffix": "\n"}
    assert line["answers"]["base"] == "\ttab\r\n  \u2028 end  base"
    assert line["choice"] == "neither" and line["adapters"] == {"tuned": "first training"}


def test_two_adapters_share_one_file_whichever_side_they_stand_on(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    both = Ballots({"one": tmp_path / "one", "two": tmp_path / "two"}, {"one": "1", "two": "2"})
    assert both.cast(record("one", arms=("one", "two")))
    assert not both.cast(record("two", arms=("two", "one")))
    assert both.cast(record("base", arms=("base", "one")))
    found = tallies(both.votes()[0], ["base", "one", "two"])
    assert [(t.first, t.second, t.first_better, t.second_better) for t in found] == [("base", "one", 1, 0), ("one", "two", 1, 0)]


def test_ties_are_stated_and_left_out_of_the_rate(ballots: Ballots) -> None:
    for number, choice in enumerate(["tuned"] * 9 + ["base"] + ["tie"] * 3 + ["neither"]):
        ballots.cast(record(choice, str(number)))
    (tally,) = tallies(ballots.votes()[0], ["base", "tuned"])
    assert (tally.first_better, tally.second_better, tally.ties, tally.neither) == (1, 9, 3, 1)
    assert tally.rate == share_of(9, 10)
    html = results([tally], 0, [])
    assert "90%" in html and "(60% to 98%)" in html and "10 decided votes" in html and '<em class="verdict">better' in html
    assert "<b>3</b> equally good" in html and "<b>1</b> both bad" in html and "14 votes" in html


def test_ties_alone_give_no_rate(ballots: Ballots) -> None:
    ballots.cast(record("tie"))
    assert "No win rate" in results(tallies(ballots.votes()[0], ["base", "tuned"]), 0, [])


def test_an_export_keeps_back_who_is_who_until_the_vote() -> None:
    hidden, shown = (json.loads(line) for line in export_lines([record(None), record("tuned")]).splitlines())
    assert [answer["arm"] for answer in hidden["answers"]] == ["A", "B"] and hidden["id"] is None
    assert "seconds" not in hidden["answers"][0]
    assert [answer["arm"] for answer in shown["answers"]] == ["base", "tuned"] and shown["choice"] == "tuned"


@pytest.mark.parametrize(("hits", "n", "low", "high"), [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)])
def test_the_interval_of_a_share_is_that_of_the_textbook(hits: int, n: int, low: float, high: float) -> None:
    """81 of 263: Newcombe 1998, Statistics in Medicine 17, table I, method 3."""
    found = share_of(hits, n)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))
