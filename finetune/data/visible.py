"""What a reader sees of an HTML page."""

from __future__ import annotations

import re
from html import unescape

# Searches, not a parser: the number of characters is all that is wanted.
_UNSEEN = re.compile(r"<!--.*?(?:-->|\Z)|<(script|style|head|template|noscript|svg)\b[^>]*>.*?(?:</\1\s*>|\Z)", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z!?][^<>]*>")


def visible_text(html: str) -> str:
    """The text between the tags, without scripts and styles, blanks as a browser runs them together."""
    return " ".join(unescape(_TAG.sub(" ", _UNSEEN.sub(" ", html))).split())
