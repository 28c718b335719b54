"""What is looked for, in order of rank."""

from __future__ import annotations

from finetune.data.secrets import confirm
from finetune.data.secrets.escaped import ESCAPED
from finetune.data.secrets.paired import PAIRED
from finetune.data.secrets.places import PLACES
from finetune.data.secrets.rule import Rule, compiled
from finetune.data.secrets.settings import SETTINGS
from finetune.data.secrets.vendors import TOKENS

BEGIN = r"-----BEGIN (?P<what>(?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?)-----"
BODY = r"(?:(?!-----)[\s\S]){0,20000}-----END (?P=what)-----"
# A key cut off before its end line: the header, then lines of base64.
CUT = r"(?:(?:\\\x00|[\s\"'+,\\])+[A-Za-z0-9+/=]{40,76}(?![A-Za-z0-9+/=]))+"

PERSON = r"(?P<value>[A-Z][A-Za-z.'\x80-\xff-]{0,30}(?: [A-Z][A-Za-z.'\x80-\xff-]{0,30}){1,3})"
LOCAL = r"[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}"
DOMAIN = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,6}[A-Za-z]{2,18}"
OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"


RULES = (
    Rule(
        "private_key",
        "<KEY>",
        ("PRIVATE KEY",),
        r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY",
        compiled(f"(?P<value>{BEGIN}(?:{BODY}|{CUT}))"),
        confirm.key_body,
    ),
    *TOKENS,
    Rule(
        "aws_secret",
        "<KEY>",
        (),
        r"(?i)aws[a-z_. -]{0,24}(?:secret|key)[a-z_. -]{0,20}[\"'`]?\]?\s{0,4}[=:,]",
        compiled(
            r"(?i)aws[a-z_. -]{0,24}(?:secret|key)[a-z_. -]{0,20}[\"'`]?\]?\s{0,4}(?:=>|:=|=|:|,)\s{0,4}[\"'`]?"
            r"(?P<value>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"
        ),
        confirm.aws_secret,
    ),
    Rule(
        "password_in_url",
        "<PASSWORD>",
        ("://",),
        r"://[^\s/:@\"'`<>]{0,80}:[^\s/@\"'`<>]{3,120}@",
        compiled(
            r"[A-Za-z][A-Za-z0-9+.-]{1,20}://(?P<user>[^\s/:@\"'`<>]{0,80}):(?P<value>[^\s/@\"'`<>]{3,120})@(?P<host>[A-Za-z0-9_.${%*\[-]+)"
        ),
        confirm.url_password,
        one_line=True,
    ),
    *SETTINGS,
    *PLACES,
    *ESCAPED,
    *PAIRED,
    Rule(
        "email",
        "<EMAIL>",
        ("@",),
        r"[A-Za-z0-9._%+-]@[A-Za-z0-9][A-Za-z0-9.-]{0,253}\.[A-Za-z]{2}",
        compiled(f"(?<![A-Za-z0-9._%+@/-])(?P<value>{LOCAL}@(?P<domain>{DOMAIN}))(?![A-Za-z0-9@(]|-[A-Za-z0-9]|\\.[A-Za-z0-9])"),
        confirm.email,
        one_line=True,
    ),
    Rule(
        "name",
        "<NAME>",
        (" <",),
        r"[A-Za-z.'\x80-\xff-] <[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@",
        compiled(f"(?<![\\w.'\\x80-\\xff-]){PERSON}(?= <{LOCAL}@(?P<domain>{DOMAIN})>)"),
        confirm.person,
        one_line=True,
    ),
    Rule(
        "author",
        "<NAME>",
        ("uthor",),
        r"(?:@author|[Aa]uthors?[ \t]?:)[ \t]",
        compiled(r"(?:@author|\b[Aa]uthors?[ \t]?:)[ \t]{1,8}" + PERSON),
        confirm.person,
        one_line=True,
    ),
    Rule(
        "ipv4",
        "address",
        (),
        r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}",
        compiled(f"(?<![\\w.@+~^=-])(?P<value>(?:{OCTET}\\.){{3}}{OCTET})(?!\\w|\\.[0-9]|[+-]\\w)"),
        confirm.ipv4,
        one_line=True,
    ),
    Rule(
        "ipv6",
        "address",
        (),
        r"[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{2}",
        compiled(r"(?<![\w:.])(?P<value>[23][0-9A-Fa-f]{3}:(?:[0-9A-Fa-f]{0,4}:){1,6}(?:[0-9A-Fa-f]{1,4})?)(?![\w:]|\.[0-9])"),
        confirm.ipv6,
        one_line=True,
    ),
)
