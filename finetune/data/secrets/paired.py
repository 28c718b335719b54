"""Secrets that stand apart from their name: `name: DB_PASSWORD` and `value: ...`, and all that a Kubernetes Secret holds."""

from __future__ import annotations

import base64
import binascii
import re

from finetune.data.secrets.confirm import Match, looks_random, plainly_random, says_secret, strong_value
from finetune.data.secrets.manifests import data_of_secrets
from finetune.data.secrets.named import PASS, REST, SECRET
from finetune.data.secrets.rule import Rule, compiled
from finetune.data.secrets.told import is_told

NAMED = f"(?:{PASS}|{SECRET})"
NEXT = r"[\"']?[ \t]{0,4},?\s{0,60}[\"']?"  # to the next key of an object
NAME = rf"[\"']?[ \t]{{0,4}}:[ \t]{{0,4}}[\"']?(?P<name>[a-z0-9_.-]{{0,40}}?{NAMED}{REST}){NEXT}"
SCREEN_NAME = rf"[\"']?[ \t]{{0,4}}:[ \t]{{0,4}}[\"']?[a-z0-9_.-]{{0,40}}{NAMED}{REST}{NEXT}"
KEY = r"(?:parameter|option)?value[\"']?[ \t]{0,4}:[ \t]{0,4}"
SCREEN_VALUE = rf"{KEY}[\"']?\S{{6}}"
INSIDE = r"(?!(?P=quote))[^\s`{}\\]"
VALUE = rf"{KEY}(?P<quote>[\"'])?(?P<value>(?:{INSIDE}){{6,300}})(?(quote)(?P=quote)|(?<!,)(?=[\s}}]|,\s|\Z))"
LINE_ENDS = re.compile(rb"[ \t]{0,40}(?:[ \t]#[^\n]{0,400})?(?:\r?\n|\Z)")  # behind a value of a block
WORKED_OUT = re.compile(rb"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+|[A-Za-z_][\w.]*[(\[].*[)\]]|.*[,;]")
QUOTES = re.compile(rb"[\"']")
LONG = 12  # of a value that is taken for no name of a program's
PARTS = re.compile(rb"[\s:/@;,=\"]+")


def paired(match: Match) -> bool:
    """A value beside a name that says secret: in quotes, or as YAML writes it. What else has no quotes is code."""
    value = match["value"]
    if not says_secret(match["name"]) or is_told(value):
        return False
    if not (_in_quotes(value) if match["quote"] else _in_block(match) or _in_flow(match)):
        return False
    return looks_random(value) or strong_value(value)


def _in_quotes(value: bytes) -> bool:
    """Whether the value is one string: two of the other quotes, or one at an end, are of code that joins strings."""
    return QUOTES.search(value[:1] + value[-1:]) is None and len(QUOTES.findall(value)) <= 1


def _in_block(match: Match) -> bool:
    """Whether name and value have a line each, with no comma of an object between."""
    text, (start, end) = match.string, match.span("value")
    between = text[match.end("name") : start]
    alone = b"\n" in between and b"," not in between and LINE_ENDS.match(text, end) is not None
    return alone and not QUOTES.search(match["value"]) and (_is_drawn(match["value"]) or not WORKED_OUT.fullmatch(match["value"]))


def _in_flow(match: Match) -> bool:
    """Whether name and value are on one line of YAML, `{name: A, value: ...}`: no quotes at all, and no call or member of an object."""
    text, (start, end) = match.string, match.span("value")
    before, value = text[match.start() : start], match["value"]
    if b"\n" in before or b"," not in before or QUOTES.search(before + value) or text[end : end + 1] not in {b",", b"}"}:
        return False
    return _is_drawn(value) and not any(sign in value for sign in b".([")


def _is_drawn(value: bytes) -> bool:
    return len(value) >= LONG and plainly_random(value)


def held_by_a_secret(match: Match) -> bool:
    """Base64 among the data of a Kubernetes Secret, of a key or of a text with a password in it."""
    try:
        held = base64.b64decode(match["value"], validate=True)
    except binascii.Error:
        return False
    return _is_worth(held) and match.start() in data_of_secrets(match.string)


def _is_worth(held: bytes) -> bool:
    if not held.isascii():
        return len(held) >= 16
    if b"BEGIN CERTIFICATE" in held:
        return False
    return any(strong_value(part) for part in PARTS.split(held) if len(part) >= 8)


PAIRED = (
    Rule(
        "paired_key",
        "<KEY>",
        (),
        rf"(?i)(?:name|key){SCREEN_NAME}{SCREEN_VALUE}",
        compiled(rf"(?i)(?<![a-z0-9])(?:(?:env|option|parameter)_?)?(?:name|key){NAME}{VALUE}"),
        paired,
    ),
    Rule(
        "kubernetes_secret",
        "<KEY>",
        ("Secret",),
        r"kind[\"']?:[ \t]*[\"']?Secret",
        compiled(
            r"(?m)^[ \t]{1,40}[\"']?[A-Za-z0-9._-]{1,253}[\"']?:[ \t]{1,4}[\"']?(?P<value>[A-Za-z0-9+/]{8,1500000}={0,2})[\"']?"
            r"[ \t]{0,40}(?:[ \t]#[^\n]{0,400}|,)?\r?$"
        ),
        held_by_a_secret,
    ),
)
