"""What tells a secret from code that looks like one. Each check gets the match of a rule and says whether it is real."""

from __future__ import annotations

import ipaddress
import math
import re
from collections import Counter

from finetune.data.secrets.words import (
    ADDRESS_CONTEXT,
    EXAMPLE_DOMAINS,
    NAME_WORDS,
    NOT_A_PERSON,
    NOT_THE_SECRET,
    PLACEHOLDER_VALUES,
    TOP_DOMAINS,
    VERSION_CONTEXT,
    WELL_KNOWN_ADDRESSES,
)

Match = re.Match[bytes]

PLACEHOLDER = re.compile(
    rb"(?i)example|sample|dummy|fake|placeholder|redacted|your[_-]?|change[_-]?me|insert|replace[_-]?|todo|foobar|my[_-]?(?:secret|token|key|pass)"
    rb"|xxxx|\*\*\*|\.\.\.|0123456|1234567|2345678|abcdefg|aaaaaa|(.)\1{5}|lorem|deadbeef|test[_-]?(?:token|secret|key|pass)|not[_-]?a[_-]?"
)
# Text that is put in later: ${x}, {{x}}, %(x)s, %s, %x%, <x>, $x, #{x}.
INTERPOLATED = re.compile(rb"\$[{(A-Za-z_]|\{[^}]*\}|%[({][A-Za-z_]|%[sdvqr](?![A-Za-z0-9])|%[A-Za-z_]+%|<[^>]*>|#\{|\{\{|\}\}")
MADE_UP_LOCALS = {b"user", b"username", b"you", b"me", b"name", b"foo"}
UUID = re.compile(rb"(?i)[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
DRAWN_UUID = re.compile(rb"(?i)[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")  # version 4
CONNECTION = re.compile(
    rb"(?i)(?:user(?: ?id|name)?|uid|server|data source|host(?:addr)?|dbname|database|initial catalog|sslmode|accountname) ?=|jdbc:"
)
RICH_LENGTH = 32
RANGE = re.compile(rb"[Aa]-[Zz]|0-9|\(\?")
HEX = re.compile(rb"(?i)(?:0x)?[0-9a-f]+")
HASH_LENGTHS = {32, 40, 56, 64, 96, 128}
HASH_WORDS = re.compile(rb"(?i)sha-?\d|sha\b|md5|hash|digest|checksum|commit|integrity|revision|etag|fingerprint")
PARTS = re.compile(rb"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+|[\x80-\xff]+")
TURN = re.compile(rb"[A-Za-z](?=[0-9])|[0-9](?=[A-Za-z])")
VOWEL = re.compile(rb"(?i)[aeiouy\x80-\xff]")
WORDS = re.compile(rb"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
TOKEN = re.compile(rb"[A-Za-z0-9+/=_.~:@!-]+")  # no pattern, no sentence
NAME_BEGIN = re.compile(rb"(?://[^\s=]{1,100}:)?([\sA-Za-z0-9_.$-]+)")  # with the registry it is for, as in .npmrc
NAME_END = re.compile(rb"[A-Za-z0-9_.$-]{0,60}\Z")
RUN = re.compile(rb"[A-Za-z0-9+/=]{16,}")


def unlike_placeholder(match: Match) -> bool:
    """A token of fixed form: real unless it is plainly made up."""
    value = match["value"]
    return PLACEHOLDER.search(value) is None and len(set(value)) >= 10


def key_body(match: Match) -> bool:
    """A private key: real when it holds key material, not just the header lines."""
    material = b"".join(RUN.findall(re.sub(rb"\\[rn]", b" ", match["value"])))
    return len(material) >= 64 and len(set(material)) >= 10


def random_value(match: Match) -> bool:
    """A value that looks drawn at random, and is no hash or UUID."""
    return looks_random(match["value"]) and not _is_hash(match)


def aws_secret(match: Match) -> bool:
    """Forty characters after such a name; one in two hundred of them has words in it, or no digit, by chance."""
    value = match["value"]
    return not _is_placeholder(value) and entropy(value) >= 4.2 and not _is_hash(match)


def random_tail(match: Match) -> bool:
    """A token whose first bytes are the same in all: the last 40 must look drawn at random."""
    return looks_random(match["value"][-40:])


def secret(match: Match) -> bool:
    """A quoted value given to a name that says secret."""
    value = match["value"]
    if not names_secret(match):
        return False
    return _rich(value) or (TOKEN.fullmatch(value) is not None and random_value(match)) or _is_token_uuid(match)


def unquoted(match: Match) -> bool:
    """A bare value at the end of a line of settings; code looks alike, so it must be plainly random."""
    if not names_secret(match):
        return False
    return _is_token_uuid(match) or (plainly_random(match["value"]) and not _is_hash(match))


def flag(match: Match) -> bool:
    """A value given on a command line."""
    return names_secret(match) and _digits(match["value"]) >= 2 and random_value(match)


def password(match: Match) -> bool:
    """A quoted value given to a name that says password: three kinds of character, and no words joined."""
    return names_secret(match) and strong(match)


def strong(match: Match) -> bool:
    """A value that stands where only a password does."""
    return strong_value(match["value"])


def strong_value(value: bytes) -> bool:
    """Three kinds of character, or two where letters and digits are many, and no words joined."""
    if _is_placeholder(value) or UUID.fullmatch(value):
        return False
    kinds = [any(map(test, value)) for test in (_lower, _upper, _digit, _sign)]
    return (sum(kinds) >= 3 or (sum(kinds) == 2 and kinds[2] and entropy(value) >= 2.9)) and not _wordy(value)


def connection_password(match: Match) -> bool:
    """A password among the other words of a connection string."""
    return CONNECTION.search(_line(match)[0]) is not None and strong(match)


def named_in_markup(match: Match) -> bool:
    """The content of an element, or the value of an attribute, whose name says secret."""
    return says_secret(match["name"]) and (looks_random(match["value"]) or strong(match))


def random_or_uuid(match: Match) -> bool:
    """What a header of its own carries: drawn at random, as many UUIDs are."""
    return random_value(match) or _drawn_uuid(match["value"])


def url_password(match: Match) -> bool:
    """The password of user:password@host, unless it is an example, put in later, or the tag of an image that its digest follows."""
    value, user, host = match["value"], match["user"], match["host"].lower()
    made_up = value == user or _is_placeholder(value) or len(set(value)) < 3 or host in {b"sha256", b"sha512"}
    return not made_up and INTERPOLATED.search(host) is None and not _is_example(host)


def email(match: Match) -> bool:
    """An address of a person: not an example, a clone address, a file name, or code such as a@b.c()."""
    domain = match["domain"].lower()
    local = match["value"].partition(b"@")[0].lower()
    top = domain.rpartition(b".")[2]
    if local in {b"git", b"hg", b"svn"} or _is_example(domain) or (len(top) > 2 and top not in TOP_DOMAINS):
        return False
    text, start = match.string, match.start("value")
    word = re.split(rb"[\s\"'`<>(),;]|(?<!%)(?<!%\0)\0", text[max(0, start - 200) : start])[-1]
    if b"://" in word and b"/" not in word.partition(b"://")[2]:
        return False  # the user of an URL
    return not (local in MADE_UP_LOCALS and domain.startswith((b"host", b"domain", b"email.", b"mail.")))


def person(match: Match) -> bool:
    """Two or more capitalised words that no organisation goes by."""
    words = match["value"].split()
    domain = match.groupdict().get("domain")
    if domain is not None and _is_example(domain.lower()):
        return False
    return not any(word.strip(b".,").lower() in NOT_A_PERSON for word in words)


def ipv4(match: Match) -> bool:
    """A public address; private, documented and well-known ones stay, and a version number is none."""
    value = match["value"]
    address = ipaddress.IPv4Address(value.decode())
    octets = value.split(b".")
    if not address.is_global or address.is_multicast or value in WELL_KNOWN_ADDRESSES or len(set(octets)) == 1:
        return False
    line, before = _line(match)
    if VERSION_CONTEXT.search(line) or re.search(rb"(?:\w/|\bv\.? ?|[<>=~^] ?)\Z", before):
        return False
    small = sum(len(octet) == 1 for octet in octets)
    # 1.2.3.4 and 10.2.1.0 are mostly versions or sections: only a word such as host beside them makes them addresses.
    return small < 2 or ADDRESS_CONTEXT.search(line) is not None


def ipv6(match: Match) -> bool:
    """A public address, as for IPv4."""
    value = match["value"].lower()
    try:
        address = ipaddress.IPv6Address(value.decode())
    except ValueError:
        return False
    # 2002:: and the like are whole networks.
    return address.is_global and not value.endswith(b"::") and value not in WELL_KNOWN_ADDRESSES


def names_secret(match: Match) -> bool:
    """Whether the whole name, of which the rule saw the end, says secret: access_token does, tokenizer and token_url do not."""
    return says_secret(_name(match))


def _name(match: Match) -> bytes:
    if "name" in match.re.groupindex:
        return match["name"]
    text, start = match.string, match.start()
    before = NAME_END.search(text, max(0, start - 60), start)
    end = NAME_BEGIN.match(text, start, match.start("value"))
    return (before[0] if before else b"") + (end[1] if end else b"")


def says_secret(name: bytes) -> bool:
    """Whether a whole name does."""
    words = [word.lower() for word in WORDS.findall(name)]
    pairs = [first + second for first, second in zip(words, words[1:], strict=False)]
    known = not NAME_WORDS.isdisjoint([*words, *pairs]) and b"public" not in words
    return known and words[-1] not in NOT_THE_SECRET


def entropy(value: bytes) -> float:
    """Bits for each byte, from the value's own frequencies."""
    return -sum(n / len(value) * math.log2(n / len(value)) for n in Counter(value).values())


def looks_random(value: bytes) -> bool:
    """Letters and digits that make no words and stand for no UUID or example."""
    if _is_placeholder(value) or UUID.fullmatch(value) or not (any(map(_digit, value)) and any(map(_letter, value))):
        return False
    return entropy(value) >= 3.0 and not _wordy(value)


def plainly_random(value: bytes) -> bool:
    """As looks_random, for where code looks alike."""
    mixed = _digits(value) >= 2 or (any(map(_lower, value)) and any(map(_upper, value)))
    return mixed and entropy(value) >= 3.3 and looks_random(value)


def _rich(value: bytes) -> bool:
    """Letters, digits and many different signs, as web frameworks draw their secrets from; a regular expression has ranges in it."""
    signs = {byte for byte in value if _sign(byte)}
    if len(value) < RICH_LENGTH or RANGE.search(value) or PLACEHOLDER.search(value):
        return False
    return len(signs) >= 5 and _digits(value) >= 3 and entropy(value) >= 4 and not _wordy(value)


def _is_token_uuid(match: Match) -> bool:
    """A UUID is mostly a name; given to a token it is the token."""
    words = [word.lower() for word in WORDS.findall(_name(match))]
    return words[-1] in {b"token", b"secret"} and _drawn_uuid(match["value"])


def _drawn_uuid(value: bytes) -> bool:
    return DRAWN_UUID.fullmatch(value) is not None and len(set(value)) >= 10


def _is_hash(match: Match) -> bool:
    """Hex digits as long as a hash, on a line that speaks of one."""
    value = match["value"]
    return len(value) in HASH_LENGTHS and HEX.fullmatch(value) is not None and HASH_WORDS.search(_line(match)[0]) is not None


def _is_placeholder(value: bytes) -> bool:
    return value.lower() in PLACEHOLDER_VALUES or PLACEHOLDER.search(value) is not None or INTERPOLATED.search(value) is not None


def _wordy(value: bytes) -> bool:
    """Whether most of a value is words: a name, a path, a sentence. Words are there by chance where letters and digits take turns."""
    if len(value) >= 16 and len(TURN.findall(value)) >= len(value) / 4:
        return False
    parts = PARTS.findall(value)
    words = sum(len(part) for part in parts if len(part) >= 3 and not part.isdigit() and VOWEL.search(part))
    return words >= 0.6 * len(value)


def _is_example(domain: bytes) -> bool:
    return any(domain == known or domain.endswith(b"." + known) for known in EXAMPLE_DOMAINS)


def _line(match: Match) -> tuple[bytes, bytes]:
    """The line around a match (at most 200 bytes to each side), and its part before the value."""
    text, start, end = match.string, match.start("value"), match.end("value")
    before = text[max(0, start - 200) : start].rpartition(b"\n")[2]
    return before + text[start : end + 200].partition(b"\n")[0], before


def _digits(value: bytes) -> int:
    return sum(map(_digit, value))


def _lower(byte: int) -> bool:
    return 97 <= byte < 123


def _upper(byte: int) -> bool:
    return 65 <= byte < 91


def _digit(byte: int) -> bool:
    return 48 <= byte < 58


def _letter(byte: int) -> bool:
    return _lower(byte) or _upper(byte)


def _sign(byte: int) -> bool:
    return not (_letter(byte) or _digit(byte))
