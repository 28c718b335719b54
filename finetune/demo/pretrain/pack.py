"""Rows of one length for pretraining, in StarCoder 2's repository format with fill-in-the-middle.

One row is one sample of one repository; the kind is drawn for each row:

    repo    <repo_name>NAME <file_sep>path\\ncode <file_sep><fim_prefix>path\\nprefix <fim_suffix>suffix <fim_middle>middle ...
            <|endoftext|>
    files   <file_sep>code <file_sep><fim_prefix><fim_suffix>suffix <fim_middle>prefix middle ... <|endoftext|>
    single  <fim_prefix>prefix <fim_suffix>suffix <fim_middle>middle <|endoftext|> code <|endoftext|> ...

Window first: the text that fits in what is left of a row is cut, then split, so a middle is never cut and always ends in a stop token.
Only plain code may run to the end of a row unfinished; the next row then goes on with the rest of the file as text of its own.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from tokenizers import Tokenizer

from finetune.demo.pretrain.corpus import File
from finetune.demo.pretrain.tokenizer import END, FILE_SEP, FIM_MIDDLE, FIM_PAD, FIM_PREFIX, FIM_SUFFIX, REPO_NAME

Kind = Literal["repo", "files", "single"]
Shape = Literal["free", "line", "lines", "span"]
Name = TypeVar("Name", bound=str)
FIM_ROOM = 6  # three sentinels, the stop and two tokens of split loss: more loss than that and the window is cut again
SMALLEST = 48  # tokens: what is left of a row is padding below this


class Mix(NamedTuple):
    """Shares: of row kinds, of windows that become FIM, of hole shapes, of SPM among FIM, of FIM windows smaller than the room."""

    kinds: dict[Kind, float]
    fim: float
    holes: dict[Shape, float]
    spm: float
    short: float


class Hole(NamedTuple):
    """Where the middle is, in characters."""

    start: int
    end: int


def rows(files: list[File], tokenizer: Tokenizer, mix: Mix, *, length: int, seed: int) -> Iterator[np.ndarray]:
    """Every file once, as rows of exactly `length` token ids; a repository's files come in random order."""
    by_repo: dict[str, list[File]] = defaultdict(list)
    for file in files:
        by_repo[file.repo].append(file)
    for repo, own in by_repo.items():
        rng = random.Random(f"{seed} {repo}")
        rng.shuffle(own)
        texts = [Text(file, tokenizer) for file in own]
        writer = RowWriter(repo, tokenizer, mix, rng=rng, length=length)
        queue = texts[::-1]
        while queue:
            yield writer.row(queue)


