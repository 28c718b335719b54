"""The language of a file, in linguist's names: by file name, by ending, by interpreter line, by a look at the text.

Types are linguist's: programming, markup, prose, data. `build` keeps programming, markup and prose, and of data what people write
by hand (see the filter `data_format`), as StarCoder 2's sets do.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

from finetune.data.looks import DECLARED_XML, LOOKS, USUAL

Type = Literal["programming", "markup", "prose", "data"]

HEAD = 20_000  # characters a heuristic looks at

# Plain text by its name alone, beside those linguist lists.
TEXT_NAMES = frozenset({"README", "CHANGES", "CHANGELOG", "TODO", "NOTES", "HACKING", "CONTRIBUTING", "HISTORY"})
INTERPRETER = re.compile(r"\A#![ \t]*(?P<program>\S+)(?P<rest>[^\n]*)")
VERSION = re.compile(r"[\d.]+$")


class Table(NamedTuple):
    """linguist's rules the other way round; `endings` has the main language of each ending first."""

    types: dict[str, Type]
    names: dict[str, str]
    endings: dict[str, list[str]]
    interpreters: dict[str, str]


@functools.cache
def table() -> Table:
    """The vendored table."""
    languages = json.loads((files("finetune.data") / "linguist.json").read_text(encoding="utf-8"))["languages"]
    names: dict[str, str] = {}
    interpreters: dict[str, str] = {}
    ranked: dict[str, list[tuple[bool, str]]] = defaultdict(list)
    for language, row in languages.items():
        names |= dict.fromkeys(row.get("filenames", ()), language)
        for program in row.get("interpreters", ()):
            interpreters.setdefault(program, language)
        for place, ending in enumerate(row.get("extensions", ())):
            ranked[ending.lower()].append((place > 0, language))
    endings = {ending: [language for _, language in sorted(found)] for ending, found in ranked.items()}
    return Table({language: row["type"] for language, row in languages.items()}, names, endings, interpreters)


def type_of(language: str) -> Type | None:
    """programming, markup, prose or data; None for a name linguist does not have."""
    return table().types.get(language)


def unknown_languages(names: Iterable[str]) -> Iterator[str]:
    """Of each name that linguist does not have, a line that says so, and what may be meant."""
    known = table().types
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1) or [other for other in known if other.lower() == name.lower()]
            hint = f"did you mean {near[0]}?" if near else "write linguist's name, for example Python, TypeScript or C++"
            yield f"data.languages: found {name!r}; {hint}"


def is_program(path: str) -> bool:
    """Whether the name alone tells a program's file: an ending that some programming language has first."""
    name = PurePosixPath(path).name
    named = table().names.get(name)
    if named is not None:
        return type_of(named) == "programming"
    ending = next((ending for ending in _endings(name.lower()) if ending in table().endings), None)
    return ending is not None and type_of(USUAL.get(ending, table().endings[ending][0])) == "programming"


def language_said(name: str | None) -> str | None:
    """The language a repository names in linguist-language, None where it names none that is known."""
    return None if name is None else _by_lower_name().get(name.lower().replace("-", " "))


@functools.cache
def _by_lower_name() -> dict[str, str]:
    return {language.lower().replace("-", " "): language for language in table().types}


def language_of(path: str, text: str) -> str | None:
    """The language of a file, None when it has none that is known."""
    name = PurePosixPath(path).name
    if language := table().names.get(name):
        return language
    for ending in _endings(name.lower()):
        if found := table().endings.get(ending):
            return _chosen(ending, found, text[:HEAD])
    return "Text" if name in TEXT_NAMES else _by_interpreter(text)


def _endings(name: str) -> list[str]:
    """The endings of a name, longest first: a.test.py gives .test.py and .py."""
    parts = name.split(".")[1:]
    return ["." + ".".join(parts[place:]) for place in range(len(parts))]


def _chosen(ending: str, found: list[str], head: str) -> str:
    if len(found) > 1 and "XML" in found and _compiled(DECLARED_XML).search(head):
        return "XML"
    for language, look in LOOKS.get(ending, ()):
        if _compiled(look).search(head):
            return language
    stated = _by_interpreter(head) if len(found) > 1 else None
    if stated is not None and stated in found:
        return stated
    return USUAL.get(ending, found[0])


@functools.cache
def _compiled(look: str) -> re.Pattern[str]:
    return re.compile(look, re.MULTILINE)


def _by_interpreter(text: str) -> str | None:
    if not (line := INTERPRETER.match(text)):
        return None
    program = line["program"].rpartition("/")[2]
    if program == "env":
        words = [word for word in line["rest"].split() if not word.startswith("-") and "=" not in word]
        program = words[0].rpartition("/")[2] if words else ""
    found = table().interpreters
    return found.get(program) or found.get(VERSION.sub("", program))
