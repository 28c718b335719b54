"""From a path in a recipe to a repository at a commit."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from finetune.data.repos.git import Store, ask, open_store
from finetune.data.texts import printable_path
from finetune.errors import DataError

REF = re.compile(r"\w+(?:[./-]\w+)*", re.ASCII)  # no option, no range, nothing that git computes


class Repository(NamedTuple):
    """A repository at one commit.

    `name` is owner/name of the remote `origin` where there is one, else the folder's name; `name=path` in a recipe sets it.
    The split is a hash of it: a clone in another place keeps its sides. `names` are all it is known by: that, and where the remote says
    it lives, with every group above it; opt-out lists are read against them.
    """

    name: str
    path: str
    commit: str
    objects: str
    object_format: str
    shallow: frozenset[str]
    names: tuple[str, ...] = ()

    def store(self) -> AbstractContextManager[Store]:
        """Its objects, for reading."""
        return open_store(self.path, objects=self.objects, shallow=self.shallow, object_format=self.object_format)


def open_repositories(paths: Sequence[str], ref: str, *, at: str | None = None) -> list[Repository]:
    """The repositories sorted by name, so that the order in a recipe changes nothing."""
    opened = sorted((open_repository(path, ref, at=at) for path in expand(paths)), key=lambda repository: repository.name)
    names = Counter(repository.name for repository in opened)
    alike = [repository for repository in opened if names[repository.name] > 1]
    if alike:
        found = ", ".join(f"{repository.path} ({repository.name})" for repository in alike)
        raise DataError(f"data.repositories: {found} have the same name; write name=path for them, or take out what is there twice")
    return opened


def expand(paths: Iterable[str]) -> list[str]:
    """Each path, a pattern (`~/code/*`, `/srv/git/**/*.git`) as the repositories it fits. Raises DataError when it fits none.

    What a pattern fits beside repositories is passed over, and so is a repository that is named beside it.
    """
    named = [path for path in paths if not _is_pattern(path)]
    known = {named_path(path)[1].resolve() for path in named}
    for pattern in (path for path in paths if _is_pattern(path)):
        fitting = _fitting(_of_user(pattern))
        found = [path for path in fitting if _may_be_repository(path)]
        if not found:
            what = f"{len(fitting)} paths, none of them a git repository" if fitting else "nothing"
            raise DataError(f"data.repositories: {pattern} fits {what}; write a pattern that fits work trees or bare repositories")
        for path in found:
            if (place := path.resolve()) not in known:
                known.add(place)
                named.append(str(path))
    return named


def _fitting(pattern: Path) -> list[Path]:
    """What a pattern fits, but for what is hidden."""
    first = next(index for index, part in enumerate(pattern.parts) if any(sign in part for sign in "*?["))
    base, rest = Path(*pattern.parts[:first]), Path(*pattern.parts[first:])
    found = sorted(base.glob(str(rest)))
    return [path for path in found if not any(part.startswith(".") for part in path.parts[first:])]


def _is_pattern(path: str) -> bool:
    return any(sign in path for sign in "*?[") and not named_path(path)[1].exists()


def _may_be_repository(folder: Path) -> bool:
    """A quick look: a work tree, or a bare repository; the folder .git inside one is found as its work tree."""
    bare = folder.name != ".git" and (folder / "HEAD").is_file() and (folder / "objects").is_dir()
    return bare or (folder / ".git").exists()


def open_repository(path: str, ref: str, *, at: str | None = None) -> Repository:
    """The repository at a path (work tree, .git folder or bare; `name=path` to name it) at a commit, branch or tag.

    `at` is a day or a moment: then it is the newest commit that `ref` had by then, along its first parents.
    """
    given, folder = named_path(path)
    objects, shallow, object_format, commit = _places(path, folder, ref)
    remote, name = _names(folder)
    repository = Repository(
        name=given or name,
        path=str(folder),
        commit=commit or _commit(path, folder, ref),
        objects=objects,
        object_format=object_format,
        shallow=_boundary(Path(shallow)),
        names=tuple(dict.fromkeys(known for known in (given, name, remote) if known)),
    )
    return repository if at is None else repository._replace(commit=_commit_at(repository, at))


def _commit_at(repository: Repository, at: str) -> str:
    from finetune.data.dates import day_of, seconds
    from finetune.data.repos.log import first_parents

    moment, date = seconds(at, end=True), 0
    with repository.store() as store:
        # Along first parents: a commit of a branch that was merged later was not there yet.
        for oid, date in first_parents(store, repository.commit):
            if date <= moment:
                return oid
    raise DataError(f"{repository.path}: data.at: no commit is as old as {at}; its first is of {day_of(date)}, write a later day")


def _of_user(path: str) -> Path:
    if not path.startswith("~"):
        return Path(path)
    from finetune.files import of_user  # with json and shutil

    return of_user(path)


def named_path(path: str) -> tuple[str, Path]:
    """The name and the folder in `name=path`; the name is empty where none is given."""
    name, equals, rest = path.partition("=")
    if equals and name and not _of_user(path).exists():
        return name, _of_user(rest).absolute()
    return "", _of_user(path).absolute()


def _answers(folder: Path, ref: str) -> tuple[int, str, str, str]:
    """What git says of a folder: as `ask`, and the commit, "" where the ref takes a closer look.

    One process mostly: each costs as much as a hundred pairs of a history.
    """
    places = ["--path-format=absolute", "--git-path", "objects", "--git-path", "shallow", "--show-object-format", "--absolute-git-dir"]
    places += ["--is-inside-work-tree", "--show-prefix"]
    if REF.fullmatch(ref):
        status, answer, complaint = ask(folder, "rev-parse", *places, f"{ref}^{{commit}}", "--")
        if status == 0:
            answer, _, commit = answer.removesuffix("\n--").rpartition("\n")
            return status, answer, complaint, commit
    return *ask(folder, "rev-parse", *places), ""


def _places(path: str, folder: Path, ref: str) -> tuple[str, str, str, str]:
    """Where the objects and the list of shallow commits are, the hash in use, and the commit; "" where it takes a closer look."""
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise DataError(f"{path}: {found} is there, no git repository; write the path of a work tree or a bare repository")
    try:
        os.fsencode(folder).decode()
    except UnicodeDecodeError as error:
        printable = printable_path(os.fsencode(folder))
        raise DataError(f"{printable}: bytes in the path that are no UTF-8; move it or write a link to it") from error
    status, answer, complaint, commit = _answers(folder, ref)
    if status:
        raise DataError(f"{path}: {_refused(folder, complaint)}")
    if answer.count("\n") != 5:
        raise DataError(f"{path}: a line break in the path, which git can not tell us; move it or write a link to it")
    objects, shallow, object_format, git_folder, in_tree, below = answer.split("\n")
    if (in_tree == "false" or below) and folder.resolve() != Path(git_folder).resolve():
        _, top, _ = ask(folder, "rev-parse", "--show-toplevel")
        raise DataError(f"{path}: a folder inside the repository {top or git_folder}, no repository itself; write {top or git_folder}")
    return objects, shallow, object_format, commit


def _refused(folder: Path, complaint: str) -> str:
    """Why git does not take a folder for a repository, and what to do: of one that it may not look into it says the same as of none."""
    closed = [place for place in (folder, folder / ".git", folder / ".git" / "HEAD", folder / "HEAD") if _is_closed(place)]
    if closed:
        return f"permission denied at {closed[0]}; give yourself the right to read it (ls -ld shows whose it is)"
    newer = "repo version" in complaint or "repository extension" in complaint
    hint = "install a newer git" if newer else "write the path of a work tree or a bare repository"
    return f"{'no git repository' if 'not a git repository' in complaint else ' '.join(complaint.split())}; {hint}"


def _is_closed(place: Path) -> bool:
    """Whether a file or a folder is there that this user may not read."""
    try:
        folder = place.is_dir()
        return (folder or place.is_file()) and not os.access(place, os.R_OK | (os.X_OK if folder else 0), effective_ids=True)
    except PermissionError:  # of a folder above it
        return True


def _names(folder: Path) -> tuple[str, str]:
    """The whole path the remote `origin` has on its host ("" without one), and the name: the last two parts of it, or the folder's."""
    _, url, _ = ask(folder, "config", "--get", "remote.origin.url")
    if parts := _remote_parts(printable_path(os.fsencode(url))):
        return "/".join(parts), "/".join(parts[-2:])
    inner = folder.resolve()
    return "", (inner.parent if inner.name == ".git" else inner).name.removesuffix(".git")


