"""Bug fixes, cut down to the functions they change: a large file gives samples as well as a small one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pydantic import Field, NonNegativeInt, PositiveInt

from finetune.data.functions import Function, code_lines, dedented, functions, parses, without_doc
from finetune.data.miners import MINERS, Bench, Made, Refused
from finetune.data.miners.commits import ChangeMiner
from finetune.data.miners.commits.rules import FILE_RULES, MACHINE_RULES, NOISE_RULES, Rules, clean, first_reason, title_of
from finetune.data.names import is_test
from finetune.data.syntax import GRAMMARS
from finetune.records import Change, Item

_FIX = re.compile(
    r"\b(?:(?:bug|hot)?fix(?:e[sd]|ing)?|bugs?|regress(?:ion|ions|ed)|crash(?:es|ed|ing)?|repair(?:s|ed)?|broken|wrong(?:ly)?"
    r"|(?:in)?correct(?:s|ed|ly)?|leak(?:s|ed|ing)?|deadlocks?|races?|off[- ]by[- ]one|overflows?|panics?|hangs?|null pointer|npe)\b",
    re.IGNORECASE,
)
_FORM = re.compile(
    r"\b(?:typos?|spelling|grammar|docs?|documentation|docstrings?|javadocs?|comments?|readme|changelog|lint(?:er|ing)?|flake8|pep ?8"
    r"|mypy|pyright|style|format(?:ting)?|whitespace|indent(?:ation)?|imports?|(?:compiler |build )?warnings?|builds?|ci|tests?"
    r"|annotations?|typing|type hints?|merge|revert|review|copyright|licen[sc]e|version|release)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"[\s(\[]*(?:\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?|see|refs?|for|in)\b:?\s+)?(?:\b(?:issues?|bugs?|pr|ticket)\s*(?:no\.?\s*)?)?"
    r"(?:[\w./-]*#\d+|\bgh-\d+|\b[A-Z]{2,}-\d+)[\s)\],.:-]*$",
    re.IGNORECASE,
)
_FIRST = re.compile(r"(?:(?:bug|hot)?fix(?:e[sd]|ing)?(?:\s+for)?|(?:bug|hot)fix)\b[\s:,-]*", re.IGNORECASE)

_RULES: Rules = {
    **{reason: rule for reason, rule in FILE_RULES.items() if reason != "old_version_too_long"},
    "no_fix": lambda _, subject: _FIX.search(subject) is None,
    "fix_of_form": lambda _, subject: _FORM.search(subject) is not None,
}
_NOISE: Rules = {**MACHINE_RULES, **NOISE_RULES}


class _Pair(NamedTuple):
    """A function before and after; `name` with that of its class."""

    name: str
    before: Function
    after: Function


@MINERS.register("fixes")
class Fixes(ChangeMiner):
    """Commits that say they fix something, one sample for each function they change: `Fix ...`, the old function, the new one."""

    program_files: NonNegativeInt = Field(
        1, description="most program files in a commit, beside tests and prose; 0: it changes one file and nothing else"
    )
    max_functions: PositiveInt = Field(2, description="most functions changed in a file: who changes many does not fix one thing")
    min_words: PositiveInt = Field(3, description="least words of the subject without the number of an issue")
    max_lines: PositiveInt = Field(150, description="most lines of a function")

    def __call__(self, item: Item, bench: Bench) -> Sequence[Made] | str:
        assert isinstance(item, Change)
        self.require_tokens(bench)
        said = clean(sentence_of(item.message))
        subject = without_number(said)
        if reason := self._outside(item) or first_reason(_RULES, item, said) or first_reason(_NOISE, item, subject):
            return reason
        if not self.min_words <= len(subject.split()) < 100:
            return "subject_length"
        pairs = [*changed(item)]
        if not pairs:
            return "no_function_changed"
        return "many_functions" if len(pairs) > self.max_functions else [self._made(item, pair, subject) for pair in pairs]

    def _outside(self, change: Change) -> str | None:
        checks = {
            "many_files": change.programs > self.program_files,
            "no_syntax_known": change.language not in GRAMMARS,
            "test_code": is_test(change.origin.path),
        }
        return next((reason for reason, holds in checks.items() if holds), None)

    def _made(self, change: Change, pair: _Pair, subject: str) -> Made:
        old, new = dedented(change.before, pair.before.whole), dedented(change.after, pair.after.whole)
        if max(old.count("\n"), new.count("\n")) + 1 > self.max_lines:
            return Refused(change.origin, pair.name, "function_too_long")
        if not parses(new, change.language):
            return Refused(change.origin, pair.name, "does_not_parse")
        return self.asked(change.origin, request(subject), old + "\n", new + "\n")


def changed(change: Change) -> Iterator[_Pair]:
    """The functions of which the change changes what they do, not their comments alone."""
    old, new = _by_name(change.before, change.language), _by_name(change.after, change.language)
    for key, before in old.items():
        after = new.get(key)
        if after is not None and _code(change.before, before, change.language) != _code(change.after, after, change.language):
            yield _Pair(f"{key[0]}.{key[1]}".strip("."), before, after)


def _by_name(text: str, language: str) -> dict[tuple[str, str, int], Function]:
    """Each function by its class, its name and, where that has several of a name, its place among them."""
    seen: Counter[tuple[str, str]] = Counter()
    found = {}
    for each in functions(text, language):
        name = (each.owner, each.name)
        found[*name, seen[name]] = each
        seen[name] += 1
    return found


def _code(text: str, function: Function, language: str) -> str:
    return "".join("".join(code_lines(without_doc(text, function), language)).split())


def sentence_of(message: str) -> str:
    """The first sentence of the first paragraph; a subject may go on in the next line."""
    paragraph = re.split(r"\n[ \t]*\r?\n", message.strip(), maxsplit=1)[0]
    return title_of(re.split(r"(?<=[a-z)\]`'\"][.!?])\s+(?=[A-Z])", " ".join(paragraph.split()), maxsplit=1)[0])


def without_number(subject: str) -> str:
    """The subject without the issue it refers to at its end, which says nothing to who can not look it up."""
    return _NUMBER.sub("", subject).strip()


def request(subject: str) -> str:
    """What to write in front of the old function: the subject, as a request that begins with Fix."""
    bare = _FIRST.sub("", subject, count=1) if _FIRST.match(subject) else ""
    if not bare:
        return f"Fix this: {subject}"
    word = bare.split()[0]
    return f"Fix {bare[0].lower()}{bare[1:]}" if word.istitle() and word.isalpha() else f"Fix {bare}"
