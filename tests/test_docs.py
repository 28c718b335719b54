"""The documents name what is in the tree."""

from __future__ import annotations

import re

import pytest
from test_layers import LAYERS, MODULES, name_of
from watching import ROOT

from finetune.catalogue import KINDS

DOCS = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"])
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def table_of_layers() -> dict[str, int]:
    """The layer of each module, as the document has it."""
    rows = re.findall(r"^\| (\d) \| (.+?) \| .+ \|$", ARCHITECTURE, re.MULTILINE)
    return {name: int(layer) for layer, names in rows for name in re.findall(r"`([\w.]+)`", names)}


def test_the_table_of_layers_is_the_one_that_imports_are_held_to() -> None:
    assert table_of_layers() == {name: layer for name, layer in LAYERS.items() if name}


def test_every_module_of_the_table_is_in_the_tree_and_every_module_has_a_layer() -> None:
    known = {name_of(path) for path in MODULES}
    assert set(table_of_layers()) <= known
    assert {name.split(".")[0] for name in known} == {name.split(".")[0] for name in LAYERS}


def test_each_kind_of_plugin_is_named_with_where_it_is_added() -> None:
    adding = (ROOT / "docs" / "adding.md").read_text(encoding="utf-8")
    plugins = [kind.removesuffix("s") for kind in KINDS if kind not in ("families", "recipe")]
    named = re.search(r"Six kinds: ([\w, ]+)\.", ARCHITECTURE)
    assert named and sorted(named[1].split(", ")) == sorted(plugins)
    rows = re.findall(r"^\| ([\w ]+) \| `(finetune/[\w/.]+)`", adding, re.MULTILINE)
    assert {name for name, _ in rows} >= {*plugins, "model family"}


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_document_names_paths_that_exist(path) -> None:  # type: ignore[no-untyped-def]
    text = path.read_text(encoding="utf-8")
    links = {path.parent / link for link in re.findall(r"\]\(([^)#:]+)\)", text)}
    named = {ROOT / name for name in re.findall(r"`((?:finetune|tests|docs|benchmarks|recipes|app)/[\w/.-]+\.(?:py|md|yaml))", text)}
    named |= {ROOT / name for name in re.findall(r"`python (benchmarks/\w+\.py)", text)}
    assert not sorted(str(each) for each in links | named if not each.exists() and "NAME" not in each.name)