class Text:
    """What is left of a file, with the characters where its tokens end."""

    def __init__(self, file: File, tokenizer: Tokenizer) -> None:
        self.path, self.text, self.at = file.path, file.text, 0
        encoded = tokenizer.encode(file.text)
        self.ends = np.fromiter((end for _, end in encoded.offsets), np.int32, len(encoded.offsets))

    def left(self) -> int:
        """Tokens that are left, about."""
        return len(self.ends) - int(np.searchsorted(self.ends, self.at, side="right"))

    def window(self, tokens: int) -> str:
        """The next text of about that many tokens, to a line's end where one is in its last quarter."""
        first = int(np.searchsorted(self.ends, self.at, side="right"))
        if first + tokens >= len(self.ends):
            return self.text[self.at :]
        end = int(self.ends[first + tokens - 1])
        line = self.text.rfind("\n", self.at + (end - self.at) * 3 // 4, end)
        return self.text[self.at : line + 1 if line >= 0 else end]


class RowWriter:
    """Writes rows of one repository."""

    def __init__(self, repo: str, tokenizer: Tokenizer, mix: Mix, *, rng: random.Random, length: int) -> None:
        self.repo, self.tokenizer, self.mix, self.rng, self.length = repo, tokenizer, mix, rng, length

    def row(self, queue: list[Text]) -> np.ndarray:
        """One row; takes texts, or a window of one, from the end of the queue."""
        kind = self._draw(self.mix.kinds)
        ids = [REPO_NAME, *self._encode(self.repo)] if kind == "repo" else []
        while queue and self.length - len(ids) >= SMALLEST:
            text = queue[-1]
            ids += self._piece(text, kind, self.length - len(ids))
            if text.at >= len(text.text):
                queue.pop()
        if kind != "single" and len(ids) < self.length and ids[-1] != END:
            ids.append(END)
        row = np.full(self.length, FIM_PAD, np.uint16)
        row[: len(ids)] = ids
        return row

    def _piece(self, text: Text, kind: Kind, room: int) -> list[int]:
        """The next window of a text as ids, never more than `room`."""
        before = [] if kind == "single" else [FILE_SEP]
        header = f"{text.path}\n" if kind == "repo" else ""
        stop = [END] if kind == "single" else []
        room -= len(before) + 1
        if self.rng.random() < self.mix.fim and (ids := self._fim(text, header, room)):
            return before + ids + stop
        whole = header + text.window(room)
        ids = self._encode(whole)
        if len(ids) <= room and text.at + len(whole) - len(header) >= len(text.text):
            text.at = len(text.text)
            return before + ids + stop
        return before + self._unfinished(text, header, room + 1)

    def _unfinished(self, text: Text, header: str, room: int) -> list[int]:
        """Plain code to the very end of the row, without a stop."""
        encoded = self.tokenizer.encode(header + text.text[text.at : text.at + 12 * room + 64])
        ids = encoded.ids[:room]
        text.at += max(encoded.offsets[len(ids) - 1][1] - len(header), 0)
        return ids

    def _fim(self, text: Text, header: str, room: int) -> list[int]:
        """A window with its middle moved to the end, or nothing where a long path leaves no room."""
        tokens = room - FIM_ROOM
        if tokens > 2 * SMALLEST and self.rng.random() < self.mix.short:
            tokens = self.rng.randint(SMALLEST, tokens)
        while tokens >= SMALLEST // 4:
            window = text.window(tokens)
            hole = find_hole(window, self._draw(self.mix.holes), self.rng)
            ids = self._split(window, hole, header)
            if len(ids) <= room:
                text.at += len(window)
                return ids
            tokens -= max(len(ids) - room, 4)
        return []

    def _split(self, window: str, hole: Hole, header: str) -> list[int]:
        prefix = self._encode(header + window[: hole.start])
        middle = self._encode(window[hole.start : hole.end])
        suffix = self._encode(window[hole.end :])
        if self.rng.random() < self.mix.spm:
            return [FIM_PREFIX, FIM_SUFFIX, *suffix, FIM_MIDDLE, *prefix, *middle]
        return [FIM_PREFIX, *prefix, FIM_SUFFIX, *suffix, FIM_MIDDLE, *middle]

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text).ids

    def _draw(self, shares: Mapping[Name, float]) -> Name:
        return self.rng.choices(list(shares), weights=list(shares.values()))[0]


def find_hole(text: str, shape: Shape, rng: random.Random) -> Hole:
    """The middle of a text: `free` between any two characters, `line` a line's rest, `lines` a few whole lines, `span` within a line."""
    if shape == "free":
        start, end = sorted((rng.randint(0, len(text)), rng.randint(0, len(text))))
        return Hole(start, end)
    lines = line_spans(text)
    full = [index for index, (start, end) in enumerate(lines) if text[start:end].strip()]
    if not full:
        return Hole(0, len(text))
    index = rng.choice(full)
    start, end = lines[index]
    first = start + len(text[start:end]) - len(text[start:end].lstrip())
    match shape:
        case "line":
            return Hole(first if rng.random() < 0.6 else rng.randint(first, end - 1), end)
        case "lines":
            last = lines[min(index + rng.randint(1, 5), len(lines) - 1)][1]
            return Hole(rng.choice((first, start)), last)
        case _:
            ends = sorted((rng.randint(first, end), rng.randint(first, end)))
            return Hole(ends[0], ends[1])


def line_spans(text: str) -> list[tuple[int, int]]:
    """Start and end of every line, without its newline."""
    spans, at = [], 0
    for line in text.split("\n"):
        spans.append((at, at + len(line)))
        at += len(line) + 1
    return spans
