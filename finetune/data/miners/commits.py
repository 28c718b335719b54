from typing import ClassVar, Literal

from finetune.data.miners import MINERS, Miner


@MINERS.register("commits")
class Commits(Miner):
    """Commits as instructions."""

    source: ClassVar[Literal["files", "history"]] = "history"
