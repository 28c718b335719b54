"""Which file imports which, read off import statements, and an order in which what is imported comes first."""

from finetune.data.imports.order import imported_first
from finetune.data.imports.statements import Project, imports_of

__all__ = ["Project", "imported_first", "imports_of"]
