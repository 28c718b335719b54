"""Which file imports which, in every language, and the order that follows."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.imports import Project, imported_first, imports_of
from finetune.data.imports.order import depth_first
from finetune.records import Origin, SourceFile

LANGUAGES = {
    "py": "Python",
    "js": "JavaScript",
    "ts": "TypeScript",
    "tsx": "TSX",
    "go": "Go",
    "java": "Java",
    "rs": "Rust",
    "c": "C",
    "h": "C",
}
LANGUAGES |= {"cpp": "C++", "mod": "Go Module", "pyi": "Python"}

_TEXTS = json.loads((Path(__file__).parent / "import_projects.json").read_text())
PROJECTS: dict[str, dict[str, tuple[str, list[str]]]] = {
    name: {path: (file["text"], file["imports"]) for path, file in project.items()} for name, project in _TEXTS.items()
}  # path -> (text, what it imports of the others)


def files_of(texts: dict[str, str]) -> list[SourceFile]:
    return [SourceFile(Origin("shop", "c0ffee", path), LANGUAGES[path.rpartition(".")[2]], text) for path, text in texts.items()]


@pytest.mark.parametrize("project", PROJECTS)
def test_imports_are_found_in_every_language(project: str) -> None:
    files = files_of({path: text for path, (text, _) in PROJECTS[project].items()})
    whole = Project(files)
    assert {file.origin.path: imports_of(file, whole) for file in files} == {path: found for path, (_, found) in PROJECTS[project].items()}


@pytest.mark.parametrize("project", PROJECTS)
def test_imported_files_come_first_however_the_files_come(project: str) -> None:
    files = files_of({path: text for path, (text, _) in PROJECTS[project].items()})
    order = imported_first(files)
    assert sorted(file.origin.path for file in order) == sorted(PROJECTS[project])
    for seed in range(5):
        shuffled = random.Random(seed).sample(files, len(files))
        assert imported_first(shuffled) == order
    places = {file.origin.path: place for place, file in enumerate(order)}
    edges = {path: found for path, (_, found) in PROJECTS[project].items()}
    for path, found in edges.items():
        for other in found:
            assert places[other] < places[path] or path in reached(other, edges)


def reached(start: str, edges: dict[str, list[str]]) -> set[str]:
    found, waiting = set[str](), [start]
    while waiting:
        for following in edges[waiting.pop()]:
            if following not in found:
                found.add(following)
                waiting.append(following)
    return found


@given(edges=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=60))
def test_any_graph_is_put_in_order_and_cycles_do_no_harm(edges: list[tuple[int, int]]) -> None:
    nodes = [str(number) for number in range(13)]
    below = {node: [str(to) for source, to in edges if str(source) == node] for node in nodes}
    order = list(depth_first(nodes, below.__getitem__))
    assert sorted(order) == sorted(nodes)
    places = {node: place for place, node in enumerate(order)}
    for node, following in below.items():
        for other in following:
            assert places[other] < places[node] or node in reached(other, below) or node == other


def test_a_chain_as_long_as_a_large_repository_needs_no_recursion() -> None:
    nodes = [str(number) for number in range(20_000)]
    order = list(depth_first(nodes, lambda node: [str(int(node) + 1)] if int(node) < 19_999 else []))
    assert order == nodes[::-1]


@given(text=st.text(st.sampled_from("import from . ()'\"\n\\#<>{};:useod*a_"), max_size=120), ending=st.sampled_from(sorted(LANGUAGES)))
def test_no_text_breaks_the_reading_of_imports(text: str, ending: str) -> None:
    files = files_of({f"a/b.{ending}": text, f"a/c.{ending}": "", f"a.{ending}": ""})
    found = imports_of(files[0], Project(files))
    assert set(found) <= {f"a/c.{ending}", f"a.{ending}"}
