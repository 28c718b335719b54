"""The files that a file imports, for Python, JavaScript, TypeScript, Go, Java, Rust, C and C++.

Statements are found by their shape, one line or bracket at a time; what stands in a comment or a string may be taken for one, which costs
an edge in an order and nothing else. What lies outside the repository is not found. A language that is not named imports nothing.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from finetune.data.imports.go import go_imports, go_modules
from finetune.data.imports.paths import Paths
from finetune.data.imports.rust import rust_imports
from finetune.records import SourceFile

_PYTHON = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<module>\.*[\w.]*)[ \t]+import[ \t]+(?P<names>\([^)]*\)|[^\n#;(]+)|import[ \t]+(?P<modules>[^\n#;]+))",
    re.MULTILINE,
)
_SCRIPT = re.compile(r"(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\s*\(\s*)(?P<quote>['\"])(?P<path>[^'\"\n]+)(?P=quote)")
_JAVA = re.compile(r"^[ \t]*import\s+(?:static\s+)?(?P<name>[\w.]+(?:\.\*)?)\s*;", re.MULTILINE)
_INCLUDE = re.compile(r"^[ \t]*#[ \t]*(?:include|import)[ \t]*(?P<open>[<\"])(?P<path>[^>\"\n]+)[>\"]", re.MULTILINE)
_COMMENT = re.compile(r"#[^\n]*")
_ENDINGS = ("", ".ts", ".tsx", ".d.ts", ".js", ".jsx", ".mts", ".cts", ".mjs", ".cjs", ".json")
_COMPILED = {".js": (".ts", ".tsx"), ".jsx": (".tsx",), ".mjs": (".mts",), ".cjs": (".cts",)}


class Project:
    """A repository's files as imports see them."""

    def __init__(self, files: Sequence[SourceFile]) -> None:
        self.paths = Paths(file.origin.path for file in files)
        self.go_modules: Mapping[str, str] = go_modules(files, self.paths)


def imports_of(file: SourceFile, project: Project) -> list[str]:
    """The paths a file imports, in the order of its statements, each once; never the file itself."""
    find = _LANGUAGES.get(file.language)
    if find is None:
        return []
    found = dict.fromkeys(find(file, project))
    found.pop(file.origin.path, None)
    return [*found]


def _python(file: SourceFile, project: Project) -> Iterator[str]:
    for match in _PYTHON.finditer(file.text):
        if match["modules"] is not None:
            for name in _names(match["modules"]):
                yield from _python_module(name, file, project)
            continue
        names = _names(match["names"].strip("()").replace("\\\n", " "))
        modules = {name: [*_python_module(_joined(match["module"], name), file, project)] for name in names}
        for found in modules.values():
            yield from found
        if not all(modules.values()):
            yield from _python_module(match["module"], file, project)


def _names(listed: str) -> list[str]:
    """The names of `a, b as c`."""
    parts = (part.split() for part in _COMMENT.sub("", listed).split(","))
    return [words[0] for words in parts if words]


def _joined(module: str, name: str) -> str:
    return f"{module}{name}" if module.endswith(".") else f"{module}.{name}"


def _python_module(module: str, file: SourceFile, project: Project) -> Sequence[str]:
    bare = module.lstrip(".")
    inner = bare.replace(".", "/")
    here = posixpath.dirname(file.origin.path)
    if dots := len(module) - len(bare):
        for _ in range(dots - 1):
            here = posixpath.dirname(here)
        return project.paths.first(_python_files(posixpath.join(here, inner)))
    roots = project.paths.python_roots.get(bare.partition(".")[0], [])
    # The folder of a script comes before what is installed, then the nearest: a repository may hold several projects.
    near = sorted(roots, key=lambda root: (root != here, -len(posixpath.commonprefix([root, here])), len(root), root))
    return project.paths.first(path for root in near for path in _python_files(posixpath.join(root, inner)))


def _python_files(stem: str) -> list[str]:
    return [f"{stem}.py", f"{stem}/__init__.py", f"{stem}.pyi"]


def _script(file: SourceFile, project: Project) -> Iterator[str]:
    here = posixpath.dirname(file.origin.path)
    for match in _SCRIPT.finditer(file.text):
        path = match["path"]
        if path.startswith("."):
            stems = [posixpath.join(here, path)]
        elif path.startswith(("@/", "~/")):
            stems = [posixpath.join("src", path[2:]), path[2:]]
        else:  # a path from the top, or a package of this repository
            package = path.rpartition("/")[2]
            stems = [path, posixpath.join("src", path), f"packages/{package}/src", f"packages/{package}"]
        yield from project.paths.first(candidate for stem in stems for candidate in _script_files(stem))


def _script_files(stem: str) -> Iterator[str]:
    bare, ending = posixpath.splitext(stem)
    yield from (f"{bare}{other}" for other in _COMPILED.get(ending, ()))
    yield from (f"{stem}{other}" for other in _ENDINGS)
    yield from (f"{stem}/index{other}" for other in _ENDINGS[1:])


def _java(file: SourceFile, project: Project) -> Iterator[str]:
    for match in _JAVA.finditer(file.text):
        parts = match["name"].split(".")
        if parts[-1] == "*" and (inside := _java_package("/".join(parts[:-1]), project.paths)):
            yield from inside
            continue
        # A static member or a class within a class stands behind its file's name.
        ends = ("/".join(parts[:count]) + ".java" for count in range(len(parts), 1, -1))
        yield from next((found for end in ends if (found := project.paths.ending(end, importer=file.origin.path))), [])


def _java_package(package: str, paths: Paths) -> list[str]:
    return [path for folder in paths.folders_ending(package) for path in paths.inside(folder) if path.endswith(".java")]


def _c(file: SourceFile, project: Project) -> Iterator[str]:
    here = posixpath.dirname(file.origin.path)
    for match in _INCLUDE.finditer(file.text):
        path, quoted = match["path"].strip(), match["open"] == '"'
        beside = [posixpath.join(here, path)] if quoted else []
        found = project.paths.first([*beside, f"include/{path}", f"src/{path}", path])
        # <stdio.h> is not whatever stdio.h lies somewhere; <project/header.h> is.
        searched = quoted or "/" in path
        yield from found or (project.paths.ending(path, importer=file.origin.path) if searched else [])


def _go(file: SourceFile, project: Project) -> Iterator[str]:
    return go_imports(file, project.paths, project.go_modules)


def _rust(file: SourceFile, project: Project) -> Iterator[str]:
    return rust_imports(file, project.paths)


_LANGUAGES: Mapping[str, Callable[[SourceFile, Project], Iterator[str]]] = {
    "Python": _python,
    "JavaScript": _script,
    "TypeScript": _script,
    "TSX": _script,
    "Vue": _script,
    "Svelte": _script,
    "Java": _java,
    "Go": _go,
    "Rust": _rust,
    "C": _c,
    "C++": _c,
    "Cuda": _c,
    "Objective-C": _c,
    "Objective-C++": _c,
}
