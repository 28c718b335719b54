"""Which function a test is for: the one that its name, and the name of its file, speak of."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from finetune.data.functions import Function, functions
from finetune.data.imports import Project, imports_of
from finetune.data.miners.unit_tests.cases import SCRIPTS, Case
from finetune.data.names import is_test
from finetune.records import SourceFile

_STEM = re.compile(r"^test_|^Test(?=[A-Z])|[._-](?:test|spec|cy)s?$|_(?:test|spec)s?$|(?:Test|Tests|TestCase|IT)$", re.ASCII)
_CALL = re.compile(r"([A-Za-z_]\w*)(?:\s*<[^<>()\n]*>)?\s*\(")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SOURCES = re.compile(r"(?:^|/)src/\w+/(?:java|kotlin|scala)/|(?:^|/)__tests__(?=/)|^(?:tests?|src|lib)/")
_INDEX = ("__init__.py", "index.ts", "index.js", "index.tsx", "mod.rs", "lib.rs")


class Target(NamedTuple):
    """A function of a program, the file it stands in, and how near that is to a test: 0 its own, 1 imported, 2 beside it."""

    file: SourceFile
    function: Function
    distance: int = 0

    @property
    def key(self) -> tuple[str, int]:
        """What tells it from every other one of its repository."""
        return self.file.origin.path, self.function.whole[0]


class Programs:
    """The functions of a repository's programs, by name."""

    def __init__(self, files: Sequence[SourceFile]) -> None:
        self._project = Project(files)
        self._by_path = {file.origin.path: file for file in files}
        self._named: defaultdict[tuple[str, str], list[Target]] = defaultdict(list)
        for file in files:
            if not is_test(file.origin.path):
                for each in functions(file.text, file.language):
                    self._named[_kin(file.language), each.name].append(Target(file, each))

    def around(self, test: SourceFile) -> Around:
        """What a test's file can mean."""
        imported = {*imports_of(test, self._project)}
        for path in sorted(imported):
            if posixpath.basename(path) in _INDEX and path in self._by_path:
                imported |= {*imports_of(self._by_path[path], self._project)}
        return Around(test, imported, self._named)


class Around(NamedTuple):
    """A file of tests, and the functions near it."""

    test: SourceFile
    imported: set[str]
    named: defaultdict[tuple[str, str], list[Target]]

    def target(self, case: Case) -> Target | str:
        """The function that a test is for, or the reason why none can be told."""
        called = [near for name in sorted({*_CALL.findall(case.code)} - {case.name}) for near in self._near(name)]
        if not called:
            return "calls_no_function_near"
        spoken = _words(case.name)
        named = [(len(_words(each.function.name)), each) for each in called if _within(_words(each.function.name), spoken)]
        if named:
            most = max(length for length, _ in named)
            called = [each for length, each in named if length == most]
        else:
            called = [each for each in called if each.distance == 0]
        nearest = min((each.distance for each in called), default=0)
        found = [each for each in called if each.distance == nearest]
        return found[0] if len(found) == 1 else "calls_several_functions" if found else "named_after_no_function"

    def _near(self, name: str) -> Iterable[Target]:
        for each in self.named.get((_kin(self.test.language), name), ()):
            distance = self._distance(each)
            if distance is not None:
                yield each._replace(distance=distance)

    def _distance(self, target: Target) -> int | None:
        path, test = target.file.origin.path, self.test.origin.path
        stem = _STEM.sub("", PurePosixPath(test).stem).lower()
        if path == test or stem in {PurePosixPath(path).stem.lower(), target.function.owner.lower()}:
            return 0
        if path in self.imported:
            return 1
        return 2 if _package(path) == _package(test) else None


def _kin(language: str) -> str:
    return "script" if language in SCRIPTS else "C" if language == "C++" else language


def _package(path: str) -> str:
    return _SOURCES.sub("", posixpath.dirname(path) + "/")


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(name)]


def _within(words: list[str], spoken: list[str]) -> bool:
    """Whether the words stand in a row among those spoken."""
    return bool(words) and any(spoken[at : at + len(words)] == words for at in range(len(spoken) - len(words) + 1))
