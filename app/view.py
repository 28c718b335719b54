"""What the page shows of answers, as escaped HTML: nothing that a model or a user wrote becomes markup."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from html import escape
from typing import Literal

from app import chances
from app.record import Question, Record
from finetune.records import Answer, ContextPrompt, FimPrompt, InstructPrompt, Prompt, TextPrompt
from finetune.tasks import within_hole

CONTEXT_LINES = 4  # lines of the prompt shown around an answer, to read it in its place
_PIECE = re.compile(r"\w+|\s+|[^\w\s]")

Look = Literal["Differences", "Probabilities"]
LOOKS: tuple[Look, ...] = ("Differences", "Probabilities")
_SHARED = "One model in memory writes all answers in one batch, so they share their time."
_MARKED = "<mark>Marked</mark> is what the other side does not say."
_TRUTH = "<mark>Marked</mark> is not in the true text; <del>struck out</del> is in the true text and missing here."
_BEYOND = "The model does not see where the hole ends: what it writes after as many lines as the true text has is paler and not compared."


def heading(title: str) -> str:
    """The head of the page; `title` names the runs."""
    return f'<div class="head"><h1>octotune <span>playground</span></h1><p>{escape(title)}</p></div>'


def notice(message: str) -> str:
    """One message to the reader, read out by a screen reader at once."""
    return f'<p class="notice" role="alert">{escape(message)}</p>'


def said(message: str) -> str:
    """A quiet message, read out when the reader pauses."""
    return f'<p class="told" role="status">{escape(message)}</p>'


def waiting(arms: Sequence[str]) -> str:
    """Empty panels, before the first question."""
    return _grid([_panel(arm, '<span class="quiet">The answer comes here.</span>', facts="&nbsp;") for arm in arms])


def panels(record: Record, look: Look = "Differences") -> str:
    """One panel for each answer, in its place in the text, and the legend of what is marked.

    What differs from the other side, or from the true text, is marked once all have ended: half-said answers differ by being half said.
    """
    shown = [_answer_panel(answer, record, look) for answer in record.answers]
    question = record.question
    if question.truth is not None:
        shown.append(_panel("what really stands there", _around(escape(question.truth), question.prompt), facts="from the held-out file"))
    return _grid(shown) + f'<p class="legend">{_legend(record, look)}</p>'


def open_hole(question: Question) -> str:
    """A question whose truth is known, with the text around its hole and the truth left out."""
    lines = len((question.truth or "").splitlines()) or 1
    return _grid([_panel(question.name, _around(f'<span class="gap">{plural(lines, "line")} to fill in</span>', question.prompt))])


def differences(text: str, other: str) -> list[tuple[str, bool]]:
    """The pieces of `text` in order, each with whether it has no counterpart in `other`. The pieces join to the text."""
    return [(piece, new) for piece, new, _ in _compared(text, other) if piece]


def plural(count: int, noun: str) -> str:
    """A count and its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _compared(text: str, other: str) -> list[tuple[str, bool, str]]:
    """The pieces of `text`, whether each is new, and what `other` has in its place instead."""
    mine, theirs = _PIECE.findall(text), _PIECE.findall(other)
    codes = difflib.SequenceMatcher(None, mine, theirs, autojunk=False).get_opcodes()
    return [("".join(mine[a:b]), kind != "equal", "" if kind == "equal" else "".join(theirs[c:d])) for kind, a, b, c, d in codes]


def _grid(cells: Sequence[str]) -> str:
    return f'<div class="answers">{"".join(cells)}</div>'


def _panel(name: str, body: str, *, facts: str = "", more: str = "", note: str = "") -> str:
    """`body`, `facts`, `more` and `note` are HTML already."""
    label = escape(name)
    foot = f'<p class="facts">{facts}</p>' if facts else ""
    text = f'<pre tabindex="0" role="region" aria-label="{label}: text">{body}</pre>'
    return f'<section class="panel" aria-label="{label}"><h2>{label}{note}</h2>{text}{more}{foot}</section>'


