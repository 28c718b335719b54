"""constraints.txt pins what is needed, and nothing that was once installed beside it."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PINNED = {
    canonicalize_name(line.split("==")[0]): line.strip().split("==")[1]
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if "==" in line and not line.startswith("#")
}


def asked_for() -> list[Requirement]:
    """What pyproject.toml names, and what our own code imports (a package that comes with another may be imported by itself)."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    providers = metadata.packages_distributions()
    modules = {name for folder in ("finetune", "app", "benchmarks", "tests") for name in imported((ROOT / folder).rglob("*.py"))}
    return [Requirement(line) for line in [*named, *(provider for name in modules for provider in providers.get(name, ()))]]


def imported(paths: Iterable[Path]) -> set[str]:
    names: set[str] = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
    return names - sys.stdlib_module_names


def closure(asked: list[Requirement]) -> set[str]:
    """The names of all packages that come with the asked ones on this machine, their extras too."""
    seen: set[tuple[str, frozenset[str]]] = set()
    while asked:
        requirement = asked.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen or requirement.name == "octotune":
            continue
        seen.add(key)
        needs = [Requirement(line) for line in metadata.distribution(requirement.name).requires or ()]
        extras = ["", *requirement.extras]
        asked += [need for need in needs if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras)]
    return {name for name, _ in seen}


def test_nothing_is_pinned_that_nobody_needs() -> None:
    assert not sorted(set(PINNED) - closure(asked_for()))


@pytest.mark.parametrize("line", tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
def test_every_dependency_is_pinned_in_the_range_that_is_asked_for(line: str) -> None:
    requirement = Requirement(line)
    assert requirement.specifier.contains(PINNED[canonicalize_name(requirement.name)])
