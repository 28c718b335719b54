"""The word lists of the secret rules, from secret_words.json."""

from __future__ import annotations

import json
import re
from importlib.resources import files

_LISTS = json.loads((files("finetune.data") / "secret_words.json").read_text(encoding="utf-8"))


def _words(name: str) -> frozenset[bytes]:
    return frozenset(word.encode() for word in _LISTS[name])


# Parts of a name that say secret; two neighbours are looked up joined (api_key, apiKey).
NAME_WORDS = _words("names")
# A name that ends in one of these holds something about the secret: token_url, passwordField.
NOT_THE_SECRET = _words("name_ends")
PLACEHOLDER_VALUES = _words("placeholders")
# Kept for documents and tests (RFC 2606, RFC 6761), or nobody's.
EXAMPLE_DOMAINS = _words("example_domains")
# Endings of addresses beside the two-letter ones; a short list keeps a@b.shape and icon@2x.png out.
TOP_DOMAINS = _words("top_domains")
NOT_A_PERSON = _words("not_people")
WELL_KNOWN_ADDRESSES = _words("well_known_addresses")
VERSION_CONTEXT = re.compile(
    rb"(?i)\b(?:release|build|assembly|revision|rev|oid|changelog|chrome|safari|firefox|mozilla|edg|opera|applewebkit|section|chapter"
    rb"|upgrade|bump|dependenc(?:y|ies)|compat\w*|since)\b|version|urn:oid"
)
ADDRESS_CONTEXT = re.compile(
    rb"(?i)\b(?:ips?|ipv4|addr\w*|host\w*|server\w*|dns|nameserver|gateway|proxy|subnet|cidr|endpoint|remote|listen|bind|ping|ssh)\b"
)
