"""SPDX licence expressions as people write them, and ScanCode's category of each identifier."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files

UNKNOWN = "LicenseRef-unknown"  # there are terms, and they are none of the known ones
OPERATORS = {"AND", "OR", "WITH"}
CHOICE = re.compile(r"(?<=[\w.+])/(?=\w)")  # Cargo's old way to write OR
NAME = re.compile(r"[A-Za-z][\w.+-]*")
PERMISSIVE = {"Permissive", "Public Domain"}
REFERENCES = ("licenseref-", "documentref-")


def expression_in(words: str) -> str:
    """The SPDX expression at the start of a line, without what follows it; "" where there is none.

    Operators may be written small, as SPDX 3 allows, and OR as a stroke, as Cargo once did, where a known identifier follows: "MIT and
    GPL-2.0-only" names two licences, "MIT and then more" one.
    """
    kept: list[str] = []
    line = CHOICE.sub(" / ", words).replace("(", " ( ").replace(")", " ) ").split()
    first = next((word for word in line if word != "("), "")
    if not _is_known(first):  # a line that speaks of the tag, or a name of one's own, which stands alone
        return first if line == [first] and NAME.fullmatch(first) else ""
    for word, after in zip(line, [*line[1:], ""], strict=True):
        operator = _operator(word, after)
        if kept and kept[-1] not in {*OPERATORS, "("} and operator is None and word != ")":
            break
        kept.append(operator or word)
    return " ".join(kept).replace("( ", "(").replace(" )", ")").rstrip("-")


def joined(expressions: Iterable[str | None], operator: str = "AND") -> str | None:
    """One expression of several, each named once and in order of name; None where there is none."""
    names = sorted({name for name in expressions if name})
    return f" {operator} ".join(f"({name})" if " " in name and len(names) > 1 else name for name in names) or None


@functools.cache
def categories() -> Mapping[str, tuple[str, str]]:
    """ScanCode's licence index: SPDX identifier in small letters -> (identifier, category)."""
    index = json.loads((files("license_expression") / "data" / "scancode-licensedb-index.json").read_text(encoding="utf-8"))
    found: dict[str, tuple[str, str]] = {}
    for entry in index:
        for name in (entry["spdx_license_key"], *entry["other_spdx_license_keys"]):
            if name:
                found.setdefault(name.lower(), (name, entry["category"]))
    return found


def is_permissive(name: str) -> bool:
    """Whether an SPDX identifier, in small letters, names a permissive licence or the public domain."""
    return name in categories() and categories()[name][1] in PERMISSIVE


def _operator(word: str, after: str) -> str | None:
    if word in OPERATORS:
        return word
    operator = "OR" if word == "/" else word.upper()
    return operator if operator in OPERATORS and (after == "(" or _is_known(after)) else None


def _is_known(name: str) -> bool:
    lowered = name.lower().rstrip("+")
    return lowered.startswith(REFERENCES) or lowered in categories()
