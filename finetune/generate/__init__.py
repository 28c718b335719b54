"""Answers and their costs, from the base and any number of adapters in one model in memory."""

from finetune.generate.completer import BatchCompleter, Filled
from finetune.generate.heldout import heldout_files, heldout_holes, prompt_limit
from finetune.generate.opening import open_completer

__all__ = ["BatchCompleter", "Filled", "heldout_files", "heldout_holes", "open_completer", "prompt_limit"]
