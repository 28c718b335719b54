"""What is put aside of a repository's blobs, and which of them a long history reads more than once."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data.repos.aside import CONTENTS, Aside
from finetune.data.repos.batches import Batch, Modified, in_batches
from finetune.data.repos.git import Blob

BLOBS = {
    "text": Blob("text", b"x = 1\n"),
    "none": Blob("none", b""),
    "picture": Blob("picture", b"\x89PNG\0\0"),
    "wide": Blob("wide", "x = 1\n".encode("utf-16")),
    "latin": Blob("latin", "# café\n".encode("latin-1")),
    "pointer": Blob("pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n"),
    "lost": Blob("lost", reason="missing"),
}
REASONS = {"picture": "binary", "wide": "utf16", "latin": "not_utf8", "pointer": "lfs_pointer"}
THIN = {**BLOBS, **{oid: Blob(oid, reason=reason) for oid, reason in REASONS.items()}}
LIMIT = 1 << 20


class Git:
    """Gives blobs, and says what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, oids: list[str]) -> Iterator[Blob]:
        self.asked += oids
        return iter([BLOBS[oid] for oid in oids])


def through(aside: Aside, oids: list[str], *, whole: bool = False, limit: int = LIMIT) -> tuple[list[Blob], list[str]]:
    """The blobs, and what git was asked for."""
    git = Git()
    return [*aside.through("objects", oids, git, limit, whole=whole)], git.asked


def test_what_is_put_aside_is_given_again_and_of_no_text_the_reason(tmp_path: Path) -> None:
    with closing(Aside(tmp_path / "aside")) as aside:
        assert through(aside, [*BLOBS]) == ([*BLOBS.values()], [*BLOBS])
        assert through(aside, [*reversed(BLOBS)]) == ([*reversed(THIN.values())], [])
        assert through(aside, ["text"], limit=5) == ([Blob("text", reason="too_large")], [])
        aside.save()
    assert (tmp_path / "aside" / CONTENTS).read_bytes() == b"x = 1\n"


def test_bytes_of_no_text_are_read_for_whom_wants_them_whole_and_kept_then(tmp_path: Path) -> None:
    with closing(Aside(tmp_path / "aside")) as aside:
        through(aside, ["picture", "text"])
        assert through(aside, ["text", "picture"], whole=True) == ([BLOBS["text"], BLOBS["picture"]], ["picture"])
        assert through(aside, ["picture"]) == ([BLOBS["picture"]], [])


def test_what_was_saved_is_there_for_another_one_that_leaves_it_as_it_is(tmp_path: Path) -> None:
    with closing(Aside(tmp_path / "first")) as first:
        through(first, ["text", "picture"])
        first.save()
    lying = {path.name: path.read_bytes() for path in (tmp_path / "first").iterdir()}
    with closing(Aside(tmp_path / "second", begin=tmp_path / "first")) as second:
        second.take({"none"})
        assert through(second, [*BLOBS])[1] == ["none", "wide", "latin", "pointer", "lost"]
        new = {**BLOBS, "picture": THIN["picture"]}  # of what is not put aside now the bytes come again
        assert through(second, [*BLOBS]) == ([*new.values()], ["wide", "latin", "pointer", "lost"])
        assert [*second.through("others", ["text"], Git(), LIMIT)] == [BLOBS["text"]]
    assert {path.name: path.read_bytes() for path in (tmp_path / "first").iterdir()} == lying


def test_what_is_put_aside_is_not_in_memory(tmp_path: Path) -> None:
    oids = [f"{number:040x}" for number in range(200)]
    with closing(Aside(tmp_path / "aside")) as aside:
        tracemalloc.start()
        for _ in range(2):
            for blob in aside.through("objects", oids, lambda asked: (Blob(oid, b"x" * 100_000) for oid in asked), LIMIT):
                assert len(blob.content) == 100_000
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert held < 1_000_000


def changed(*oids: tuple[int, int]) -> list[Modified]:
    return [Modified(f"{place}", "a", "a", "Message", f"{before:040x}", f"{after:040x}", 0) for place, (before, after) in enumerate(oids)]


NUMBERS = st.sampled_from([1, 2, 3, 1 << 100, (1 << 100) + (1 << 99), 1 << 159])  # the first three have the same eight bytes at the head


@settings(max_examples=60)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=12), st.integers(1, 4))
def test_a_batch_knows_what_a_later_one_has_too(pairs: list[tuple[int, int]], size: int) -> None:
    changes = changed(*pairs)
    with TemporaryDirectory() as folder:
        batches = [*in_batches(iter(changes), size, Path(folder) / "batches")]
        assert not [*Path(folder).iterdir()]
    assert [change for batch in batches for change in batch.changes] == changes
    assert all(len(batch.changes) == size for batch in batches[:-1])
    oids = [{oid for change in batch.changes for oid in (change.before, change.after)} for batch in batches]
    for place, batch in enumerate(batches):
        later = set[str]().union(*oids[place + 1 :])
        heads = {oid[:16] for oid in later}
        assert {oid for oid in oids[place] if oid in later} <= {oid for oid in oids[place] if oid in batch.again}
        assert {oid for oid in oids[place] if oid in batch.again} <= {oid for oid in oids[place] if oid[:16] in heads}


def test_a_history_of_one_batch_needs_no_disk_and_one_that_is_left_clears_it(tmp_path: Path) -> None:
    (only,) = in_batches(iter(changed((1, 2), (2, 3))), 2, tmp_path / "nowhere" / "batches")
    assert only == Batch(changed((1, 2), (2, 3)))
    several = in_batches(iter(changed((1, 2), (2, 3))), 1, tmp_path / "batches")
    next(several)
    assert (tmp_path / "batches").exists()
    several.close()
    assert not (tmp_path / "batches").exists()
