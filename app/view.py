"""What the page shows of answers, as escaped HTML: nothing that a model or a user wrote becomes markup."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from finetune.records import Answer, FimPrompt, InstructPrompt, Prompt, TextPrompt

CONTEXT_LINES = 4  # lines of the prompt shown around an answer, to read it in its place
_PIECE = re.compile(r"\w+|\s+|[^\w\s]")

LEGEND = (
    '<p class="legend"><mark>Marked</mark> is what the other side does not say. '
    "One model in memory writes all answers side by side, so they share their time.</p>"
)

State = Literal["running", "ended", "cut"]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of every arm; `truth` is the text that really stands there, where it is known, and `name` says where."""

    prompt: Prompt
    truth: str | None = None
    name: str = ""


def heading(title: str) -> str:
    """The head of the page; `title` names the runs."""
    return f'<div class="head"><h1>octotune <span>playground</span></h1><p>{escape(title)}</p></div>'


def notice(message: str) -> str:
    """One message to the reader, read out by a screen reader at once."""
    return f'<p class="notice" role="alert">{escape(message)}</p>'


def waiting(arms: Sequence[str]) -> str:
    """Empty panels, before the first question."""
    return _grid([_panel(arm, '<span class="quiet">The answer comes here.</span>', facts="&nbsp;") for arm in arms])


def panels(answers: Sequence[Answer], question: Question, *, state: State, first_s: float | None) -> str:
    """One panel for each answer, in its place in the text; `first_s` is the time until the first token, in seconds.

    What differs from the other side is marked once all have ended: half-said answers differ by being half said.
    """
    shown = [
        _panel(answer.arm, _in_place(answer, answers, question, state), facts=_facts(answer, question, state, first_s))
        for answer in answers
    ]
    if question.truth is not None:
        shown.append(_panel("what really stands there", _around(escape(question.truth), question.prompt), facts="from the held-out file"))
    return _grid(shown)


def open_hole(question: Question) -> str:
    """A question whose truth is known, with the text around its hole and the truth left out."""
    lines = len((question.truth or "").splitlines()) or 1
    return _grid([_panel(question.name, _around(f'<span class="gap">{_plural(lines, "line")} to fill in</span>', question.prompt))])


def differences(text: str, other: str) -> list[tuple[str, bool]]:
    """The pieces of `text` in order, each with whether it has no counterpart in `other`. The pieces join to the text."""
    mine, theirs = _PIECE.findall(text), _PIECE.findall(other)
    matcher = difflib.SequenceMatcher(None, mine, theirs, autojunk=False)
    pieces: list[tuple[str, bool]] = []
    for operation, start, end, _, _ in matcher.get_opcodes():
        if start < end:
            pieces.append(("".join(mine[start:end]), operation != "equal"))
    return pieces


def _grid(cells: Sequence[str]) -> str:
    return f'<div class="answers">{"".join(cells)}</div>'


def _panel(name: str, body: str, *, facts: str = "") -> str:
    """`body` and `facts` are HTML already."""
    label = escape(name)
    foot = f'<p class="facts">{facts}</p>' if facts else ""
    text = f'<pre tabindex="0" role="region" aria-label="{label}: text">{body}</pre>'
    return f'<section class="panel" aria-label="{label}"><h2>{label}</h2>{text}{foot}</section>'


def _in_place(answer: Answer, answers: Sequence[Answer], question: Question, state: State) -> str:
    if state == "running":
        caret = "" if answer.finished else '<span class="caret" aria-hidden="true">▍</span>'
        return _around(f'<span class="said">{escape(answer.text)}</span>{caret}', question.prompt)
    if not answer.text:
        return _around('<span class="said"></span><span class="quiet">(nothing)</span>', question.prompt)
    other = answers[0] if answer is not answers[0] else answers[min(1, len(answers) - 1)]
    marked = "".join(f"<mark>{escape(piece)}</mark>" if new else escape(piece) for piece, new in differences(answer.text, other.text))
    return _around(f'<span class="said">{marked}</span>', question.prompt)


def _around(middle: str, prompt: Prompt) -> str:
    """`middle` (HTML) between the last lines before it and the first lines after it."""
    before, after = _sides(prompt)
    head = "".join(before.splitlines(keepends=True)[-CONTEXT_LINES:]).lstrip("\n")
    tail = "".join(after.splitlines(keepends=True)[:CONTEXT_LINES]).rstrip("\n")
    return f'<span class="context">{escape(head)}</span>{middle}<span class="context">{escape(tail)}</span>'


def _sides(prompt: Prompt) -> tuple[str, str]:
    match prompt:
        case FimPrompt(prefix, suffix):
            return prefix, suffix
        case TextPrompt(text):
            return text, ""
        case InstructPrompt():
            return "", ""


def _facts(answer: Answer, question: Question, state: State, first_s: float | None) -> str:
    """How long, how fast, how it ended."""
    facts = [f"{_plural(answer.tokens, 'token')} in {answer.seconds:.2f} s"]
    if answer.seconds > 0 and answer.tokens:
        facts.append(f"{answer.tokens / answer.seconds:.0f} tokens/s")
    if first_s is not None:
        facts.append(f"first after {first_s:.2f} s")
    facts.append(_ending(answer, state))
    if question.truth is not None and answer.finished:
        facts.append("equal to the true text" if answer.text == question.truth else "not the true text")
    return " · ".join(f"<span>{fact}</span>" for fact in facts)


def _ending(answer: Answer, state: State) -> str:
    if answer.finished:
        return "stopped by itself" if answer.stopped else "ran into the limit"
    return "still writing" if state == "running" else "cut off by you"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
