"""Full fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from finetune.errors import ModelError
from finetune.families import Family
from finetune.methods.method import METHODS, Method

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PreTrainedModel


@METHODS.register("full")
class Full(Method):
    """Full fine-tuning: every weight is trained, in a float32 copy beside the base, which stays for comparison."""

    trains_quantised: ClassVar[bool] = False
    trains_rows: ClassVar[bool] = True

    def config(self, model: PreTrainedModel, family: Family) -> PeftConfig:
        from peft import TaskType

        from finetune.methods.tuners import FullConfig, register
        from finetune.methods.tuners.full import layers_with_weights

        register()
        try:
            layers = layers_with_weights(model)
        except ValueError as error:
            raise ModelError(
                f"adapter=full: in this {model.config.model_type} model {error}, which is not of a kind that is known; write adapter=lora"
            ) from error
        return FullConfig(task_type=TaskType.CAUSAL_LM, layers=layers)
