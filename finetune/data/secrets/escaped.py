"""Secrets in a link or a form that is escaped as a whole: `https%3A%2F%2Fuser%3A...%40host`, `password%3D...`, once or several times."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from finetune.data.secrets.confirm import Match, plainly_random, says_secret, strong_value, url_password
from finetune.data.secrets.named import PASS, REST, SECRET
from finetune.data.secrets.rule import Confirm, Placeholder, Rule, compiled
from finetune.data.secrets.told import is_version

AGAIN = r"(?:25){0,3}"  # %3A is %253A once more escaped
HEX = r"[0-9A-Fa-f]{2}"
PLAIN = r"[^\s/:@\"'`<>&?#%\\]"
USER = rf"(?:{PLAIN}|%(?!{AGAIN}(?:2[Ff]|3[Ff]|23)){HEX}){{0,80}}?"
# A value's own escapes are escaped as often as the sign before it or more: %26 ends it, %2526 is a part of it.
INSIDE = rf"%(?!(?P=again)(?:2[Ff]|3[Ff]|23|40|2[026])){HEX}"
LINK = (
    rf"[A-Za-z][A-Za-z0-9+.-]{{1,20}}(?::|%{AGAIN}3[Aa])(?:/|%{AGAIN}2[Ff]){{2}}{USER}%(?P<again>{AGAIN})3[Aa]"
    rf"(?P<value>(?:{PLAIN}|{INSIDE}){{3,200}})(?:@|%(?P=again)40)[A-Za-z0-9_.${{%*\[-]{{1,200}}"
)
IN_LINK = re.compile(
    rb"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,20})://(?P<user>[^\s/:@]{0,80}):(?P<value>[^\s/]{3,200})@(?P<host>[A-Za-z0-9_.${%*\[-]+)"
)
# Where a version is behind the colon; elsewhere a password is, and may look like one.
PACKAGES = re.compile(rb"(?i)(?:pkg|purl|package|npm|pypi|maven|conda|helm|(?:docker|oci|containers?|image)(?:-[a-z]{1,20})?)\Z")
# Quotes and blanks around a value, and what may stand between two.
SIGN = r"(?:2[0267Cc]|3[BbCcEe]|5[CcDd]|7[Dd]|60|0[AaDd])"
INSIDE_SETTING = rf"%(?!(?:(?P=again))?{SIGN}){HEX}"
BEGIN = r"(?:(?<![a-z0-9_.-])|(?<=%[0-9a-f]{2})|(?<=%25[0-9a-f]{2})|(?<=%2525[0-9a-f]{2}))"


def link_password(match: Match) -> bool:
    """The password of an escaped link, judged as that of the link itself; behind a scheme of packages or images a version is none."""
    link = IN_LINK.search(_unescaped(match[0], match))
    if link is None or (is_version(link["value"]) and PACKAGES.search(_before(match) + link["scheme"])):
        return False
    return url_password(link)


def _before(match: Match) -> bytes:
    """The text before the match, which may begin inside a scheme."""
    return match.string[max(0, match.start() - 20) : match.start()]


def escaped_password(match: Match) -> bool:
    """A value given to a name that says password."""
    return says_secret(match["name"]) and strong_value(_unescaped(match["value"], match))


def escaped_key(match: Match) -> bool:
    """A value given to a name that says secret."""
    return says_secret(match["name"]) and plainly_random(_unescaped(match["value"], match))


def _unescaped(text: bytes, match: Match) -> bytes:
    for _ in range(len(match["again"]) // 2 + 1):
        text = unquote_to_bytes(text)
    return text


def _setting(kind: str, placeholder: Placeholder, words: str, shortest: int, sure: Confirm) -> Rule:
    screen = rf"(?i){words}{REST}(?:%{AGAIN}2[27])?%{AGAIN}3[ad](?:%{AGAIN}2[027]){{0,3}}[a-z0-9_.~!*()$/+%-]{{{shortest}}}"
    pattern = (
        rf"(?i){BEGIN}(?P<name>(?:[a-z_][a-z0-9_.-]{{0,39}}?)??{words}{REST})(?:%{AGAIN}2[27])?%(?P<again>{AGAIN})3[ad]"
        rf"(?:%(?P=again)2[027]){{0,3}}(?P<value>(?:[a-z0-9_.~!*()$/+-]|{INSIDE_SETTING}){{{shortest},300}})"
    )
    return Rule(kind, placeholder, (), screen, compiled(pattern), sure, one_line=True)


ESCAPED = (
    Rule(
        "escaped_link_password",
        "<PASSWORD>",
        (),
        rf"(?::|%{AGAIN}3[Aa])(?:/|%{AGAIN}2[Ff]){{2}}[^\s/:@\"'`<>&?#\\]{{0,200}}%{AGAIN}3[Aa][^\s/:@\"'`<>&?#\\]{{3}}",
        compiled(LINK),
        link_password,
        one_line=True,
    ),
    _setting("escaped_password", "<PASSWORD>", PASS, 8, escaped_password),
    _setting("escaped_key", "<KEY>", SECRET, 12, escaped_key),
)
