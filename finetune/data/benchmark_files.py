"""Benchmarks as they are published, JSONL files of tasks, to the texts that are kept out of the data."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from finetune.data.decontaminate import Benchmarks, Needle, squeezed
from finetune.data.report import Texts
from finetune.errors import DataError
from finetune.files import of_user

SHARED = 2  # tasks of one file that may hold the same text; what more of them hold is a form, no task
SHORTEST_FUNCTION = 24  # characters: a function is a task's own sooner than a sentence, by its name and its parameters
HEAD = 1 << 20  # bytes of a file that a look at it reads
_ENDINGS = (".jsonl", ".jsonl.gz", ".json", ".json.gz")
_NAMES = ("task_id", "id", "name", "question_id", "problem_id")
_SOLUTIONS = ("canonical_solution", "buggy_solution", "solution", "completion")
_DOCSTRING = re.compile(r"(\"\"\"|\'\'\').*?\1", re.DOTALL)
_PREAMBLE = re.compile(r"\s*(?:#include|using|import|from|use|package)\b[^\n]*\n")


class Benchmark(NamedTuple):
    """The texts of a path's files, and how many they are by the name of the file."""

    needles: list[Needle]
    texts: dict[str, Texts]


class _Text(NamedTuple):
    """One text of an item: its content without white space, the item's place in the file, its task and its field."""

    content: bytes
    item: int
    task: str
    field: str

    @property
    def characters(self) -> int:
        return len(self.content.decode("utf-8", "surrogatepass"))


def read_benchmarks(benchmarks: Sequence[Benchmark]) -> Benchmarks:
    """All of them together."""
    texts: dict[str, Texts] = {}
    for benchmark in benchmarks:
        for name, counted in benchmark.texts.items():
            texts[name] = texts.get(name, Texts()) + counted
    return Benchmarks([needle for benchmark in benchmarks for needle in benchmark.needles], texts)


def read_benchmark(path: str, *, fields: Sequence[str], min_characters: int) -> Benchmark:
    """The texts of a benchmark's file, or of every such file of a folder: those of the named fields, or of all that hold text.

    Left out are texts with fewer characters than `min_characters`, white space not counted, and those that more than `SHARED` tasks of a
    file have in common; the same task in several languages is one. A solution that is too short by itself is looked for behind its
    declaration, from `SHORTEST_FUNCTION` characters on. Raises DataError when the file is none, or has nothing to look for.
    """
    read = {file: _read(file, fields, min_characters) for file in _files(path)}
    needles = [needle for found, _ in read.values() for needle in found]
    return Benchmark(needles, {file.name: texts for file, (_, texts) in read.items()})


def check_benchmark(path: str, *, fields: Sequence[str], min_characters: int) -> None:
    """Raises DataError with what `read_benchmark` would refuse in each file; a long one is read until it has the fields."""
    faults = []
    for file in _files(path):
        try:
            _check(file, fields, min_characters)
        except DataError as error:
            faults.append(str(error))
    if faults:
        raise DataError("\n".join(faults))


def _check(file: Path, fields: Sequence[str], min_characters: int) -> None:
    long = file.is_file() and file.stat().st_size > HEAD
    if not long or _missing(fields, _rows(file, whole=False)):
        _read(file, fields, min_characters)


def _files(path: str) -> list[Path]:
    place = of_user(path)
    files = sorted(file for file in place.iterdir() if file.name.endswith(_ENDINGS)) if place.is_dir() else [place]
    if not files:
        raise DataError(f"data.decontaminate: {path}: no {', '.join(_ENDINGS)} file in this folder; write the path of one")
    return files


def _missing(fields: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [field for field in fields if not any(field in row for row in rows)]


def _require(fields: Sequence[str], rows: Sequence[Mapping[str, Any]], file: Path) -> None:
    if not rows:
        raise DataError(f"data.decontaminate: {file}: holds no item; write the path of a JSONL file that does")
    if missing := _missing(fields, rows):
        known = sorted({key for row in rows for key in row})
        raise DataError(
            f"data.decontaminate: {file}: no item has a field {' or '.join(map(repr, missing))}; write one of {', '.join(known)}"
        )


def _read(file: Path, fields: Sequence[str], min_characters: int) -> tuple[list[Needle], Texts]:
    rows = _rows(file)
    _require(fields, rows, file)
    found = [*dict.fromkeys(text for number, row in enumerate(rows) for text in _texts(row, number, fields or (*row,)))]
    tasks: defaultdict[bytes, set[str]] = defaultdict(set)
    for text in found:
        tasks[text.content].add(text.task)
    wanted, counts = [], Counter[str]()
    for text in found:
        long, own = text.characters >= min_characters, len(tasks[text.content]) <= SHARED
        if long and own:
            wanted.append(text)
        elif function := _function(rows[text.item], text, min(SHORTEST_FUNCTION, min_characters)):
            wanted.append(function)
        elif text.field not in _NAMES:
            counts["shared" if long else "too_short"] += 1
    if not wanted:
        raise DataError(
            f"data.decontaminate: {file}: no text of {min_characters} characters or more in {', '.join(fields) or 'any field'}; "
            "write other fields, or a smaller min_characters"
        )
    named = [Needle(text.content, f"{file.name}: {_name(rows[text.item], text.item)}, {text.field}") for text in wanted]
    return named, Texts(len(wanted), counts["too_short"], counts["shared"])


def _texts(row: Mapping[str, Any], number: int, fields: Sequence[str]) -> Iterator[_Text]:
    task = _name(row, number).rpartition("/")[2]  # Python/7 and Go/7 are one
    for field in fields:
        for content in filter(None, map(squeezed, _strings(row.get(field)))):
            yield _Text(content, number, task, field)


def _function(row: Mapping[str, Any], solution: _Text, shortest: int) -> _Text | None:
    """A solution's function whole, as code has it: without imports in front and a docstring within; None where that is too short."""
    field = next((field for field in ("declaration", "prompt") if isinstance(row.get(field), str)), None)
    if solution.field not in _SOLUTIONS or field is None:
        return None
    head = _DOCSTRING.sub("", row[field])
    while preamble := _PREAMBLE.match(head):
        head = head[preamble.end() :]
    joined = solution._replace(content=squeezed(head) + solution.content, field=f"{field} + {solution.field}")
    return joined if head.strip() and joined.characters >= shortest else None


def _name(row: Mapping[str, Any], number: int) -> str:
    return next((str(row[key]) for key in _NAMES if key in row), str(number))


def _rows(file: Path, *, whole: bool = True) -> list[dict[str, Any]]:
    """The items of a file, or of the whole lines at its beginning."""
    lines = ".json" not in file.suffixes
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as opened:
            content = opened.read(-1 if whole else HEAD)
        text = (content if whole else content[: content.rfind(b"\n") + 1] if lines else b"").decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        found = getattr(error, "strerror", None) or error
        raise DataError(f"data.decontaminate: {file}: {found}; write the path of a JSONL file in UTF-8") from error
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
