"""Texts of benchmarks, found wherever they stand: a model that has seen the answers can not be measured.

BigCode's rule: a text goes when it holds a benchmark's text anywhere in it, whatever the white space and the case. All needles are looked
for in one pass: at each place the next 8, 16, 24 or 32 bytes are hashed and asked for in a table; what is found is compared to its end.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from finetune.data.tally import Tally
from finetune.errors import DataError
from finetune.files import of_user
from finetune.records import Change, Item, SourceFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

REASON = "benchmark"
SHARED = 2  # items of one file that may hold the same text; what more of them hold is a form, no task
_WORD = 8  # bytes
_MOST_WORDS = 4
_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xD6E8FEB86659FD93, 0xBF58476D1CE4E5B9)
_TABLE_BITS = 20
_ENDINGS = (".jsonl", ".jsonl.gz", ".json", ".json.gz")
_NAMES = ("task_id", "id", "name", "question_id", "problem_id")


class Needle(NamedTuple):
    """A text of a benchmark, without white space and in small letters, and the item it is from: FILE: ITEM, FIELD."""

    content: bytes
    item: str


class Benchmarks:
    """The texts to keep out. Without any, nothing is looked at."""

    def __init__(self, needles: Iterable[Needle] = ()) -> None:
        self._needles: defaultdict[int, list[Needle]] = defaultdict(list)
        distinct = {needle.content: needle for needle in sorted(needles, reverse=True)}
        joined = b"\0".join(content + needle.item.encode() for content, needle in sorted(distinct.items()))
        self.digest = hashlib.sha256(joined).hexdigest()
        shortest = min(map(len, distinct), default=_WORD)
        assert shortest >= _WORD, "shorter texts are left out where benchmarks are read"
        self._words = min(_MOST_WORDS, shortest // _WORD)
        self._table = np.zeros(1 << _TABLE_BITS, dtype=np.bool_)
        for needle in distinct.values():
            window = int(self._windows(needle.content[: self._words * _WORD])[0])
            self._needles[window].append(needle)
            self._table[window >> (64 - _TABLE_BITS)] = True

    def __bool__(self) -> bool:
        return bool(self._needles)

    def find(self, text: str) -> str | None:
        """The item of a benchmark that has a text in this one: the first by place, then by name; None where there is none."""
        content = squeezed(text)
        if not self._needles or len(content) < self._words * _WORD:
            return None
        windows = self._windows(content)
        for place in np.flatnonzero(self._table[windows >> np.uint64(64 - _TABLE_BITS)]).tolist():
            found = [needle.item for needle in self._needles.get(int(windows[place]), ()) if content.startswith(needle.content, place)]
            if found:
                return min(found)
        return None

    def _windows(self, content: bytes) -> NDArray[np.uint64]:
        """A hash of the window that begins at each byte."""
        count = len(content) - self._words * _WORD + 1
        # Read in place: at each byte the eight that begin there, as one number.
        words = np.ndarray((len(content) - _WORD + 1,), dtype="<u8", buffer=content, strides=(1,))
        found = np.zeros(count, dtype=np.uint64)
        for place in range(self._words):
            mixed = words[place * _WORD : place * _WORD + count] * np.uint64(_FACTORS[place])
            found = (found ^ mixed ^ (mixed >> np.uint64(32))) * np.uint64(_FACTORS[0])
        return found


def squeezed(text: str) -> bytes:
    """The text without white space and in small letters."""
    return "".join(text.lower().split()).encode("utf-8", "surrogatepass")


def decontaminated(items: Iterable[Item], benchmarks: Benchmarks, tally: Tally) -> Iterator[Item]:
    """The items none of whose texts, messages and old versions among them, holds a benchmark's text; the item found is in the decision."""
    if not benchmarks:
        yield from items
        return
    for item in items:
        found = next((found for text in _texts(item) if (found := benchmarks.find(text))), None)
        if found is None:
            yield item
        else:
            tally.drop(item.origin, REASON, found)


def _texts(item: Item) -> tuple[str, ...]:
    match item:
        case SourceFile():
            return (item.text,)
        case Change():
            return (item.message, item.after, item.before)


def read_benchmark(path: str, *, fields: Sequence[str], min_characters: int) -> list[Needle]:
    """The texts of a benchmark's file, or of every such file of a folder: those of the named fields, or of all that hold text.

    Left out are texts with fewer characters than `min_characters`, white space not counted, and those that more than `SHARED` items of a
    file have in common. Raises DataError when the file is none, or has nothing to look for.
    """
    place = of_user(path)
    files = sorted(file for file in place.iterdir() if file.name.endswith(_ENDINGS)) if place.is_dir() else [place]
    if not files:
        raise DataError(f"data.decontaminate: {path}: no {', '.join(_ENDINGS)} file in this folder; write the path of one")
    return [needle for file in files for needle in _needles(file, fields, min_characters)]


def _needles(file: Path, fields: Sequence[str], min_characters: int) -> list[Needle]:
    rows = _rows(file)
    if missing := [field for field in fields if not any(field in row for row in rows)]:
        known = sorted({key for row in rows for key in row})
        raise DataError(f"data.decontaminate: {file}: no item has a field {missing[0]!r}; write one of {', '.join(known)}")
    found: dict[tuple[bytes, int], Needle] = {}
    for number, row in enumerate(rows):
        name = next((str(row[key]) for key in _NAMES if key in row), str(number))
        for field, text in ((each, text) for each in fields or row for text in _strings(row.get(each))):
            content = squeezed(text)
            if len(content.decode("utf-8", "surrogatepass")) >= min_characters:
                found.setdefault((content, number), Needle(content, f"{file.name}: {name}, {field}"))
    owners = Counter(content for content, _ in found)
    needles = [needle for (content, _), needle in found.items() if owners[content] <= SHARED]
    if not needles:
        raise DataError(
            f"data.decontaminate: {file}: no text of {min_characters} characters or more in {', '.join(fields) or 'any field'}; "
            "write other fields, or a smaller min_characters"
        )
    return needles


def _rows(file: Path) -> list[dict[str, Any]]:
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        text = content.decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"data.decontaminate: {file}: {error}; write the path of a JSONL file in UTF-8") from error
    lines = ".json" not in file.suffixes
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.split("\n") if lines else [text], 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"data.decontaminate: {file}:{number}: {error}; write one JSON object a line") from error
        rows += value if isinstance(value, list) else [value]
    if not all(isinstance(row, dict) for row in rows):
        raise DataError(f"data.decontaminate: {file}: found an item that is no object; write one JSON object a line")
    return rows


def _strings(value: Any) -> Iterator[str]:
    """The texts in a value, in lists and objects as well."""
    match value:
        case str():
            yield value
        case list() | tuple():
            for each in value:
                yield from _strings(each)
        case dict():
            for each in value.values():
                yield from _strings(each)
