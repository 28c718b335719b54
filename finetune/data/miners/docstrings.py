"""Functions and what their authors say of them: a request for the code, and a request for an explanation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Literal

from pydantic import Field, PositiveInt

from finetune.data.functions import Function, code_lines, doc_text, functions, parses, without_doc
from finetune.data.miners import MINERS, Bench, Made, Miner, Refused
from finetune.data.names import is_test
from finetune.data.syntax import GRAMMARS
from finetune.records import InstructSample, Item, SourceFile

Direction = Literal["code", "explanation"]

_UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|HACK|WIP)\b|not (?:yet )?implemented|your code here|lorem ipsum", re.IGNORECASE)
_ELSEWHERE = re.compile(r"(?:\{?@inheritDoc\}?|see (?:also )?[\w`{#:.]|same as |like |deprecated)", re.IGNORECASE)
_DEPRECATED = re.compile(r"^\s*(?:@deprecated|\.\. deprecated::|deprecated:)", re.IGNORECASE | re.MULTILINE)
_TAGS = re.compile(r"^\s*(?:@\w+|:(?:param|returns?|rtype|type|raises?)\b|\\(?:param|return)|\.\. \w+::)", re.MULTILINE)
_HISTORY = re.compile(
    r"^[ \t]*\.\. version(?:added|changed)::.*(?:\n[ \t]+\S.*|\n[ \t]*(?=\n[ \t]+\S))*\n?|^[ \t]*@since.*\n?|^[ \t]*:meta \w+:.*\n?",
    re.MULTILINE,
)
_JAVADOC = re.compile(
    r"\{@(?:(?:link|linkplain)\s+[^\s{}()]+(?:\([^(){}]*\))?\s+(?=[^\s{}])|(?:code|link|linkplain|literal|value)\s+)([^{}]*)\}"
)
_HTML = re.compile(r"</?(?:p|ul|ol|li|b|i|em|strong|code|pre|br|tt|a)(?:\s[^<>]*)?/?>", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+")
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+")
_FILLERS = {
    *("a", "an", "the", "this", "that", "of", "to", "for", "in", "on", "is", "are", "and", "or", "it", "its", "by", "with", "from"),
    *("method", "function", "returns", "return"),
}
_BODY = re.compile(
    r"(?:pass|\.\.\.|return(?: (?:None|null|nil|false|true|False|True|0|self|this|\"\"|''))?;?|raise NotImplementedError.*|super\(.*"
    r"|throw new UnsupportedOperationException.*)?"
)


@MINERS.register("docstrings")
class Docstrings(Miner):
    """Functions with a docstring or a comment that says what they do, as a request for the code and one for an explanation."""

    directions: tuple[Direction, ...] = Field(("code", "explanation"), min_length=1, description="what is asked for")
    min_words: PositiveInt = Field(6, description="least words of what is said, those of the function's own name left out")
    max_characters: PositiveInt = Field(3000, description="most characters of what is said")
    min_lines: PositiveInt = Field(2, description="least lines of the body")
    max_lines: PositiveInt = Field(150, description="most lines of the function")

    def __call__(self, item: Item, bench: Bench) -> Sequence[Made] | str:
        assert isinstance(item, SourceFile)
        if item.language not in GRAMMARS:
            return "no_syntax_known"
        if is_test(item.origin.path):
            return "test_code"
        found = [each for each in functions(item.text, item.language) if each.doc is not None]
        return [*chain.from_iterable(self._made(item, each) for each in found)] or "no_docstring"

    def _made(self, file: SourceFile, function: Function) -> Iterator[Made]:
        said, code = tidied(doc_text(file.text, function)), without_doc(file.text, function)
        name = f"{function.owner}.{function.name}" if function.owner else function.name
        if reason := self._reason(file, function, said, code):
            yield Refused(file.origin, name, reason)
            return
        kind = f"{file.language} {'method' if function.owner else 'function'}"
        owner = f" of `{function.owner}`" if function.owner else ""
        if "code" in self.directions:
            head = signature(code, file, function)
            yield InstructSample(file.origin, f"Write the {kind} `{function.name}`{owner}: {said}", head, code + "\n")
        if "explanation" in self.directions:
            yield InstructSample(file.origin, f"Explain what this {kind}{owner} does.", code, said + "\n")

    def _reason(self, file: SourceFile, function: Function, said: str, code: str) -> str | None:
        lines = code.count("\n") + 1
        body = _body(file, function)
        checks = {
            "no_body": all(_BODY.fullmatch(line) for line in body),
            "trivial_function": len(body) < self.min_lines,
            "function_too_long": lines > self.max_lines,
            "test_code": function.name.lower().startswith(("test_", "should_")),
            "unfinished": _UNFINISHED.search(said) is not None or _UNFINISHED.search(code) is not None,
            "docstring_of_tags": not said or _TAGS.match(said) is not None,
            "docstring_elsewhere": _ELSEWHERE.match(said) is not None or _DEPRECATED.search(said) is not None,
            "docstring_not_prose": _letters(said) < 0.5,
            "trivial_docstring": own_words(said, function) < self.min_words,
            "docstring_too_long": len(said) > self.max_characters,
        }
        return next((reason for reason, holds in checks.items() if holds), None) or (
            None if parses(code, file.language) else "does_not_parse"
        )


def tidied(said: str) -> str:
    """What is said without marks for tools: versions in which it changed, Javadoc's and HTML's."""
    plain = _HTML.sub("", _JAVADOC.sub(r"\1", _HISTORY.sub("", said)))
    return re.sub(r"\n{3,}", "\n\n", plain).strip()


def own_words(said: str, function: Function) -> int:
    """How many different words say something that the function's name does not."""
    named = {part.lower() for part in _PARTS.findall(f"{function.name} {function.owner}")}
    words = {word.lower() for word in _WORD.findall(_TAGS.split(said, maxsplit=1)[0])}
    return len({word for word in words if word not in named and word.rstrip("s") not in named} - _FILLERS)


def signature(code: str, file: SourceFile, function: Function) -> str:
    """The function up to its body."""
    start, _ = function.body
    head = file.text[function.whole[0] : start].rstrip()
    return code[: len(code) - len(code.lstrip())] + _dedented_head(code, head)


def _dedented_head(code: str, head: str) -> str:
    lines = code.split("\n")[: head.count("\n") + 1]
    last = head.rsplit("\n", 1)[-1].strip()
    return "\n".join([*lines[:-1], lines[-1][: lines[-1].find(last) + len(last)]]).rstrip()


def _body(file: SourceFile, function: Function) -> list[str]:
    """The lines of the body that do something."""
    start, end = function.body
    text = file.text[start:end]
    if function.doc is not None and function.doc_within:
        text = file.text[function.doc[1] : end]
    return code_lines(text.strip().removeprefix("{").removesuffix("}"), file.language)


def _letters(text: str) -> float:
    """The share of letters and blanks."""
    return sum(character.isalpha() or character.isspace() for character in text) / max(1, len(text))
