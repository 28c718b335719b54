"""Secrets told by the name that they are given to, in code and in settings."""

from __future__ import annotations

import re

from finetune.data.secrets import confirm
from finetune.data.secrets.named import PASS, REST, SECRET
from finetune.data.secrets.rule import Rule, compiled

ESCAPED = r"\\{0,3}"  # what stands before the quotes of a string in a string
ASSIGN = ESCAPED + r"[\"'`]?\]?[ \t]{0,4}(?:: ?[A-Za-z.\[\]|]{1,30} ?=|:=|=>|={1,3}|:|\(|,)[ \t]{0,12}[rbuf]{0,2}" + ESCAPED
QUOTED = r"(?P<quote>[\"'`])(?P<scheme>(?:bearer|basic|token) )?(?P<value>(?:(?!(?P=quote))[^\s\\]){MIN,300})" + ESCAPED + "(?P=quote)"
SCREEN_QUOTED = r"[\"'`][^\s\\]"
LINE = r"^[ \t]*(?:export[ \t]+|set[ \t]+|ENV[ \t]+|-[ \t]+|//[^\s=]{1,100}:)?[A-Za-z0-9_.$-]{0,40}?"
# NAME=VALUE as a word of its own: behind a quote, a space, an escape, the `=` of `--env=`, a comma, or an option of one letter such as -e.
BEGIN = r"(?:(?<=(?P<quote>[\"'`]))|(?<![^\s\x00=,])|(?<=-[A-Za-z])(?<![^\s\"'`]..))"
AFTER = r"[;&,][A-Za-z0-9_. -]{1,40}="  # the next setting of the same string
WORTH = rf"(?(quote)(?!(?P=quote)|{AFTER})[^\s\\]|[A-Za-z0-9+/=_.~:@!#$%^?*-])"
END = rf"(?=[\"'`\s\\,\]]|{AFTER}|\Z)"
SCREEN_ASSIGNED = r"=[^\s\"'`\\]{5}"


def quoted(words: str, shortest: int) -> re.Pattern[bytes]:
    """A quoted value of at least so many bytes, given to a name with one of the words in it."""
    return compiled("(?i)" + words + REST + ASSIGN + QUOTED.replace("MIN", str(shortest)))


def assigned(words: str, shortest: int) -> re.Pattern[bytes]:
    """A value of at least so many bytes in one word with its name: quotes stand around both, or nowhere."""
    name = f"(?P<name>(?:[A-Za-z_][A-Za-z0-9_.-]{{0,39}}?)??{words}{REST})"
    return compiled(f"(?i){BEGIN}{name}=(?P<scheme>(?:bearer|basic|token) |base64:)?(?P<value>{WORTH}{{{shortest},300}}){END}")


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
    Rule("password_word", "<PASSWORD>", (), f"(?i){PASS}{REST}{SCREEN_ASSIGNED}", assigned(PASS, 8), confirm.password, one_line=True),
    Rule("secret_word", "<KEY>", (), f"(?i){SECRET}{REST}{SCREEN_ASSIGNED}", assigned(SECRET, 12), confirm.unquoted, one_line=True),
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
