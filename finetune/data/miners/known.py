"""Every miner of files' text, so that a recipe can name each by importing this module alone."""

from finetune.data.miners.commits import ChangeMiner
from finetune.data.miners.docstrings import Docstrings
from finetune.data.miners.fim import Fim
from finetune.data.miners.fixes import Fixes
from finetune.data.miners.jsonl import Jsonl
from finetune.data.miners.repository import Repository
from finetune.data.miners.unit_tests import UnitTests

__all__ = ["ChangeMiner", "Docstrings", "Fim", "Fixes", "Jsonl", "Repository", "UnitTests"]
