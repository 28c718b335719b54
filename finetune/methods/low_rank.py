"""LoRA and its relatives: the update of a weight is a product of thin matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field, PositiveInt, model_validator

from finetune.families import Family
from finetune.methods.layers import match_targets, transposed
from finetune.methods.method import METHODS, Method
from finetune.methods.token_rows import trained_rows

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel

Dropout = Annotated[float, Field(ge=0, lt=1)]
TARGETS = Field((), description="names of linear layers; empty: those of the model's family")


@METHODS.register("lora")
class Lora(Method):
    """Low-rank adaptation (arXiv 2106.09685); with model.quantization=nf4 this is QLoRA (arXiv 2305.14314)."""

    trains_rows: ClassVar[bool] = True
    r: PositiveInt = Field(8, description="rank")
    alpha: PositiveInt = Field(16, description="the update is scaled by alpha / r")
    dropout: Dropout = 0.05
    targets: tuple[str, ...] = TARGETS
    rslora: bool = Field(False, description="scale by alpha / sqrt(r) (arXiv 2312.03732)")
    dora: bool = Field(False, description="learn each column's length apart (arXiv 2402.09353); slower")

    @property
    def sums(self) -> bool:
        return not self.dora

    def config(self, model: PreTrainedModel, family: Family) -> PeftConfig:
        from peft import LoraConfig, TaskType

        targets = match_targets(model, self.targets or family.lora_targets)
        return LoraConfig(
            task_type=TaskType.CAUSAL_LM,
            r=self.r,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=list(targets),
            use_rslora=self.rslora,
            use_dora=self.dora,
            fan_in_fan_out=transposed(model, targets),
            trainable_token_indices=trained_rows(model, family),
        )


@METHODS.register("adalora")
class AdaLora(Method):
    """LoRA whose ranks move to the layers that need them while it trains (arXiv 2303.10512)."""

    r: PositiveInt = Field(8, description="mean rank at the end")
    start_r: PositiveInt = Field(12, description="rank of every layer at the start")
    alpha: PositiveInt = Field(32, description="the update is scaled by alpha / rank")
    dropout: Dropout = 0.0
    targets: tuple[str, ...] = TARGETS
    warm_share: float = Field(0.1, ge=0, lt=0.5, description="share of the steps before the first rank is taken away")
    rest_share: float = Field(0.3, ge=0, lt=0.5, description="share of the steps after the last one is")

    @property
    def sums(self) -> bool:
        return True

    @model_validator(mode="after")
    def _shrinks(self) -> Self:
        if self.start_r <= self.r:
            raise ValueError(f"start_r of more than r={self.r}: ranks are only taken away")
        return self

    def __call__(self, model: PreTrainedModel, family: Family) -> PeftModel:
        adapted = super().__call__(model, family)
        for name, weight in adapted.named_parameters():
            if ".ranknum." in name:
                weight.requires_grad_(False)  # peft's count of ranks; on a 4-bit base it lets the optimizer have it
        return adapted

    def config(self, model: PreTrainedModel, family: Family) -> PeftConfig:
        from peft import AdaLoraConfig, TaskType

        targets = match_targets(model, self.targets or family.lora_targets)
        return AdaLoraConfig(
            task_type=TaskType.CAUSAL_LM,
            target_r=self.r,
            init_r=self.start_r,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=list(targets),
            total_step=1_000_000,  # the trainer knows how many there are, and sets this and the two shares (train.callbacks)
            fan_in_fan_out=transposed(model, targets),
        )


@METHODS.register("pissa")
class Pissa(Method):
    """LoRA that starts from the base's largest singular values (arXiv 2404.02948)."""

    refused: ClassVar[str] = (
        "it changes the weights of the base, so that nothing can be compared with the base any more; write adapter=lora"
    )
