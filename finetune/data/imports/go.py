"""Imports of Go: a package is a folder, its name begins with its module's."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from finetune.data.imports.paths import Paths
from finetune.records import SourceFile

_ONE = re.compile(r"^import[ \t]+(?:[\w.]+[ \t]+)?\"(?P<path>[^\"\n]+)\"", re.MULTILINE)
_GROUP = re.compile(r"^import[ \t]*\((?P<lines>[^)]*)\)", re.MULTILINE)
_LINE = re.compile(r"^[ \t]*(?:[\w.]+[ \t]+)?\"(?P<path>[^\"\n]+)\"", re.MULTILINE)
_MODULE = re.compile(r"^module[ \t]+\"?(?P<name>[^\s\"]+)", re.MULTILINE)


def go_imports(file: SourceFile, paths: Paths, modules: Mapping[str, str]) -> Iterator[str]:
    """The files of the packages of this repository that a file imports, without their tests."""
    for imported in _imported(file.text):
        folder = _folder(imported, paths, modules)
        if folder is not None:
            yield from (path for path in paths.inside(folder) if path.endswith(".go") and not path.endswith("_test.go"))


def go_modules(files: Sequence[SourceFile], paths: Paths) -> dict[str, str]:
    """The folder of each module by its name, as go.mod says; where none is among the files, one module at the top.

    Its name is then the beginning of the imports that leaves most of the repository's folders when it is cut off.
    """
    stated = {
        match["name"]: posixpath.dirname(file.origin.path)
        for file in files
        if posixpath.basename(file.origin.path) == "go.mod" and (match := _MODULE.search(file.text))
    }
    if stated:
        return stated
    votes: Counter[str] = Counter()
    for imported in {each for file in files if file.language == "Go" for each in _imported(file.text)}:
        parts = imported.split("/")
        if "." in parts[0]:  # else it is of the standard library
            votes.update("/".join(parts[:cut]) for cut in range(2, len(parts)) if "/".join(parts[cut:]) in paths.folders)
    best = max(votes.items(), key=lambda vote: (vote[1], -len(vote[0]), vote[0]), default=None)
    return {} if best is None else {best[0]: ""}


def _imported(text: str) -> Iterator[str]:
    yield from (match["path"] for match in _ONE.finditer(text))
    for group in _GROUP.finditer(text):
        yield from (match["path"] for match in _LINE.finditer(group["lines"]))


def _folder(imported: str, paths: Paths, modules: Mapping[str, str]) -> str | None:
    for module in sorted(modules, key=len, reverse=True):
        if imported == module or imported.startswith(f"{module}/"):
            folder = posixpath.join(modules[module], imported[len(module) + 1 :]).rstrip("/")
            return folder if folder in paths.folders else None
    return None
