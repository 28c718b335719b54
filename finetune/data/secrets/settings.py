"""Secrets told by the name that they are given to, in code and in settings."""

from __future__ import annotations

import re

from finetune.data.secrets import confirm
from finetune.data.secrets.named import PASS, REST, SECRET
from finetune.data.secrets.rule import Rule, compiled

ASSIGN = r"[\"'`]?\]?[ \t]{0,4}(?:: ?[A-Za-z.\[\]|]{1,30} ?=|:=|=>|={1,3}|:|\(|,)[ \t]{0,12}[rbuf]{0,2}"
QUOTED = r"(?P<quote>[\"'`])(?P<scheme>(?:bearer|basic|token) )?(?P<value>(?:(?!(?P=quote))[^\s\\]){MIN,300})(?P=quote)"
SCREEN_QUOTED = r"[\"'`][^\s\\]"
LINE = r"^[ \t]*(?:export[ \t]+|set[ \t]+|ENV[ \t]+|-[ \t]+|//[^\s=]{1,100}:)?[A-Za-z0-9_.$-]{0,40}?"


def quoted(words: str, shortest: int) -> re.Pattern[bytes]:
    """A quoted value of at least so many bytes, given to a name with one of the words in it."""
    return compiled("(?i)" + words + REST + ASSIGN + QUOTED.replace("MIN", str(shortest)))


SETTINGS = (
    Rule("password", "<PASSWORD>", (), "(?i)" + PASS + REST + ASSIGN + SCREEN_QUOTED, quoted(PASS, 8), confirm.password, one_line=True),
    Rule("generic_secret", "<KEY>", (), "(?i)" + SECRET + REST + ASSIGN + SCREEN_QUOTED, quoted(SECRET, 16), confirm.secret, one_line=True),
    Rule(
        "unquoted_secret",
        "<KEY>",
        (),
        f"(?i)(?:{PASS}|{SECRET}){REST}[ \\t]{{0,4}}[:=]",
        compiled(
            f"(?im){LINE}(?:{PASS}|{SECRET}){REST}[ \\t]{{0,4}}[:=][ \\t]{{0,4}}(?P<scheme>(?:bearer|basic|token) |base64:)?"
            r"(?P<value>[A-Za-z0-9+/=_.~@!#$%^&?*-]{12,300})[ \t]*\r?$"
        ),
        confirm.unquoted,
        one_line=True,
    ),
    Rule(
        "bearer",
        "<KEY>",
        (),
        r"(?i)(?:bearer|basic) [A-Za-z0-9+/=_.~-]{20}",
        compiled(r"(?i)\b(?:bearer|basic) (?P<value>[A-Za-z0-9+/=_.~-]{20,500})(?![A-Za-z0-9+/=_~])"),
        confirm.random_value,
        one_line=True,
    ),
)
