"""Files and history of git repositories, read with git alone; nothing is written, fetched or run.

Names are imported when they are first used: who reads a history needs none of what files need, and the start is half of a short one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetune.data.repos.files import read_files
    from finetune.data.repos.history import read_changes
    from finetune.data.repos.opening import Repository, named_path, open_repositories, open_repository
    from finetune.data.repos.selection import EVERYTHING, Selection, select

_HOME = {
    "EVERYTHING": "selection",
    "Repository": "opening",
    "Selection": "selection",
    "named_path": "opening",
    "open_repositories": "opening",
    "open_repository": "opening",
    "read_changes": "history",
    "read_files": "files",
    "select": "selection",
}

__all__ = [
    "EVERYTHING",
    "Repository",
    "Selection",
    "named_path",
    "open_repositories",
    "open_repository",
    "read_changes",
    "read_files",
    "select",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
