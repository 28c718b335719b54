"""Holes to fill: pieces taken out of held-out files, and the prompt that asks for them.

    line    a whole line, or the rest of one from a place within it
    span    some characters, within a line or over up to three
    block   the body under a line that opens one, or 3 to 8 lines in a row

    expression, arguments, body    a part of the syntax (data/syntax.py); a file in a language without a grammar has none

A hole's ends are characters, never tokens. The truth of a line or a block ends before the line end, so that the suffix begins with one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from random import Random
from typing import Literal, NamedTuple

from finetune.data.render import Encoder, encode_prompt
from finetune.data.syntax import spans
from finetune.errors import EvaluateError
from finetune.families import Family
from finetune.hashing import generator, stable_hash
from finetune.records import FimPrompt, Origin, Prompt, SourceFile, TextPrompt

Kind = Literal["line", "span", "block", "expression", "arguments", "body"]
Cut = Callable[[Sequence["Line"], int, Random], tuple[int, int] | None]

_BLOCK_LINES = (3, 8)
_SPAN_LINES = 3
_CHARACTERS_PER_TOKEN = 16  # more than any tokenizer gives on average: what lies further off can not fit into the room


@dataclass(frozen=True, slots=True)
class Hole:
    """A file with a piece taken out: prefix + truth + suffix is the file's text, until `fit` cuts the far ends off."""

    origin: Origin
    kind: Kind
    prefix: str
    truth: str
    suffix: str


class Line(NamedTuple):
    """A line as offsets into its text, without its line end."""

    start: int
    end: int
    indent: int

    @property
    def blank(self) -> bool:
        return self.start + self.indent == self.end


def draw_holes(files: Sequence[SourceFile], kind: Kind, *, count: int, seed: int, accept: Callable[[Hole], bool]) -> list[Hole]:
    """At most `count` holes that `accept` takes, one file after the other in turn, so that no large file outweighs the rest.

    A file's holes depend on seed, repository and path alone: a file more or less changes no other file's holes.
    """
    ordered = sorted(files, key=lambda file: (stable_hash(seed, file.origin.repo, file.origin.path), file.origin.repo, file.origin.path))
    sources = [filter(accept, holes_of(file, kind, seed=seed)) for file in ordered]
    return list(islice(_in_turn(sources), count))


def _in_turn(sources: Iterable[Iterator[Hole]]) -> Iterator[Hole]:
    waiting = deque(sources)
    while waiting:
        source = waiting.popleft()
        hole = next(source, None)
        if hole is not None:
            yield hole
            waiting.append(source)


def holes_of(file: SourceFile, kind: Kind, *, seed: int) -> Iterator[Hole]:
    """Every hole of one kind in a file, one for each line or part of the syntax it can begin on, in an order drawn by the seed."""
    cut = _CUTS.get(kind)
    found = _parts(file, kind, seed) if cut is None else _cuts(file, kind, cut, seed)
    for start, end in found:
        if _worth_asking(file.text[start:end]):
            yield Hole(file.origin, kind, prefix=file.text[:start], truth=file.text[start:end], suffix=file.text[end:])


def _parts(file: SourceFile, kind: Kind, seed: int) -> Iterator[tuple[int, int]]:
    assert kind in {"expression", "arguments", "body"}
    parts = spans(file.text, file.language)[kind]
    generator(seed, file.origin.repo, file.origin.path, kind).shuffle(parts)
    yield from parts


def _cuts(file: SourceFile, kind: Kind, cut: Cut, seed: int) -> Iterator[tuple[int, int]]:
    lines = lines_of(file.text)
    places = list(range(len(lines)))
    generator(seed, file.origin.repo, file.origin.path, kind).shuffle(places)
    for place in places:
        random = generator(seed, file.origin.repo, file.origin.path, kind, place)
        ends = cut(lines, place, random)
        if ends is not None:
            yield ends


def lines_of(text: str) -> list[Line]:
    r"""The lines of a text; `\n` and `\r\n` end one."""
    lines, start = [], 0
    for raw in text.split("\n"):
        line = raw.removesuffix("\r")
        lines.append(Line(start, start + len(line), len(line) - len(line.lstrip())))
        start += len(raw) + 1
    return lines


def _worth_asking(truth: str) -> bool:
    """Whether a letter or digit is in it: a bracket alone says nothing about a model."""
    return any(character.isalnum() for character in truth)


