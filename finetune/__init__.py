"""octotune: from private repositories to a StarCoder 2 adapter that is proven better on them, on one GPU.

Names are imported when they are first used, so that `import finetune` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "FinetuneError": "errors",
    "Recipe": "recipe",
    "Run": "run",
    "build": "data.build",
    "evaluate": "evaluate",
    "export": "export",
    "load_recipe": "recipe",
    "load_run": "run",
    "open_completer": "generate",
    "open_run": "run",
    "parse_recipe": "recipe",
    "sweep": "sweep",
    "train": "train",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
