"""Imports of Rust: modules a file declares, and what it uses of its own crate and of the repository's other crates."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence

from finetune.data.imports.paths import Paths
from finetune.records import SourceFile

_MOD = re.compile(
    r"^[ \t]*(?:#\[path[ \t]*=[ \t]*\"(?P<path>[^\"]+)\"\]\s*)?(?:pub(?:\([^)]*\))?[ \t]+)?mod[ \t]+(?P<name>\w+)[ \t]*;", re.MULTILINE
)
_USE = re.compile(r"^[ \t]*(?:pub(?:\([^)]*\))?[ \t]+)?use[ \t]+(?P<tree>[^;]+);", re.MULTILINE)
_LAYOUT = re.compile(r"\s+as\s+\w+|//[^\n]*|\s+")
_ROOTS = ("lib.rs", "main.rs")


def rust_imports(file: SourceFile, paths: Paths) -> Iterator[str]:
    """The files of modules that are declared, then of those that are used."""
    here, children = posixpath.dirname(file.origin.path), _children(file.origin.path, paths)
    for match in _MOD.finditer(file.text):
        if match["path"] is not None:
            yield from paths.first([posixpath.join(here, match["path"])])
        else:
            yield from paths.first(_files(posixpath.join(children, match["name"])))
    for match in _USE.finditer(file.text):
        for name in _unfold(_LAYOUT.sub(" ", match["tree"]).replace(" ", "")):
            yield from _used(name.split("::"), file.origin.path, paths)


def _used(parts: Sequence[str], path: str, paths: Paths) -> Sequence[str]:
    folder, rest = _start(parts, path, paths)
    if folder is None:
        return []
    for count in range(len(rest), 0, -1):
        if found := paths.first(_files(posixpath.join(folder, *rest[:count]))):
            return found
    # What a crate's root holds itself, asked from another crate.
    return paths.first(posixpath.join(folder, root) for root in _ROOTS) if parts[0] not in {"crate", "self", "super"} else []


def _start(parts: Sequence[str], path: str, paths: Paths) -> tuple[str | None, Sequence[str]]:
    """The folder that the first names lead to, and the names behind them."""
    if parts[0] == "crate":
        return _crate(path, paths), parts[1:]
    folder, rest = _children(path, paths), list(parts)
    if rest[0] in {"self", "super"}:
        while rest and rest[0] in {"self", "super"}:
            folder = posixpath.dirname(folder) if rest.pop(0) == "super" else folder
        return folder, rest
    crates = [folder for name in (parts[0], parts[0].replace("_", "-")) for folder in paths.folders_ending(f"{name}/src")]
    return (crates[0] if crates else None), parts[1:]


def _crate(path: str, paths: Paths) -> str | None:
    """The folder of the crate's root file: the nearest above that has one."""
    folder = posixpath.dirname(path)
    while not any(posixpath.join(folder, root) in paths.all for root in _ROOTS):
        if not folder:
            return None
        folder = posixpath.dirname(folder)
    return folder


def _children(path: str, paths: Paths) -> str:
    """The folder of the modules below a file: its own for the root of a crate and for mod.rs, else one of its name."""
    folder, name = posixpath.split(path)
    is_root = name in {"mod.rs", "build.rs", *_ROOTS} or posixpath.basename(folder) in {"bin", "tests", "examples", "benches"}
    return folder if is_root else posixpath.join(folder, name.removesuffix(".rs"))


def _files(stem: str) -> list[str]:
    return [f"{stem}.rs", f"{stem}/mod.rs"]


def _unfold(tree: str) -> Iterator[str]:
    """The names in a tree of uses without blanks: a::{b,c::{d,self}} gives a::b, a::c::d and a::c."""
    head, brace, inner = tree.partition("{")
    if not brace:
        yield tree.removesuffix("::self").removesuffix("::*")
        return
    for part in _split(inner.removesuffix("}")):
        yield from _unfold(f"{head}{part}" if part != "self" else head.removesuffix("::"))


def _split(inner: str) -> Iterator[str]:
    """The parts between the commas that stand in no inner bracket."""
    depth, begin = 0, 0
    for place, character in enumerate(f"{inner},"):
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            if place > begin:
                yield inner[begin:place]
            begin = place + 1
