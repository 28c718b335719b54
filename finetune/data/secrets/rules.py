"""What is looked for. Every pattern works on UTF-8 bytes.

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
    return Rule(kind, "<KEY>", tuple(anchors.split()), form, compiled(f"(?<![A-Za-z0-9_-])(?P<value>{form})(?![A-Za-z0-9])"), sure, True)


def compiled(pattern: str) -> re.Pattern[bytes]:
    """The pattern over bytes; non-ASCII classes in it are byte ranges."""
    return re.compile(pattern.encode("ascii"))


BEGIN = r"-----BEGIN (?P<what>(?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?)-----"
BODY = r"(?:(?!-----)[\s\S]){0,20000}-----END (?P=what)-----"
# A key cut off before its end line: the header, then lines of base64.
CUT = r"(?:(?:\\[rn]|[\s\"'+,\\])+[A-Za-z0-9+/=]{40,76}(?![A-Za-z0-9+/=]))+"

# The words that name a secret. What stands before them in the same name is looked up afterwards: see confirm.names_secret.
PASS = r"(?:passw(?:or)?d|passphrase|passcode|pwd|pass)"
SECRET = (
    r"(?:secret|token|credentials?|auth|bearer|api[_.-]?key|access[_.-]?key|auth[_.-]?key|account[_.-]?key|private[_.-]?key"
    r"|encryption[_.-]?key|signing[_.-]?key|master[_.-]?key)"
)
REST = r"[A-Za-z0-9_-]{0,20}"
ASSIGN = r"[\"'`]?\]?[ \t]{0,4}(?:: ?[A-Za-z.\[\]|]{1,30} ?=|:=|=>|={1,3}|:|\(|,)[ \t]{0,4}[rbuf]{0,2}"
QUOTED = r"(?P<quote>[\"'`])(?P<scheme>(?:bearer|basic|token) )?(?P<value>(?:(?!(?P=quote))[^\s\\]){MIN,300})(?P=quote)"
SCREEN_QUOTED = r"[\"'`][^\s\\]"
LINE = r"^[ \t]*(?:export[ \t]+|set[ \t]+|ENV[ \t]+|-[ \t]+)?[A-Za-z0-9_.$-]{0,40}?"
PERSON = r"(?P<value>[A-Z][A-Za-z.'\x80-\xff-]{0,30}(?: [A-Z][A-Za-z.'\x80-\xff-]{0,30}){1,3})"
LOCAL = r"[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}"
DOMAIN = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,6}[A-Za-z]{2,18}"
OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"

TOKENS = (
    token("aws_key", "AKIA ASIA ABIA ACCA", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}"),
    token("github_token", "ghp_ gho_ ghu_ ghs_ ghr_", r"gh[pousr]_[A-Za-z0-9]{36,251}"),
    token("github_token_fine", "github_pat_", r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"),
    token(
        "gitlab_token",
        "glpat- gldt- glrt- glptt- glft- glsoat- glcbt- glagent- glimt- gloas-",
        r"gl(?:pat|dt|rt|ptt|ft|soat|cbt|agent|imt|oas)-[A-Za-z0-9_-]{20,64}",
    ),
    token("slack_token", "xox", r"xox[abeoprs]-[0-9A-Za-z-]{16,250}"),
    token("slack_app_token", "xapp-", r"xapp-[0-9]-[A-Z0-9]{8,14}-[0-9]{8,16}-[a-f0-9]{32,80}"),
    token(
        "slack_webhook",
        "hooks.slack.com",
        r"https://hooks\.slack\.com/(?:services|workflows)/T[A-Za-z0-9]{6,14}/[A-Za-z0-9]{6,14}/[A-Za-z0-9/]{16,60}",
    ),
    token("stripe_key", "_live_ _test_", r"(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,247}"),
    token("stripe_webhook", "whsec_", r"whsec_[A-Za-z0-9+/]{24,64}"),
    token("google_key", "AIza", r"AIza[0-9A-Za-z_-]{35}"),
    token("google_oauth", "GOCSPX-", r"GOCSPX-[A-Za-z0-9_-]{28}"),
    token("google_access", "ya29.", r"ya29\.[0-9A-Za-z_-]{24,250}"),
    token("npm_token", "npm_", r"npm_[A-Za-z0-9]{36}"),
    token("pypi_token", "pypi-Ag", r"pypi-Ag(?:EIcHlwaS5vcmc|ENdGVzdC5weXBpLm9yZw)[A-Za-z0-9_-]{50,250}"),
    token("anthropic_key", "sk-ant-", r"sk-ant-[a-z]{3,6}[0-9]{2}-[A-Za-z0-9_-]{80,120}"),
    token("openai_key", "T3BlbkFJ", r"sk-(?:proj-|svcacct-|admin-|None-)?[A-Za-z0-9_-]{16,110}T3BlbkFJ[A-Za-z0-9_-]{16,110}"),
    token("openai_key_old", "sk-", r"sk-[A-Za-z0-9]{48}"),
    token("huggingface_token", "hf_ api_org_", r"(?:hf|api_org)_[A-Za-z]{34}"),
    token("azure_key", "AccountKey= SharedAccessKey=", r"(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{42,86}={1,2}", confirm.azure_key),
    token("azure_secret", "7Q~ 8Q~", r"[A-Za-z0-9_~.]{3}[78]Q~[A-Za-z0-9_~.-]{31,34}"),
    token("sendgrid_key", "SG.", r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    token("digitalocean_token", "_v1_", r"do[opr]_v1_[a-f0-9]{64}"),
    token("shopify_token", "shp", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),
    token("telegram_token", ":AA", r"[0-9]{8,10}:AA[A-Za-z0-9_-]{33}"),
    token("databricks_token", "dapi", r"dapi[a-f0-9]{32}"),
    token("vault_token", "hvs. hvb. hvr.", r"hv[sbr]\.[A-Za-z0-9_-]{24,250}"),
    token("docker_token", "dckr_", r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{27,40}"),
    token("atlassian_token", "ATATT3xFfGF0", r"ATATT3xFfGF0[A-Za-z0-9_=-]{80,200}"),
    token("grafana_token", "glsa_ glc_", r"gl(?:sa|c)_[A-Za-z0-9+/=_]{32,200}"),
    token("new_relic_key", "NRAK-", r"NRAK-[A-Z0-9]{27}"),
    token("age_key", "AGE-SECRET-KEY-1", r"AGE-SECRET-KEY-1[A-Z0-9]{58}"),
    token("linear_key", "lin_api_ lin_oauth_", r"lin_(?:api|oauth)_[A-Za-z0-9]{32,64}"),
    token("square_token", "sq0", r"sq0[a-z]{3}-[A-Za-z0-9_-]{22,50}"),
    token("twilio_key", "SK", r"SK[a-f0-9]{32}"),
    token("mailgun_key", "key-", r"key-[a-f0-9]{32}"),
    token("jwt", "eyJ", r"eyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{16,2000}"),
)


def quoted(words: str, shortest: int) -> re.Pattern[bytes]:
    """A quoted value of at least so many bytes, given to a name with one of the words in it."""
    return compiled("(?i)" + words + REST + ASSIGN + QUOTED.replace("MIN", str(shortest)))


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
        confirm.random_value,
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
    Rule("password", "<PASSWORD>", (), "(?i)" + PASS + REST + ASSIGN + SCREEN_QUOTED, quoted(PASS, 8), confirm.password, one_line=True),
    Rule("generic_secret", "<KEY>", (), "(?i)" + SECRET + REST + ASSIGN + SCREEN_QUOTED, quoted(SECRET, 16), confirm.secret, one_line=True),
    Rule(
        "unquoted_secret",
        "<KEY>",
        (),
        f"(?i)(?:{PASS}|{SECRET}){REST}[ \\t]{{0,4}}[:=]",
        compiled(
            f"(?im){LINE}(?:{PASS}|{SECRET}){REST}[ \\t]{{0,4}}[:=][ \\t]{{0,4}}(?P<scheme>(?:bearer|basic|token) )?"
            r"(?P<value>[A-Za-z0-9+/=_.~@!#%^&*-]{12,300})[ \t]*\r?$"
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
