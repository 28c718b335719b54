"""Conversations of the user's own in a JSONL file, one on a line, in either of the usual forms:

    {"messages": [{"role": "system", "content": ...}, {"role": "user", "content": ...}, {"role": "assistant", "content": ...}, ...]}
    {"prompt": ..., "completion": ...}         texts, or lists of messages

Other keys are passed over. Every line is looked at before any is used: one that can not be read is an error with its place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from finetune.errors import DataError
from finetune.files import of_user
from finetune.hashing import stable_hash
from finetune.records import Turn

_FORMS = 'write {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}'


class Place(NamedTuple):
    """A line by what is drawn for it, where it begins (bytes) and its number from 1."""

    draw: int
    offset: int
    line: int


class Dialogues(NamedTuple):
    """A file of conversations; `digest` is the SHA-256 of the file, `places` are its lines in the order of their draws."""

    path: Path
    digest: str
    places: Sequence[Place]

    def read(self) -> Iterator[tuple[Place, tuple[Turn, ...]]]:
        """The conversations in the order of their draws: no line moves another one."""
        with self.path.open("rb") as file:
            for place in self.places:
                file.seek(place.offset)
                yield place, _turns(file.readline(), f"{self.path}:{place.line}")


def open_dialogues(path: str, *, seed: int) -> Dialogues:
    """The conversations of a file. Raises DataError, with the line, when there is none or one is of another form."""
    source = of_user(path)
    whole, places = hashlib.sha256(), []
    try:
        with source.open("rb") as file:
            offset = 0
            for number, line in enumerate(file, 1):
                whole.update(line)
                if line.strip():
                    _turns(line, f"{source}:{number}")
                    places.append(Place(stable_hash(seed, "jsonl", hashlib.sha256(line.strip()).hexdigest()), offset, number))
                offset += len(line)
    except OSError as error:
        raise DataError(f"data.miners: {source}: {error.strerror}; write the path of a JSONL file of conversations") from error
    if not places:
        raise DataError(f"{source}: found no line; {_FORMS}")
    return Dialogues(source, whole.hexdigest(), sorted(places))


def _turns(line: bytes, where: str) -> tuple[Turn, ...]:
    """Questions and their answers in turn; what the system says stands before the first question."""
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: no UTF-8 ({error.reason}); save the file as UTF-8") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: no valid JSON ({error.msg} at column {error.colno}); write one JSON object a line") from error
    if not isinstance(value, dict) or not ("messages" in value or {"prompt", "completion"} <= value.keys()):
        keys = ", ".join(map(repr, value)) if isinstance(value, dict) else f"a {type(value).__name__}"
        raise DataError(f"{where}: found {keys or 'no key'}; {_FORMS}, or the keys prompt and completion")
    if "messages" in value:
        messages = _messages(value["messages"], where)
    else:
        messages = _side(value["prompt"], "user", where) + _side(value["completion"], "assistant", where)
    return _paired(messages, where)


def _side(value: Any, role: str, where: str) -> list[tuple[str, str]]:
    return [(role, _text(value, role, where))] if isinstance(value, str) else _messages(value, where)


def _messages(value: Any, where: str) -> list[tuple[str, str]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise DataError(f"{where}: found messages that are no list of objects; {_FORMS}")
    return [(str(each.get("role")), _text(each.get("content"), str(each.get("role")), where)) for each in value]


def _text(value: Any, role: str, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        found = "no text" if value is None or isinstance(value, str) else f"a {type(value).__name__}"
        raise DataError(f"{where}: found {found} as what the {role} says; write what was said")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: found half of a surrogate pair (\\ud800 to \\udfff); write the character itself") from error
    return value


def _paired(messages: Sequence[tuple[str, str]], where: str) -> tuple[Turn, ...]:
    system = messages[0][1] + "\n\n" if messages and messages[0][0] == "system" else ""
    said = messages[1:] if system else messages
    roles = [role for role, _ in said]
    if not said or len(said) % 2 or roles != ["user", "assistant"] * (len(said) // 2):
        found = ", ".join(role for role, _ in messages) or "no message"
        raise DataError(f"{where}: found {found}; write user and assistant in turn, before them a system or none")
    texts = [text for _, text in said]
    texts[0] = system + texts[0]
    return tuple(zip(texts[::2], texts[1::2], strict=True))
