"""What the buttons do: answers stream into the page, stop, come again, and are voted on."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple, cast

import gradio as gr

from app import view
from app.pending import Pending
from app.record import Question, Record, Session
from app.settings import FIELDS, Settings, settings_of
from app.votes import NEITHER, TIE, Ballots
from finetune.errors import FinetuneError
from finetune.records import Answer, Completer

CHOICES = ("A is better", "B is better", "Equally good", "Both bad")
_COUNTED = "Your vote counts. Now you see who is who."
_COUNTED_BEFORE = "This question with these answers has a vote already, which counts; yours is not added. Now you see who is who."
_LOADING = "The model is still being loaded; the answers begin by themselves."
_SAME = "Both say the same: nothing to choose."


class Shown(NamedTuple):
    """What changes on the page; in the order of the outputs."""

    answers: str
    stop: gr.Button
    again: gr.Button
    votes: gr.Row
    told: str


@dataclass(frozen=True, slots=True)
class Desk:
    """What the buttons work with: one for all readers; what is a reader's own lies in the session."""

    completer: Completer
    ballots: Ballots | None
    lot: random.Random

    def worker(self, question: Callable[..., Question]) -> Callable[..., Iterator[Shown]]:
        """Answers the question that stands on the page."""

        def work(session: Session, *values: object) -> Iterator[Shown]:
            yield from self._guarded(session, lambda: question(*values[FIELDS:]), values[:FIELDS])

        return work

    def again(self, session: Session, *values: object) -> Iterator[Shown]:
        """Answers the last question once more, with the next seed."""
        last = session.records[-1]
        seed = last.sampling.seed + 1
        yield from self._guarded(session, lambda: last.question, (*values[:3], seed, *values[4:]))

    def stop(self, session: Session) -> None:
        """The work of this reader ends after the present token."""
        session.stopped = True

    def look(self, session: Session, look: view.Look) -> object:
        """The last answers, shown in another way."""
        return view.panels(session.records[-1], look) if session.records else gr.skip()

    def voter(self, button: int) -> Callable[[Session, view.Look], Shown]:
        """Keeps the vote that a button stands for."""

        def vote(session: Session, look: view.Look) -> Shown:
            record = session.records[-1]
            if not record.open_to_vote or self.ballots is None:
                return _settled(record, look)
            choice = (*(answer.arm for answer in record.answers), TIE, NEITHER)[button]
            record = replace(record, choice=choice)
            try:
                record = replace(record, counted=self.ballots.cast(record))
            except OSError as error:
                return _refused(
                    FinetuneError(f"the vote is not kept: {error.strerror}; make room and rights for it, and vote again"), record
                )
            session.records[-1] = record
            return _settled(record, look)

        return vote

    @property
    def _loading(self) -> bool:
        return isinstance(self.completer, Pending) and self.completer.loading

    def _guarded(self, session: Session, question: Callable[[], Question], values: Sequence[object]) -> Iterator[Shown]:
        session.stopped = False
        try:
            yield from self._answers(session, question(), settings_of(values, self.completer.arms))
        except FinetuneError as error:
            yield _refused(error)

    def _answers(self, session: Session, question: Question, settings: Settings) -> Iterator[Shown]:
        """The panels after each token, and once more when all have ended or the reader has had enough."""
        arms = self.lot.sample([*settings.arms], 2) if settings.blind else settings.arms
        answers: Sequence[Answer] = [Answer(arm, "", 0, 0.0, stopped=False, finished=False) for arm in arms]
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        record = Record(question, settings.sampling, answers, "running", at, settings.blind)
        yield _running(record, settings.look, loading=self._loading)
        with closing(cast("Generator[Sequence[Answer]]", self.completer.stream(question.prompt, settings.sampling, arms=arms))) as stream:
            for answers in stream:
                record = replace(record, answers=answers)
                if session.stopped:
                    break
                yield _running(record, settings.look, loading=self._loading)
        record = replace(record, state="cut" if session.stopped and not all(a.finished for a in record.answers) else "ended")
        session.records.append(record)
        yield _settled(record, settings.look)


def _running(record: Record, look: view.Look, *, loading: bool) -> Shown:
    told = view.said(_LOADING) if loading else ""
    return Shown(view.panels(record, look), gr.Button(interactive=True), gr.Button(interactive=False), gr.Row(visible=False), told)


def _settled(record: Record, look: view.Look) -> Shown:
    told = _told(record)
    return Shown(
        view.panels(record, look),
        gr.Button(interactive=False),
        gr.Button(interactive=True),
        gr.Row(visible=record.open_to_vote),
        view.said(told) if told else "",
    )


def _refused(error: FinetuneError, record: Record | None = None) -> Shown:
    """The message where the answers were; with a record its vote may be given again."""
    voting = gr.Row(visible=record is not None)
    return Shown(view.notice(str(error)), gr.Button(interactive=False), gr.Button(interactive=record is not None), voting, "")


def _told(record: Record) -> str:
    if not record.blind:
        return ""
    if record.choice is not None:
        return _COUNTED if record.counted else _COUNTED_BEFORE
    if record.same:
        return _SAME
    return "Half an answer can not be voted on; ask again." if record.state == "cut" else ""
