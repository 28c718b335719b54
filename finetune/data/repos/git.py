"""Git as a reader of objects, and nothing else.

Work on a user's repository runs in an empty git folder of our own that borrows the repository's objects. So no hook, filter,
replacement, index or setting of the user's has a say, and a partial clone has no remote to fetch a missing object from.
"""

from __future__ import annotations

import atexit
import functools
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from finetune.data.repos.process import CHUNK, Process, own_folder, remove, run
from finetune.errors import DataError

if TYPE_CHECKING:
    from finetune.data.repos.aside import Aside

SETTINGS = Path(__file__).with_name("gitconfig")  # reads a folder of another user; git before 2.38 takes that from a file alone
RETRIED = 1024  # objects asked for at once where some are damaged: git is started anew behind each, and told all that is left

CONFIG = """[core]
repositoryformatversion = 1
bare = true
[extensions]
objectformat = {}
[i18n]
logOutputEncoding = UTF-8
"""


class GitFailed(DataError):
    """A git command that ended before its work was done: mostly an object that is not there."""


class Blob(NamedTuple):
    """An object's bytes, or the reason there are none."""

    oid: str
    content: bytes = b""
    reason: str | None = None


def environment(**changes: str) -> dict[str, str]:
    """Git's surroundings: none of the caller's GIT_* variables or settings, no prompt, no network."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    settings = {
        "GIT_CONFIG_GLOBAL": str(SETTINGS),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",  # git 2.45 and later
        "GIT_ALLOW_PROTOCOL": "none",  # earlier ones may try to fetch, and find every transport closed
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_FLUSH": "0",  # a log comes in blocks, not commit by commit
        "LC_ALL": "C",
    }
    return kept | settings | changes


def ask(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit status, output and complaint of a git command run inside the user's folder."""
    try:
        status, output, complaint = run(["git", "-C", str(folder), *arguments], environment())
    except FileNotFoundError as error:
        raise DataError("git: not found; install git (2.32 or later) and put it on PATH") from error
    return status, os.fsdecode(output).removesuffix("\n"), complaint.decode(errors="replace").strip()


class Store(NamedTuple):
    """A repository's objects, by id; what `kept` has of them is not asked of git."""

    path: str  # of the repository, for messages
    folder: Path
    objects: str
    kept: Aside | None = None

    @contextmanager
    def _asked(self, lines: Iterable[bytes]) -> Iterator[IO[bytes]]:
        """A file with what git is to read. A pipe would have git and us wait for each other."""
        path = self.folder / f"asked-{os.urandom(8).hex()}"
        with path.open("x+b") as requests:
            path.unlink()
            requests.writelines(lines)
            requests.seek(0)
            yield requests

    def _start(self, arguments: Sequence[str], stdin: IO[bytes]) -> Process:
        where = environment(GIT_DIR=str(self.folder), GIT_OBJECT_DIRECTORY=self.objects)
        # Complaints go to a file: a full pipe that nobody reads would stop git.
        with (self.folder / "complaints").open("wb") as complaints:
            return Process(["git", *arguments], where, stdin=stdin.fileno(), complaints=complaints.fileno())

    def answers(self, lines: Iterable[bytes], *arguments: str) -> Iterator[bytes]:
        """The NUL-separated pieces a git command writes when it is given these lines. Raises GitFailed when it fails."""
        with self._asked(lines) as requests:
            yield from self._tokens(arguments, requests)

    def tokens(self, *arguments: str) -> Iterator[bytes]:
        """The NUL-separated pieces a git command writes. Raises GitFailed when it fails, after all it wrote."""
        with Path(os.devnull).open("rb") as nothing:
            yield from self._tokens(arguments, nothing)

    def _tokens(self, arguments: Sequence[str], stdin: IO[bytes]) -> Iterator[bytes]:
        process = self._start(arguments, stdin)
        rest = b""
        try:
            while chunk := process.output.read1(CHUNK):
                *whole, rest = (rest + chunk).split(b"\0")
                yield from whole
        except BaseException:
            process.kill()
            raise
        finally:
            process.output.close()
            failed = process.wait() != 0
        if rest:
            yield rest
        if failed:
            complaint = (self.folder / "complaints").read_text(errors="replace").strip()
            raise GitFailed(f"{self.path}: git {arguments[0]} failed: {complaint}; run `git fsck` there, or fetch what is missing")

    def blobs(self, oids: Iterable[str], *, max_bytes: int, whole: bool = False) -> Iterator[Blob]:
        """One Blob for each id, in order; one is in memory at a time, and none over `max_bytes` ever is.

        An object that is missing or damaged costs itself alone. Trees are given as they are stored. What is `kept` has no bytes
        where they are no text, unless it is asked for `whole`.
        """
        wanted = list(oids)
        if self.kept is None:
            return self._read(wanted, max_bytes)
        return self.kept.through(self.objects, wanted, lambda others: self._read(others, max_bytes), max_bytes, whole=whole)

    def _read(self, wanted: list[str], max_bytes: int) -> Iterator[Blob]:
        given, at_once = 0, len(wanted)
        while given < len(wanted):
            asked = wanted[given : given + at_once]
            end = given + len(asked)
            for blob in self._batch(asked, max_bytes):
                given += 1
                yield blob
            if given < end:  # git gave up on this one
                yield Blob(wanted[given], reason="unreadable")
                given, at_once = given + 1, RETRIED

    def _batch(self, oids: list[str], max_bytes: int) -> Iterator[Blob]:
        """Blobs until git ends."""
        with self._asked(f"{oid}\n".encode() for oid in oids) as requests:
            process = self._start(["cat-file", "--batch", "--buffer"], requests)
            try:
                yield from _answers(process.output, oids, max_bytes)
            finally:
                process.kill()
                process.output.close()
                process.wait()


def _answers(output: IO[bytes], oids: list[str], max_bytes: int) -> Iterator[Blob]:
    for oid in oids:
        head = output.readline().split()
        if len(head) != 3:
            if head[1:] != [b"missing"]:
                return
            yield Blob(oid, reason="missing")
            continue
        size = int(head[2])
        if size > max_bytes:
            if _skip(output, size + 1):
                return
            yield Blob(oid, reason="too_large")
            continue
        content = output.read(size)
        if len(content) + len(output.read(1)) <= size:
            return
        yield Blob(oid, content)


def _skip(output: IO[bytes], size: int) -> int:
    """Reads past `size` bytes and gives how many of them were not there."""
    while size and (chunk := output.read(min(size, CHUNK))):
        size -= len(chunk)
    return size


@contextmanager
def open_store(path: str, *, objects: str, shallow: frozenset[str], object_format: str) -> Iterator[Store]:
    """The objects in `objects`, until the block ends; `shallow` are the commits whose parents were never fetched.

    Raises DataError when that folder is not there: git would call every object of the repository missing.
    """
    if not Path(objects).is_dir():
        import platform  # a mistake alone needs it

        raise DataError(
            f"{path}: its objects are not on {platform.node()} ({objects}); bring them back to that path, on every machine that works on it"
        )
    folder = own_folder()
    # A reader that nobody reads to its end may never come back here: then it goes when the process ends.
    clear = functools.partial(remove, folder)
    atexit.register(clear)
    try:
        (folder / "HEAD").write_text("ref: refs/heads/none\n")
        (folder / "refs").mkdir()
        (folder / "objects").mkdir()
        (folder / "config").write_text(CONFIG.format(object_format))
        if shallow:
            (folder / "shallow").write_text("".join(f"{oid}\n" for oid in sorted(shallow)))
        yield Store(path, folder, objects)
    finally:
        clear()
        atexit.unregister(clear)
