"""Answers and their costs, from the base and any number of adapters in one model in memory."""

from finetune.generate.completer import BatchCompleter, Filled
from finetune.generate.heldout import heldout_files, heldout_holes, holes_in_turn, prompt_limit
from finetune.generate.opening import arms_of, check_runs, open_completer

__all__ = [
    "BatchCompleter",
    "Filled",
    "arms_of",
    "check_runs",
    "heldout_files",
    "heldout_holes",
    "holes_in_turn",
    "open_completer",
    "prompt_limit",
]
