"""Imports only go down, and the light layers stay light."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS: dict[str, int] = {
    **dict.fromkeys(["errors", "records", "registry", "files", "hashing", "lock", "compiled"], 0),
    **dict.fromkeys(["data", "families", "opening", "progress", "methods", "metrics", "tasks", "exporters", "statistics", "quiet"], 1),
    **dict.fromkeys(["recipe"], 2),
    **dict.fromkeys(
        [
            "base",
            "run",
            "model",
            "plan",
            "preflight",
            "generate",
            "merge",
            "cards",
            "doctor",
            "plots",
            "check",
            "new_tokens",
            "kernels",
            "tokenizer_files",
        ],
        3,
    ),
    **dict.fromkeys(["deploy", "data.measures"], 3),
    **dict.fromkeys(["data.build", "data.show", "data.why", "train", "evaluate", "compare", "export", "serve"], 4),
    **dict.fromkeys(["sweep"], 5),
    **dict.fromkeys(["__main__", "commands", "tour", "catalogue", "demo", ""], 6),
}
HEAVY = {
    "torch",
    "transformers",
    "peft",
    "trl",
    "bitsandbytes",
    "accelerate",
    "datasets",
    "gradio",
    "numpy",
    "pyarrow",
    "hyperscan",
    "rich",
    "matplotlib",
    "numba",
    "llvmlite",
    "pandas",
    "scipy",
    "tokenizers",
    "fastokens",
    "tree_sitter",
    "xxhash",
    "optuna",
    "openai",
    "gguf",
    "licenseclassifier",
}
MODULES = sorted((ROOT / "finetune").rglob("*.py"))


def name_of(path: Path) -> str:
    parts = list(path.relative_to(ROOT / "finetune").with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(name: str) -> int:
    candidates = [".".join(name.split(".")[:n]) for n in range(len(name.split(".")), 0, -1)]
    return next(LAYERS[candidate] for candidate in candidates if candidate in LAYERS)


def imported(tree: ast.AST) -> set[str]:
    """The dotted names below `finetune` that a module imports, anywhere in it."""
    known = {name_of(path) for path in MODULES}
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer"
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    below = {name.removeprefix("finetune.") for name in names if name.startswith("finetune.")}
    return {name for name in below if name in known}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_only_go_down(path: Path) -> None:
    tree = ast.parse(path.read_text())
    above = {name for name in imported(tree) if layer_of(name) > layer_of(name_of(path))}
    if name_of(path) == "":
        above = set()  # the package offers every layer's names, lazily
    assert not above, f"{name_of(path)} (layer {layer_of(name_of(path))}) imports from above: {above}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_steps_do_not_import_steps(path: Path) -> None:
    name = name_of(path)
    if layer_of(name) != 4:
        return
    mine = ".".join(name.split(".")[: 2 if name.startswith("data.") else 1])
    others = {other for other in imported(ast.parse(path.read_text())) if layer_of(other) == 4 and not other.startswith(mine)}
    assert not others - {"data"}, f"step {name} imports step {others}: steps meet through records and the run folder"


def test_a_recipe_is_checked_without_any_heavy_import() -> None:
    code = (
        "import json, sys\n"
        "from finetune.__main__ import main\n"
        "assert main(['check', sys.argv[1]]) == 0\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))\n"
    )
    recipe = ROOT / "finetune" / "demo" / "demo.yaml"
    shown = subprocess.run([sys.executable, "-c", code, str(recipe)], capture_output=True, text=True, check=True).stdout
    assert not HEAVY & set(json.loads(shown.splitlines()[-1]))


def test_public_names_are_sorted_and_importable() -> None:
    import finetune

    assert finetune.__all__ == sorted(finetune.__all__)
    for name in finetune.__all__:
        assert getattr(finetune, name).__name__ == name


def test_no_file_and_no_function_grows_beyond_the_house_limits() -> None:
    """House style: files under 300 lines, functions under 40 without their docstring."""
    too_long = []
    for path in [*MODULES, *sorted((ROOT / "app").rglob("*.py"))]:
        text = path.read_text()
        if len(text.splitlines()) > 300:
            too_long.append(f"{path.name}: {len(text.splitlines())} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                docstring = ast.get_docstring(node, clean=False) or ""
                lines = (node.end_lineno or 0) - node.lineno + 1 - len(docstring.splitlines())
                if lines > 40:
                    too_long.append(f"{path.name}:{node.lineno} {node.name}: {lines} lines")
    assert not too_long
