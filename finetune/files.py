"""Writes that are whole or absent: a temporary name in the same folder, flushed, then renamed."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from finetune.errors import FinetuneError

STAGED = ".partial-"
READABLE = 0o644  # by everyone: staged and downloaded files often are their owner's alone
_KINDS: Mapping[type, str] = {list: "a list", str: "a text", int: "a number", float: "a number"}
_ELSEWHERE = "write another folder, for example runs=FOLDER"
_CURES: Mapping[int, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full", "free some room and type the same again"),
    errno.EDQUOT: ("your share of the disk is used up", "free some room and type the same again"),
    errno.EFBIG: ("a file may not grow that large there", f"raise the limit (ulimit -f), or {_ELSEWHERE}"),
    errno.EACCES: ("permission denied", f"give yourself the right to it (ls -l shows whose it is), or {_ELSEWHERE}"),
    errno.EPERM: ("the system does not allow it", f"give yourself the right to it (ls -l shows whose it is), or {_ELSEWHERE}"),
    errno.EROFS: ("the file system is read-only", _ELSEWHERE),
    errno.ENOTDIR: ("a file stands where a folder belongs", f"move it away, or {_ELSEWHERE}"),
    errno.EISDIR: ("a folder stands where a file belongs", f"move it away, or {_ELSEWHERE}"),
    errno.EEXIST: ("something of that name stands in the way", f"move it away, or {_ELSEWHERE}"),
    errno.ENOTEMPTY: ("something of that name stands in the way", f"move it away, or {_ELSEWHERE}"),
    errno.ENOENT: ("it is missing", "bring it back, or remove the folder it belongs to and make that again"),
    errno.ENAMETOOLONG: ("the name is too long", "write a shorter name=NAME or runs=FOLDER"),
    errno.ELOOP: ("its links lead in a circle", "put the links right"),
    errno.EIO: ("the disk answers with a fault", f"look at the system's log, and {_ELSEWHERE} on another disk"),
    errno.ESTALE: ("the folder of another machine is gone", "mount it again and type the same again"),
    errno.EBUSY: ("it is in use by another process", "end that process and type the same again"),
    errno.EMFILE: ("too many files are open at once", "raise the limit (ulimit -n 4096) and type the same again"),
    errno.ENFILE: ("too many files are open on this machine", "end other processes and type the same again"),
}


def of_user(path: str) -> Path:
    """The path with ~ as the user's folder; as it was written where no such user is known."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Put `content` at `path`; a kill leaves the old file or the new one, never a part."""
    write_together({path: content})


def write_together(contents: Mapping[Path, str | bytes]) -> None:
    """Put each content at its path, in this order, once there was room for all of them; an OSError names the path."""
    staged = {path: path.with_name(f"{STAGED}{path.name}.{os.getpid()}") for path in contents}
    path = Path()
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with staged[path].open("wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
        for path in contents:
            staged[path].replace(path)
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise
    finally:
        for file_name in staged.values():
            with suppress(NotADirectoryError):
                file_name.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Has a file's content, or the names in a folder, written to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """`value` as indented JSON, atomically."""
    write_atomic(path, json_text(value))


def json_text(value: Any) -> str:
    """`value` as indented JSON."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


@contextmanager
def staged_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of `path` when the block ends well and vanishes when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    discard_staged(path)
    staged = path.with_name(f"{STAGED}{path.name}")
    staged.mkdir()
    try:
        yield staged
        old = path.with_name(f"{STAGED}old-{path.name}")
        if path.exists():
            path.rename(old)
        staged.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def discard_staged(path: Path) -> None:
    """Clear what a killed `staged_folder(path)` left; bring the old folder back if the new one never came."""
    old = path.with_name(f"{STAGED}old-{path.name}")
    if old.exists() and not path.exists():
        old.rename(path)
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(path.with_name(f"{STAGED}{path.name}"), ignore_errors=True)


def read_object(path: Path, *needs: str, error: type[FinetuneError], cure: str) -> dict[str, Any]:
    """The JSON object in a file that we wrote, with the keys it `needs`. Raises `error`, with `cure`, where something else lies there."""
    return object_in(path.read_bytes(), *needs, where=str(path), error=error, cure=cure)


def object_in(text: str | bytes, *needs: str, where: str, error: type[FinetuneError], cure: str) -> dict[str, Any]:
    """The JSON object in a text, with the keys it `needs`. Raises `error` with `where`, what was found and `cure`."""
    try:
        content: object = json.loads(text)
    except json.JSONDecodeError as fault:
        line = f", line {fault.lineno}" if "\n" in fault.doc else ""
        raise error(f"{where}: no valid JSON ({fault.msg}{line}); {cure}") from fault
    except UnicodeDecodeError as fault:
        raise error(f"{where}: no text; {cure}") from fault
    if not isinstance(content, dict):
        raise error(f"{where}: found {_KINDS.get(type(content), 'a word')} where an object belongs; {cure}")
    if missing := [key for key in needs if key not in content]:
        raise error(f"{where}: says no {missing[0]!r}; {cure}")
    return content


def disk_fault(error: OSError) -> str | None:
    """Where, what and what to write, for a fault of the disk or of its rights; None for an error of another kind."""
    if isinstance(error, shutil.Error):  # many files of one copy; the first tells enough
        _, target, reason = error.args[0][0]
        return f"{target}: {reason}; make room and rights for it, or {_ELSEWHERE}"
    if error.errno is None or error.errno not in _CURES:
        return None
    what, cure = _CURES[error.errno]
    path = error.filename2 or error.filename
    if path is None and error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ESTALE):
        return None  # not about a file
    return f"{what}; {cure}" if path is None else f"{os.fsdecode(path) if isinstance(path, str | bytes) else path}: {what}; {cure}"
