"""How sure a model was of each token, as escaped HTML: a tint, a line under it and a number, and a table of them all."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from finetune.records import Answer, Token

# From this chance on, its class in style.css, and what the legend says.
LEVELS = ((0.9, "sure", "90 % or more"), (0.6, "likely", "60 to 90 %"), (0.3, "open", "30 to 60 %"), (0.0, "guess", "below 30 %"))
_NUMBERED = 0.9  # below it the number stands at the token
_SHOWN = str.maketrans({"\n": "↵", "\t": "→", " ": "␣", "\r": "␍"})

LEGEND = "The model's own chance for each token: " + " ".join(
    f'<span class="said"><span class="token {name}">{words}</span></span>' for _, name, words in LEVELS
)


def tokens(answer: Answer) -> str:
    """The answer, token by token; its text content is the answer's text."""
    return "".join(_token(token) for token in answer.said if token.text and not token.stop)


def table(answer: Answer, label: str) -> str:
    """Every token with its chance and what else was likely; `label` (a side's name) tells it from the other side's."""
    rows = "".join(
        f"<tr><td><code>{_visible(token)}</code></td><td>{_percent(token.chance)}</td><td>{_others(token)}</td></tr>"
        for token in answer.said
    )
    head = '<tr><th scope="col">token</th><th scope="col">chance</th><th scope="col">the likeliest here</th></tr>'
    return (
        f'<details class="numbers"><summary>Numbers of {escape(label)}</summary>'
        f'<div tabindex="0" role="region" aria-label="{escape(label)}: chances"><table>{head}{rows}</table></div></details>'
    )


def _token(token: Token) -> str:
    level = next(name for least, name, _ in LEVELS if token.chance >= least)
    number = "" if token.chance >= _NUMBERED else f' data-chance="{token.chance:.0%}"'
    likely = ", ".join(f"{text.translate(_SHOWN)} {_percent(share)}" for text, share in token.others)
    return f'<span class="token {level}"{number} title="{_percent(token.chance)}; likeliest: {escape(likely)}">{escape(token.text)}</span>'


def _others(token: Token) -> str:
    return " ".join(f"<span><code>{escape(text.translate(_SHOWN))}</code> {_percent(share)}</span>" for text, share in token.others)


def _visible(token: Token) -> str:
    if token.stop:
        return f"{escape(token.text)} (stop)"
    return escape(token.text.translate(_SHOWN)) or "part of a character"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def has_chances(answers: Sequence[Answer]) -> bool:
    """Whether the answers were drawn with their chances kept."""
    return any(answer.said for answer in answers)
