"""What a rule is: one kind of secret, and how it is looked for. Every pattern works on UTF-8 bytes.

A rule is a `screen` that hyperscan runs over every byte, and a `pattern` that Python runs where the screen was hit. The screen
has no look-around and finds at least what the pattern finds. `anchors` serve where there is no hyperscan: one of them is in every
find as it stands; a rule without any looks at every text. What the pattern's group `value` holds is replaced.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from finetune.data.secrets import confirm

Placeholder = Literal["<KEY>", "<PASSWORD>", "<EMAIL>", "<NAME>", "address"]
Confirm = Callable[[re.Match[bytes]], bool]
ENOUGH = 12  # bytes of a long run that a screen waits for
LONG_RUN = re.compile(r"\{(\d+)(?:,\d*)?\}")
FIXED = re.compile(r"\(?(?:\?:)?[A-Za-z0-9]{2}")  # a form that begins with letters of its own


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value is called in reports, and what takes its place."""

    kind: str
    placeholder: Placeholder


@dataclass(frozen=True, slots=True)
class Rule(Kind):
    """One kind of secret; `sure` tells a real one from a look-alike. Where two rules overlap, the earlier one's placeholder stands.

    `one_line`: a match of the pattern, and one of the screen inside it, keeps to one line, so that lines without a hit need no search.
    """

    anchors: tuple[str, ...]
    screen: str
    pattern: re.Pattern[bytes]
    sure: Confirm
    one_line: bool = False


def token(kind: str, anchors: str, form: str, sure: Confirm = confirm.unlike_placeholder) -> Rule:
    """A rule for a token of fixed form, which stands free of other word characters."""
    return Rule(kind, "<KEY>", tuple(anchors.split()), _begun(form), free(f"(?P<value>{form})"), sure, True)


def free(pattern: str) -> re.Pattern[bytes]:
    """The pattern where no word goes on to either side; a percent escape before it is no part of the word."""
    return compiled(f"(?:(?<![A-Za-z0-9_-])|(?<=%[0-9A-Fa-f]{{2}})){pattern}(?![A-Za-z0-9])")


def _begun(form: str) -> str:
    """The form up to its first long run, of which the first bytes are enough: one hit for each token, and a small automaton."""
    for run in LONG_RUN.finditer(form):
        before = form[: run.start()]
        if int(run[1]) > ENOUGH and before.count("(") == before.count(")") and FIXED.match(before):
            return f"{before}{{{ENOUGH}}}"
    return form


def compiled(pattern: str) -> re.Pattern[bytes]:
    """The pattern over bytes; non-ASCII classes in it are byte ranges."""
    return re.compile(pattern.encode("ascii"))
