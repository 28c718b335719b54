"""The notebooks are executed, in order, in a clone of this checkout; in the tree they carry no outputs."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import nbformat
import pytest
from watching import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# What each draws.
PICTURES = {"01_build_a_dataset": 2, "02_train_and_compare": 2, "03_read_a_sweep": 1, "04_merge_and_deploy": 1}


@pytest.fixture(scope="module")
def executed(clone: Path) -> Callable[[Path], Path]:
    """Executes a notebook in the clone, after those before it, whose runs it reads; each once, whichever test comes first."""
    shutil.copytree(ROOT / "notebooks", clone / "notebooks", dirs_exist_ok=True)
    ended: set[str] = set()

    def execute(path: Path) -> Path:
        for each in NOTEBOOKS[: NOTEBOOKS.index(path) + 1]:
            if each.name in ended:
                continue
            command = [
                sys.executable,
                "-c",
                "from nbclient.cli import main; main()",
                "--timeout=500",
                "--inplace",
                f"notebooks/{each.name}",
            ]
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False, timeout=900)
            assert done.returncode == 0, f"{each.name}\n{done.stderr[-3000:]}"
            ended.add(each.name)
        return clone / "notebooks" / path.name

    return execute


def test_there_are_four() -> None:
    assert [path.name[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_lies_in_the_tree_without_outputs(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert cells and all(cell.outputs == [] and cell.execution_count is None for cell in cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_uses_public_names_and_defines_nothing(path: Path) -> None:
    tree = ast.parse("\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"))
    nodes = [*ast.walk(tree)]
    assert not [node for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda)], "logic belongs into finetune/"
    assert not [node.attr for node in nodes if isinstance(node, ast.Attribute) and node.attr.startswith("_")]
    ours = [node for node in nodes if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("finetune")]
    assert ours
    for node in ours:
        module = import_module(node.module or "")
        for name in (alias.name for alias in node.names):
            assert name in getattr(module, "__all__", [name]), f"{node.module} does not offer {name}"
            assert hasattr(module, name)
            assert not name.startswith("_")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_to_its_end(path: Path, executed: Callable[[Path], Path]) -> None:
    cells = [cell for cell in nbformat.read(executed(path), as_version=4).cells if cell.cell_type == "code"]
    pictures = [output for cell in cells for output in cell.outputs if "image/png" in output.get("data", {})]
    warnings = [output.text for cell in cells for output in cell.outputs if output.get("name") == "stderr"]
    assert len(pictures) == PICTURES[path.stem]
    assert not [text for text in warnings if "Warning" in text and "TqdmWarning: IProgress" not in text], "tqdm asks for widgets"
