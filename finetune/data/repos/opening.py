"""From a path in a recipe to a repository at a commit."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from finetune.data.repos.git import Store, ask, open_store
from finetune.errors import DataError


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at one commit.

    `name` is owner/name of the remote `origin` where there is one, else the folder's name; `name=path` in a recipe sets it.
    The split is a hash of it: a clone in another place keeps its sides.
    """

    name: str
    path: str
    commit: str
    objects: str
    object_format: str
    shallow: frozenset[str]

    def store(self) -> AbstractContextManager[Store]:
        """Its objects, for reading."""
        return open_store(self.path, objects=self.objects, shallow=self.shallow, object_format=self.object_format)


def open_repositories(paths: Sequence[str], ref: str) -> list[Repository]:
    """The repositories sorted by name, so that the order in a recipe changes nothing."""
    opened = sorted((open_repository(path, ref) for path in paths), key=lambda repository: repository.name)
    names = Counter(repository.name for repository in opened)
    alike = [repository for repository in opened if names[repository.name] > 1]
    if alike:
        found = ", ".join(f"{repository.path} ({repository.name})" for repository in alike)
        raise DataError(f"data.repositories: {found} have the same name; write name=path for them, or take out what is there twice")
    return opened


def open_repository(path: str, ref: str) -> Repository:
    """The repository at a path (work tree, .git folder or bare; `name=path` to name it) at a commit, branch or tag."""
    name, folder = named_path(path)
    objects, shallow, object_format = _places(path, folder)
    return Repository(
        name=name or _name(folder),
        path=str(folder),
        commit=_commit(path, folder, ref),
        objects=objects,
        object_format=object_format,
        shallow=_boundary(Path(shallow)),
    )


def named_path(path: str) -> tuple[str, Path]:
    """The name and the folder in `name=path`; the name is empty where none is given."""
    name, equals, rest = path.partition("=")
    if equals and name and not Path(path).expanduser().exists():
        return name, Path(rest).expanduser().absolute()
    return "", Path(path).expanduser().absolute()


def _places(path: str, folder: Path) -> tuple[str, str, str]:
    """Where the objects and the list of shallow commits are, and the hash in use."""
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise DataError(f"{path}: {found} is there, no git repository; write the path of a work tree or a bare repository")
    question = ["--path-format=absolute", "--git-path", "objects", "--git-path", "shallow", "--show-object-format", "--absolute-git-dir"]
    status, answer, complaint = ask(folder, "rev-parse", *question)
    if status:
        hint = "write the path of a work tree or a bare repository"
        reason = "no git repository" if "not a git repository" in complaint else complaint
        raise DataError(f"{path}: {reason}; {hint}")
    objects, shallow, object_format, git_folder = answer.split("\n")
    _, top, _ = ask(folder, "rev-parse", "--show-toplevel")
    if folder.resolve() not in {Path(git_folder).resolve(), Path(top or git_folder).resolve()}:
        raise DataError(f"{path}: a folder inside the repository {top or git_folder}, no repository itself; write {top or git_folder}")
    return objects, shallow, object_format


def _name(folder: Path) -> str:
    _, url, _ = ask(folder, "config", "--get", "remote.origin.url")
    if url:
        return _remote_name(url)
    inner = folder.resolve()
    return (inner.parent if inner.name == ".git" else inner).name.removesuffix(".git")


def _remote_name(url: str) -> str:
    """owner/name of a remote's address, without user, password and host; the last folder of a local one."""
    local = url.startswith(("/", ".", "~", "file:"))
    after_host = url.partition("://")[2].partition("/")[2] if "://" in url else url.rpartition(":")[2]
    parts = [part for part in after_host.rstrip("/").removesuffix(".git").split("/") if part]
    if local and parts[-1:] == [".git"]:
        parts = parts[:-1]
    return "/".join(parts[-1:] if local else parts[-2:])


def _commit(path: str, folder: Path, ref: str) -> str:
    status, commit, _ = ask(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if status == 0:
        return commit
    _, listed, _ = ask(folder, "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags", "refs/remotes")
    refs = listed.split()
    if not refs and ref == "HEAD":
        raise DataError(f"{path}: an empty repository, without any commit; commit something or write another path")
    near = difflib.get_close_matches(ref, refs, n=1)
    hint = f"did you mean {near[0]}?" if near else "write one of " + ", ".join(refs[:8]) if refs else "write a commit's id"
    raise DataError(f"{path}: data.ref: no commit is called {ref!r}; {hint}")


def _boundary(shallow: Path) -> frozenset[str]:
    return frozenset(shallow.read_text().split()) if shallow.is_file() else frozenset()
