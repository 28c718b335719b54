"""What git has given of a repository, put aside on disk: nobody asks for it again, in a later stage or another process either."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from finetune.data.repos.git import Blob, Store
from finetune.data.texts import decode

CONTENTS, PLACES = "contents", "places.pickle"


class _Place(NamedTuple):
    """Where a blob's bytes lie; `file` is 0 or, behind what another one has left, 1."""

    file: int
    begin: int
    size: int


class Aside:
    """Blobs by the folder of their objects and by id: the bytes in a file of the new `folder`, of each some 300 bytes in memory.

    `begin` is the folder that another one was saved in: what lies there is given from there. Of what has no bytes, or is no text,
    the reason is kept.
    """

    def __init__(self, folder: Path, *, begin: Path | None = None) -> None:
        folder.mkdir()
        self.folder = folder
        self._places: dict[str, dict[str, _Place | str]] = {} if begin is None else pickle.loads((begin / PLACES).read_bytes())
        self._files = [*([] if begin is None else [(begin / CONTENTS).open("rb")]), (folder / CONTENTS).open("x+b")]
        self._end = 0
        self._wanted: Container[str] | None = None

    def take(self, wanted: Container[str] | None) -> None:
        """What is put aside from now on: blobs of these ids alone, or with None all that are read."""
        self._wanted = wanted

    def through(
        self, objects: str, oids: Sequence[str], read: Callable[[list[str]], Iterator[Blob]], max_bytes: int, *, whole: bool = False
    ) -> Iterator[Blob]:
        """One Blob for each id, in order: those that are here, and what `read` gives of the others. `whole`: bytes of no text too."""
        places = self._places.setdefault(objects, {})
        here = {oid for oid in oids if isinstance(places.get(oid), _Place if whole else _Place | str)}
        rest = read([oid for oid in oids if oid not in here])
        for oid in oids:
            if oid in here:
                yield self._given(oid, places[oid], max_bytes)
                continue
            blob = next(rest)
            if self._wanted is None or oid in self._wanted:
                places[oid] = self._put(blob, whole=whole)
            yield blob

    def save(self) -> None:
        """Leaves in the folder where everything lies."""
        self._files[-1].flush()
        (self.folder / PLACES).write_bytes(pickle.dumps(self._places, protocol=pickle.HIGHEST_PROTOCOL))

    def close(self) -> None:
        """Lets the files go."""
        for file in self._files:
            file.close()

    def _put(self, blob: Blob, *, whole: bool) -> _Place | str:
        if reason := blob.reason if whole or not blob.content else decode(blob).reason:
            return reason
        place = _Place(len(self._files) - 1, self._end, len(blob.content))
        file = self._files[-1]
        file.seek(place.begin)
        self._end += file.write(blob.content)
        return place

    def _given(self, oid: str, place: _Place | str, max_bytes: int) -> Blob:
        if isinstance(place, str):
            return Blob(oid, reason=place)
        if place.size > max_bytes:
            return Blob(oid, reason="too_large")
        file = self._files[place.file]
        file.seek(place.begin)
        return Blob(oid, file.read(place.size))


@contextmanager
def keeping(store: Store, kept: Aside | None) -> Iterator[tuple[Store, Aside]]:
    """The store, all that is read of it put into `kept`, and that; None: one that is gone with the store."""
    if kept is not None:
        kept.take(None)
        yield store._replace(kept=kept), kept
        return
    with closing(Aside(store.folder / "aside")) as own:
        yield store._replace(kept=own), own
