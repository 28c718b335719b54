"""Files and history of git repositories, read with git alone; nothing is written, fetched or run."""

from finetune.data.repos.files import read_files
from finetune.data.repos.history import read_changes
from finetune.data.repos.opening import Repository, named_path, open_repositories, open_repository
from finetune.data.repos.selection import EVERYTHING, Selection, select

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
