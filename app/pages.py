"""The results of the votes and the history of a session, as escaped HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from app import view
from app.record import Record
from app.votes import Tally
from finetune.records import ContextPrompt, FimPrompt, InstructPrompt, Prompt, TextPrompt
from finetune.statistics import LEVEL

_HALF = 0.5
_NO_VOTES = '<p class="empty">No vote yet. Switch <b>Blind</b> on, ask, and choose the better answer; the names come after the vote.</p>'
_NO_HISTORY = '<p class="empty">Nothing asked yet. What you ask is listed here until you close the page.</p>'
_TITLE_LENGTH = 70


def results(found: Sequence[Tally], stale: int, places: Sequence[str]) -> str:
    """A card for each pair of arms: who was better how often, and the win rate with its interval."""
    cards = "".join(_card(tally) for tally in found) or _NO_VOTES
    notes = [
        f"Intervals hold {LEVEL:.0%} (Wilson), each vote taken for itself; ties and both bad are counted and left out of the rate.",
        "A record (a question with these very answers) counts once, whoever votes on it and whenever.",
        f"Kept in {', '.join(places)}." if places else "",
        f"{view.plural(stale, 'vote')} on an earlier training of these adapters left out." if stale else "",
    ]
    return f'<div class="results">{cards}<p class="legend">{" ".join(escape(note) for note in notes if note)}</p></div>'


def _card(tally: Tally) -> str:
    shares = [
        ("first", f"{tally.first} better", tally.first_better),
        ("tie", "equally good", tally.ties),
        ("neither", "both bad", tally.neither),
        ("second", f"{tally.second} better", tally.second_better),
    ]
    total = sum(count for _, _, count in shares)
    bar = "".join(f'<span class="{name}" style="flex-grow: {count}"></span>' for name, _, count in shares if count)
    legend = "".join(f'<li class="{name}"><b>{count}</b> {escape(label)}</li>' for name, label, count in shares)
    title = f"{tally.second} against {tally.first}"
    return (
        f'<section class="card" aria-label="{escape(title)}"><h2>{escape(title)} <small>{view.plural(total, "vote")}</small></h2>'
        f'<p class="rate">{_rate(tally)}</p><div class="shares" aria-hidden="true">{bar}</div><ul class="counts">{legend}</ul></section>'
    )


def _rate(tally: Tally) -> str:
    rate = tally.rate
    if rate is None:
        return "No win rate: no vote has decided for a side."
    wins = f"<b>{rate.value:.0%}</b> <span>({rate.low:.0%} to {rate.high:.0%})</span> of {view.plural(rate.n, 'decided vote')} went to "
    verdict = "better" if rate.low > _HALF else "worse" if rate.high < _HALF else "no difference shown"
    return f'{wins}{escape(tally.second)}: <em class="verdict">{verdict}</em>'


def history(records: Sequence[Record], look: view.Look) -> str:
    """The records, the latest first, each to unfold."""
    rows = "".join(_row(record, look) for record in reversed(records))
    return f'<div class="history">{rows or _NO_HISTORY}</div>'


def _row(record: Record, look: view.Look) -> str:
    what = escape(record.question.name or _title(record.question.prompt)) or "(white space)"
    end = {"running": "running", "ended": "", "cut": "stopped by you"}[record.state]
    vote = "" if not record.blind else "blind, no vote" if record.choice is None else f"you chose {record.choice}"
    facts = " · ".join(escape(fact) for fact in (", ".join(record.label(a) for a in record.answers), vote, end) if fact)
    summary = f'<time datetime="{record.at}">{record.at[11:19]} UTC</time> <code>{what}</code> <small>{facts}</small>'
    return f"<details><summary>{summary}</summary>{view.panels(record, look)}</details>"


def _title(prompt: Prompt) -> str:
    """The last line before the answer that has something in it."""
    match prompt:
        case InstructPrompt(instruction):
            text = instruction
        case TextPrompt() | FimPrompt() | ContextPrompt():
            text = view.sides(prompt)[0] or view.sides(prompt)[1]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:_TITLE_LENGTH] if lines else ""
