"""Encoded samples on disk, two or four bytes and a bit a token, until they are shuffled and packed."""

from __future__ import annotations

from array import array
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from finetune.data.build.mapped import save
from finetune.data.mine import Mined
from finetune.data.spool import Writer, write_spool
from finetune.data.tokens import TYPECODE
from finetune.records import IGNORED, Encoded, Origin

SIZE = np.dtype([("tokens", np.int32), ("learnt", np.int32), ("valid", np.bool_)])


class Stored(NamedTuple):
    """A sample as it lies on disk: what of `Mined` is not known of it otherwise, its ids, whether each is learnt, its marks."""

    miner: str
    origins: tuple[Origin, ...]
    turns: tuple[int, ...]
    ids: bytes
    learnt: bytes
    marks: bytes
    wide: bool

    @property
    def encoded(self) -> Encoded:
        """Its ids and labels."""
        ids = np.frombuffer(self.ids, dtype=np.uint32 if self.wide else np.uint16).astype(np.int32)
        learnt = np.unpackbits(np.frombuffer(self.learnt, dtype=np.uint8), count=len(ids)).view(np.bool_)
        labels = np.where(learnt, ids, np.int32(IGNORED))
        return Encoded(array(TYPECODE, ids.tobytes()), array(TYPECODE, labels.tobytes()), array(TYPECODE, self.marks))


def stored(mined: Mined, *, wide: bool) -> Stored:
    """A sample for the disk; `wide`: the vocabulary needs four bytes."""
    encoded = mined.encoded
    ids = np.asarray(encoded.input_ids, dtype=np.uint32 if wide else np.uint16)
    learnt = np.packbits(np.asarray(encoded.labels) != IGNORED)
    marks = array(TYPECODE, encoded.marks).tobytes()
    return Stored(mined.miner, mined.origins, mined.turns, ids.tobytes(), learnt.tobytes(), marks, wide)


class SampleWriter:
    """Puts samples into a spool at `path`, and beside it of each its tokens, how many of them are learnt, and its side."""

    def __init__(self, path: Path, *, wide: bool) -> None:
        self._path, self._wide = path, wide
        self._sizes: list[tuple[int, int, bool]] = []
        self._open = ExitStack()
        self._spool: Writer[Stored] = self._open.enter_context(write_spool(path, Stored))

    def append(self, mined: Mined, *, valid: bool) -> None:
        """Puts a sample at the end."""
        labels = np.asarray(mined.encoded.labels)
        self._sizes.append((len(labels), int(np.count_nonzero(labels != IGNORED)), valid))
        self._spool.append(stored(mined, wide=self._wide))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()
        save(sizes_of(self._path), np.array(self._sizes, dtype=SIZE))


def sizes_of(path: Path) -> Path:
    """Where the sizes of the samples in a spool lie."""
    return path.with_name(f"{path.name}.sizes.npy")


def wide(vocabulary_size: int) -> bool:
    """Whether ids need four bytes."""
    return vocabulary_size > 1 << 16