def _cut_line(lines: Sequence[Line], place: int, random: Random) -> tuple[int, int] | None:
    """A whole line with its indent, or (every other time) the rest of it from a place after its first character."""
    line = lines[place]
    if line.blank:
        return None
    first = line.start + line.indent
    if random.random() < 0.5 or line.end - first < 2:
        return line.start, line.end
    return random.randrange(first + 1, line.end), line.end


def _cut_span(lines: Sequence[Line], place: int, random: Random) -> tuple[int, int] | None:
    """From any character of a line to any later one on it, or on one of the next two."""
    line = lines[place]
    if line.blank:
        return None
    last = lines[min(place + random.randrange(_SPAN_LINES), len(lines) - 1)]
    start = random.randrange(line.start, line.end)
    return None if last.blank else (start, random.randrange(max(start, last.start), last.end) + 1)


def _cut_block(lines: Sequence[Line], place: int, random: Random) -> tuple[int, int] | None:
    """The body that begins here when the line above opens one and it is no longer than a block, else some lines in a row."""
    least, most = _BLOCK_LINES
    first = lines[place]
    if first.blank:
        return None
    length = _body_length(lines, place)
    if length is None or not least <= length <= most:
        length = random.randint(least, most)
    last = place + length - 1
    if last >= len(lines) or lines[last].blank:
        return None
    return first.start, lines[last].end


def _body_length(lines: Sequence[Line], place: int) -> int | None:
    """How many lines stand at this line's indent or deeper, up to the last that is not blank, counted to one more than a block has.

    None when no body begins here. One begins where a line is deeper than the one above it, in any language written with indents.
    """
    indent = lines[place].indent
    if place == 0 or lines[place - 1].blank or lines[place - 1].indent >= indent:
        return None
    end = place
    for index in range(place, min(place + _BLOCK_LINES[1] + 1, len(lines))):
        if lines[index].blank:
            continue
        if lines[index].indent < indent:
            break
        end = index
    return end - place + 1


_CUTS: Mapping[Kind, Cut] = {
    "line": _cut_line,
    "span": _cut_span,
    "block": _cut_block,
}


def prompt_of(hole: Hole, family: Family) -> Prompt:
    """What a model is asked: both sides, or the prefix alone when its family has no fill-in-the-middle."""
    return FimPrompt(hole.prefix, hole.suffix) if family.fim is not None else TextPrompt(hole.prefix)


def fit(hole: Hole, encoder: Encoder, *, limit: int) -> Hole:
    """The hole with so much of both sides that its prompt has at most `limit` tokens: the end of the prefix, the beginning of the suffix.

    The suffix gets a quarter, or more where the prefix leaves room: what stands before the cursor tells more.
    """
    if encoder.family.fim is None:
        room = limit - len(encode_prompt(TextPrompt(""), encoder))
        return replace(hole, prefix=last_tokens(hole.prefix, encoder, count=_positive(room)))
    room = _positive(limit - len(encode_prompt(FimPrompt("", ""), encoder)))
    before = len(encoder.text(hole.prefix[-room * _CHARACTERS_PER_TOKEN :]))
    suffix = first_tokens(hole.suffix, encoder, count=max(room // 4, room - before))
    prefix = last_tokens(hole.prefix, encoder, count=room - len(encoder.text(suffix)))
    return replace(hole, prefix=prefix, suffix=suffix)


def _positive(room: int) -> int:
    if room < 1:
        raise EvaluateError(
            "evaluate.max_new_tokens: the model's context has no room for a prompt beside so many new tokens; write a smaller number"
        )
    return room


def within_hole(text: str, truth: str) -> str:
    """As much of an answer as its hole has lines: a model that writes to the right does not know where the hole ends."""
    return "\n".join(text.split("\n")[: truth.count("\n") + 1])


def last_tokens(text: str, encoder: Encoder, *, count: int) -> str:
    """The longest end of a text that is at most `count` tokens, cut where a token begins."""
    text = text[-count * _CHARACTERS_PER_TOKEN :] if count else ""
    # A cut text can take more tokens than it had as a part, so cut until it fits.
    while len(starts := encoder.token_starts(text)) > count:
        text = text[max(1, starts[-count]) :]
    return text


def first_tokens(text: str, encoder: Encoder, *, count: int) -> str:
    """The longest beginning of a text that is at most `count` tokens, cut where a token ends."""
    text = text[: count * _CHARACTERS_PER_TOKEN]
    while len(starts := encoder.token_starts(text)) > count:
        text = text[: starts[count]]
    return text
