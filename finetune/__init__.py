"""octotune: from private repositories to a StarCoder 2 adapter that is proven better on them, on one GPU.

Names are imported when they are first used, so that `import finetune` costs nothing. The steps are functions of their
modules' names: `from finetune.train import train`.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Nothing leaves the machine: set before any package below reads them. HF_HUB_OFFLINE=0 in the environment lifts the first.
for _switch in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
    os.environ.setdefault(_switch, "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# Threads that wait give up their core. Waiting busily, as is the default, costs four fifths of the speed as soon as another program
# runs beside a training on a CPU (demo base, two cores, one of them taken: 350 against 1,970 tokens a second).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

_HOME = {
    "FinetuneError": "errors",
    "Recipe": "recipe",
    "Run": "run",
    "load_recipe": "recipe",
    "load_run": "run",
    "open_completer": "generate",
    "open_run": "run",
    "parse_recipe": "recipe",
}

__all__ = [
    "FinetuneError",
    "Recipe",
    "Run",
    "load_recipe",
    "load_run",
    "open_completer",
    "open_run",
    "parse_recipe",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
