"""What a method is: a way to attach a small trainable part to a frozen base."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from finetune.families import Family
from finetune.quiet import known_warnings_off, quiet_libraries
from finetune.registry import Plugin, Registry

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel


class Method(Plugin):
    """Attaches an adapter to a model. What it can do stands on the class, so that a recipe is checked without torch.

    `trains_quantised`: it trains on an nf4 or int8 base. `merges`: it can be folded into the base's weights, dequantised ones
    too. `packs`: samples in one row do not see each other through it, so packed rows are exact. `checkpoints`: it trains under
    gradient checkpointing. `trains_rows`: it trains the embeddings of tokens that the base was given. `refused`: why it is not
    offered at all.
    """

    trains_quantised: ClassVar[bool] = True
    merges: ClassVar[bool] = True
    packs: ClassVar[bool] = True
    checkpoints: ClassVar[bool] = True
    trains_rows: ClassVar[bool] = False
    refused: ClassVar[str] = ""

    @property
    def sums(self) -> bool:
        """Whether the tuned weights are the base's plus what was learnt, so that it can be scaled and added to other adapters'."""
        return False

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the context that the method takes for itself."""
        return 0

    def __call__(self, model: PreTrainedModel, family: Family) -> PeftModel:
        """The model with a fresh adapter, the only part that trains. Draws from torch's global generator."""
        quiet_libraries()
        from finetune.methods.storage import wrap

        with known_warnings_off():
            return wrap(model, self.config(model, family), name="default")

    def config(self, model: PreTrainedModel, family: Family) -> PeftConfig:
        """peft's configuration of this method for this model."""
        raise NotImplementedError


METHODS: Registry[Method] = Registry("method", Method)
