"""Prompt learning: the model stays as it is and reads learnt vectors before every sample. Rows must not be packed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveInt

from finetune.families import Family
from finetune.methods.method import METHODS, Method

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PreTrainedModel


class Prompted(Method):
    """Learnt vectors before every sample."""

    merges: ClassVar[bool] = False
    packs: ClassVar[bool] = False
    tokens: PositiveInt = Field(30, description="virtual tokens, which take their place in the context")

    @property
    def prompt_tokens(self) -> int:
        return self.tokens


@METHODS.register("p_tuning")
class PTuning(Prompted):
    """Virtual tokens that a small network makes while training (arXiv 2103.10385)."""

    hidden: PositiveInt | None = Field(None, description="width of that network; empty: that of the model")

    def config(self, model: PreTrainedModel, family: Family) -> PeftConfig:
        from peft import PromptEncoderConfig, TaskType

        config = PromptEncoderConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=self.tokens)
        if self.hidden is not None:
            config.encoder_hidden_size = self.hidden
        return config


@METHODS.register("prompt")
class Prompt(Prompted):
    """Virtual tokens learnt as they are (arXiv 2104.08691)."""

    def config(self, model: PreTrainedModel, family: Family) -> PeftConfig:
        from peft import PromptTuningConfig, TaskType

        return PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=self.tokens)


@METHODS.register("prefix")
class Prefix(Prompted):
    """Keys and values of virtual tokens, learnt in every layer (arXiv 2101.00190)."""

    checkpoints: ClassVar[bool] = False

    def config(self, model: PreTrainedModel, family: Family) -> PeftConfig:
        from peft import PrefixTuningConfig, TaskType

        return PrefixTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=self.tokens)