def _answer_panel(answer: Answer, record: Record, look: Look) -> str:
    label = record.label(answer)
    sure = look == "Probabilities" and record.state != "running" and bool(answer.said)
    note = ' <span class="badge">your choice</span>' if record.choice == answer.arm else ""
    more = chances.table(answer, label) if sure else ""
    body = _around(_body(answer, record, sure=sure), record.question.prompt)
    return _panel(label, body, facts=_facts(answer, record), more=more, note=note)


def _body(answer: Answer, record: Record, *, sure: bool) -> str:
    if record.state == "running":
        caret = "" if answer.finished else '<span class="caret" aria-hidden="true">▍</span>'
        return f'<span class="said">{escape(answer.text)}</span>{caret}'
    if not answer.text and not record.question.truth:
        return '<span class="said"></span><span class="quiet">(nothing)</span>'
    return f'<span class="said">{chances.tokens(answer) if sure else _marked(answer, record)}</span>'


def _marked(answer: Answer, record: Record) -> str:
    """The answer against the true text where it is known, else against the other side; of many, against the first."""
    truth, answers = record.question.truth, record.answers
    other = answers[0] if answer is not answers[0] else answers[min(1, len(answers) - 1)]
    parts, text = [], _in_hole(answer, record.question)
    for piece, new, instead in _compared(text, other.text if truth is None else truth):
        parts.append(f"<mark>{escape(piece)}</mark>" if new and piece else escape(piece))
        parts.append(f"<del>{escape(instead)}</del>" if truth is not None and instead else "")
    beyond = answer.text[len(text) :]
    return "".join(parts) + (f'<span class="context">{escape(beyond)}</span>' if beyond else "")


def _in_hole(answer: Answer, question: Question) -> str:
    """What of the answer stands in the place of the true text: all of it, but of a model that only writes to the right."""
    to_the_right = question.truth is not None and isinstance(question.prompt, TextPrompt)
    return within_hole(answer.text, question.truth or "") if to_the_right else answer.text


def _legend(record: Record, look: Look) -> str:
    if look == "Probabilities" and chances.has_chances(record.answers):
        return f"{chances.LEGEND} {_SHARED}"
    if record.question.truth is None:
        return f"{_MARKED} {_SHARED}"
    return f"{_TRUTH} {_BEYOND if isinstance(record.question.prompt, TextPrompt) else ''} {_SHARED}"


def _around(middle: str, prompt: Prompt) -> str:
    """`middle` (HTML) between the last lines before it and the first lines after it."""
    before, after = sides(prompt)
    head = "".join(before.splitlines(keepends=True)[-CONTEXT_LINES:]).lstrip("\n")
    tail = "".join(after.splitlines(keepends=True)[:CONTEXT_LINES]).rstrip("\n")
    return f'<span class="context">{escape(head)}</span>{middle}<span class="context">{escape(tail)}</span>'


def sides(prompt: Prompt) -> tuple[str, str]:
    """The text right before the answer and right after it."""
    match prompt:
        case FimPrompt(prefix, suffix):
            return prefix, suffix
        case ContextPrompt(sample):
            return sample.parts[-1].prefix, sample.parts[-1].suffix
        case TextPrompt(text):
            return text, ""
        case InstructPrompt():
            return "", ""


def _facts(answer: Answer, record: Record) -> str:
    """How long, how fast, how it ended. A blind record keeps times back: they can tell an arm."""
    facts = [plural(answer.tokens, "token") + ("" if record.hidden else f" in {answer.seconds:.2f} s")]
    if not record.hidden:
        facts += [f"{answer.speed:.0f} tokens/s"] if answer.speed is not None else []
        facts += [f"first after {answer.first_s:.2f} s"] if answer.first_s is not None else []
    facts.append(_ending(answer, record))
    if record.sampling.temperature > 0:
        facts.append(f"seed {record.sampling.seed}")
    if record.question.truth is not None and answer.finished:
        facts.append("equal to the true text" if _in_hole(answer, record.question) == record.question.truth else "not the true text")
    return " · ".join(f"<span>{fact}</span>" for fact in facts)


def _ending(answer: Answer, record: Record) -> str:
    if answer.finished:
        return "stopped by itself" if answer.stopped else "ran into the limit"
    return "still writing" if record.state == "running" else "cut off by you"
