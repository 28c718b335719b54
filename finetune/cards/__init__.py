"""The model card and the licence files of an export: what it is, what it was made from, what was measured, what is owed."""

from __future__ import annotations

from pathlib import Path

from finetune.base import BaseFolder
from finetune.cards.page import Facts, card
from finetune.cards.terms import check_terms, check_terms_written, licence_of, public_name, write_terms
from finetune.errors import ExportError
from finetune.files import READABLE

__all__ = ["Facts", "card", "check_card", "check_terms", "licence_of", "public_name", "write_card", "write_terms"]


def write_card(folder: Path, facts: Facts) -> None:
    """README.md, and the licence files that the base asks for."""
    licence = write_terms(folder, facts.base)
    path = folder / "README.md"
    path.write_text(card(facts, licence), encoding="utf-8")
    path.chmod(READABLE)


def check_card(folder: Path, base: BaseFolder) -> None:
    """Raises ExportError unless the model card, the licence and its duties lie in `folder`: an export without them is none."""
    path = folder / "README.md"
    if not path.is_file() or not path.read_text(encoding="utf-8").startswith("---\n"):
        raise ExportError("export: no model card (README.md) in its folder, which goes with every export; type finetune export again")
    check_terms_written(folder, base)
