"""The paths of a repository, for finding the one that an import means."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

Found = Sequence[str]


class Paths:
    """All paths of a repository, by their ends and by their folders."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.all = frozenset(paths)
        self._named: dict[str, list[str]] = defaultdict(list)
        self._inside: dict[str, list[str]] = defaultdict(list)
        self.folders: set[str] = set()
        for path in sorted(self.all):
            folder, name = posixpath.split(path)
            self._named[name].append(path)
            self._inside[folder].append(path)
            while folder not in self.folders:
                self.folders.add(folder)
                folder = posixpath.dirname(folder)

    def first(self, candidates: Iterable[str]) -> Found:
        """The first of the candidates that is there, as a list of one; nothing where none is."""
        path = next((each for each in map(posixpath.normpath, candidates) if each in self.all), None)
        return [] if path is None else [path]

    def inside(self, folder: str) -> Found:
        """The files directly in a folder ("" is the top), in order."""
        return self._inside.get(folder, [])

    def ending(self, end: str, *, importer: str) -> Found:
        """The path that ends in `end`, a list of one: of several the one that shares most folders with the importer, then the shortest."""
        found = [path for path in self._named.get(posixpath.basename(end), ()) if path == end or path.endswith(f"/{end}")]
        found = [path for path in found if path != importer]
        return sorted(found, key=lambda path: (-_shared(path, importer), len(path), path))[:1]

    def folders_ending(self, end: str) -> Found:
        """The folders whose path ends in `end`, in order."""
        named = self._folders_named.get(posixpath.basename(end), ())
        return [folder for folder in named if folder == end or folder.endswith(f"/{end}")]

    @cached_property
    def _folders_named(self) -> Mapping[str, list[str]]:
        named: dict[str, list[str]] = defaultdict(list)
        for folder in sorted(self.folders):
            named[posixpath.basename(folder)].append(folder)
        return named

    @cached_property
    def python_roots(self) -> Mapping[str, list[str]]:
        """The folders from which a top-level Python module or package of a name can be imported, by that name."""
        roots: dict[str, set[str]] = defaultdict(set)
        packages = {posixpath.dirname(path) for path in self._named.get("__init__.py", ())}
        for path in self.all:
            if path.endswith((".py", ".pyi")):
                folder, name = posixpath.split(path)
                top = folder if name.startswith("__init__.") else posixpath.join(folder, name.partition(".")[0])
                while posixpath.dirname(top) in packages and top:
                    top = posixpath.dirname(top)
                roots[posixpath.basename(top)].add(posixpath.dirname(top))
        self._add_namespaces(roots)
        return {name: sorted(folders) for name, folders in roots.items()}

    def _add_namespaces(self, roots: dict[str, set[str]]) -> None:
        """Folders without __init__.py are packages too: any folder at the top or below src may be one."""
        for folder in self.folders:
            parent, name = posixpath.split(folder)
            if name and parent in {"", "src", "lib", "python"}:
                roots[name].add(parent)


def _shared(path: str, other: str) -> int:
    """How many folders two paths have in common from the top."""
    count = 0
    for mine, its in zip(path.split("/")[:-1], other.split("/")[:-1], strict=False):
        if mine != its:
            break
        count += 1
    return count
