"""Files in an order in which every file stands behind the files it imports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from finetune.data.imports.statements import Project, imports_of
from finetune.records import SourceFile


def imported_first(files: Sequence[SourceFile]) -> list[SourceFile]:
    """The files of one repository, each behind those it imports, and these as near before it as can be.

    Files that import each other keep the order in which they are met, beginning at the first path. The order depends on nothing but
    the set of files: not on how they come.
    """
    by_path = {file.origin.path: file for file in files}
    project = Project(files)
    return [by_path[path] for path in depth_first(sorted(by_path), lambda path: imports_of(by_path[path], project))]


def depth_first(nodes: Sequence[str], below: Callable[[str], Sequence[str]]) -> Iterator[str]:
    """Every node once, behind all that it leads to unless these lead back to it. No recursion: chains may be as long as there are files."""
    met: set[str] = set()
    for root in nodes:
        if root in met:
            continue
        met.add(root)
        stack = [(root, iter(below(root)))]
        while stack:
            node, waiting = stack[-1]
            following = next((each for each in waiting if each not in met), None)
            if following is None:
                yield node
                stack.pop()
            else:
                met.add(following)
                stack.append((following, iter(below(following))))