def _remote_parts(url: str) -> list[str]:
    """The parts of a remote's address, without user, password and host; the last folder alone of a local one."""
    local = url.startswith(("/", ".", "~", "file:"))
    after_host = url.partition("://")[2].partition("/")[2] if "://" in url else url.rpartition(":")[2]
    parts = [part for part in after_host.rstrip("/").removesuffix(".git").split("/") if part]
    if local and parts[-1:] == [".git"]:
        parts = parts[:-1]
    return parts[-1:] if local else parts


def _commit(path: str, folder: Path, ref: str) -> str:
    status, commit, _ = ask(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if status == 0:
        return commit
    _, listed, _ = ask(folder, "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags", "refs/remotes")
    refs = listed.split()
    if not refs and ref == "HEAD":
        raise DataError(f"{path}: an empty repository, without any commit; commit something or write another path")
    import difflib  # a mistake alone needs it

    near = difflib.get_close_matches(ref, refs, n=1)
    hint = f"did you mean {near[0]}?" if near else "write one of " + ", ".join(refs[:8]) if refs else "write a commit's id"
    raise DataError(f"{path}: data.ref: no commit is called {ref!r}; {hint}")


def _boundary(shallow: Path) -> frozenset[str]:
    return frozenset(shallow.read_text().split()) if shallow.is_file() else frozenset()
