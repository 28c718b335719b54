"""Other methods of peft's that were found sound: each is a line of options, which have peft's names (see docs/methods.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from finetune.errors import ModelError
from finetune.families import Family
from finetune.methods.layers import match_targets, require_upright
from finetune.methods.low_rank import TARGETS, Dropout
from finetune.methods.method import METHODS, Method

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel


class OfPeft(Method):
    """`settings` names peft's configuration; every field but `targets` goes into it, and so does what is `fixed`."""

    settings: ClassVar[str] = ""
    fixed: ClassVar[Mapping[str, object]] = {}
    targets: tuple[str, ...] = TARGETS

    def __call__(self, model: PreTrainedModel, family: Family) -> PeftModel:
        try:
            return super().__call__(model, family)
        except ValueError as error:  # sizes that do not divide those of a layer
            raise ModelError(f"adapter={self.kind}: {' '.join(str(error).split())[:200]}; write another option, or adapter=lora") from error

    def config(self, model: PreTrainedModel, family: Family) -> PeftConfig:
        import peft

        targets = match_targets(model, self.targets or family.lora_targets)
        require_upright(model, targets, kind=self.kind)
        options = self.model_dump(exclude={"targets"})
        del options["kind"]
        config: PeftConfig = getattr(peft, self.settings)(
            task_type=peft.TaskType.CAUSAL_LM, target_modules=[*targets], **self.fixed, **options
        )
        return config


@METHODS.register("gralora")
class GraLora(OfPeft):
    """LoRA in blocks: a layer's weight in k x k parts, each with its own thin matrices (arXiv 2505.20355)."""

    trains_quantised: ClassVar[bool] = False
    settings = "GraloraConfig"
    r: PositiveInt = Field(32, description="rank; gralora_k must divide it")
    alpha: PositiveInt = Field(64, description="the update is scaled by alpha / r")
    gralora_k: PositiveInt = Field(2, description="parts of each side; must divide the sizes of every layer")


@METHODS.register("hira")
class Hira(OfPeft):
    """The base's weight times a product of thin matrices, number by number: an update of full rank (HiRA, ICLR 2025)."""

    settings = "HiraConfig"
    r: PositiveInt = Field(32, description="rank of the product")
    hira_dropout: Dropout = 0.0


@METHODS.register("miss")
class Miss(OfPeft):
    """One thin matrix for each layer, added block by block (arXiv 2409.15371)."""

    settings = "MissConfig"
    r: PositiveInt = Field(64, description="rank; must divide the sizes of every layer")
    miss_dropout: Dropout = 0.0


@METHODS.register("road")
class Road(OfPeft):
    """Turns and stretches the outputs of layers, two numbers at a time (arXiv 2409.00119)."""

    settings = "RoadConfig"
    variant: Literal["road_1", "road_2", "road_4"] = Field("road_1", description="twice and four times the numbers: 2 and 4")
    group_size: PositiveInt = Field(64, description="numbers that are turned together; must divide the outputs of every layer")


@METHODS.register("vera")
class Vera(OfPeft):
    """LoRA whose thin matrices are random, frozen and shared by all layers; vectors that scale them learn (arXiv 2310.11454)."""

    settings = "VeraConfig"
    r: PositiveInt = Field(256, description="rank")
    d_initial: PositiveFloat = 0.1
    vera_dropout: Dropout = 0.0


@METHODS.register("fourierft")
class FourierFt(OfPeft):
    """A few frequencies of each weight's update (arXiv 2405.03003)."""

    settings = "FourierFTConfig"
    fixed: ClassVar[Mapping[str, object]] = {"init_weights": True}  # peft's own start is not the base
    n_frequency: PositiveInt = Field(1000, description="trained numbers of each layer")
    scaling: PositiveFloat = 150.0
    random_loc_seed: PositiveInt = Field(777, description="draws the frequencies")


@METHODS.register("c3a")
class C3a(OfPeft):
    """Circular convolutions, block by block (arXiv 2407.19342)."""

    trains_quantised: ClassVar[bool] = False
    settings = "C3AConfig"
    block_size: PositiveInt = Field(128, description="must divide the sizes of every layer")


@METHODS.register("delora")
class DeLora(OfPeft):
    """LoRA whose length is learnt apart from its direction (arXiv 2503.18225)."""

    trains_quantised: ClassVar[bool] = False
    settings = "DeloraConfig"
    r: PositiveInt = Field(8, description="rank")
    delora_lambda: PositiveFloat = Field(15, description="the length at the start")


_DECOMPOSED = "it decomposes every weight of the base before the first step, and a 4-bit weight can not be decomposed"
_DRAWN = "it trains on no 4-bit weight, and draws in each layer whether it is there, so that no plan can be made of it"
_SHARED = "its file can not hold the tensors that its layers share"
REFUSED: Mapping[str, str] = {
    "adamss": f"{_DECOMPOSED}; write adapter=lora",
    "boft": "peft compiles CUDA code for it on the machine that trains, and no plan can be made of it; write adapter=oft",
    "hra": "it trains on no 4-bit weight, and a step of StarCoder 2 3B is twelve times the work of LoRA's; write adapter=oft",
    "lily": f"samples in one row change each other's answers, and {_SHARED}; write adapter=lora",
    "loha": f"{_DRAWN}; write adapter=hira",
    "lokr": f"{_DRAWN}; write adapter=lora",
    "osf": f"{_DECOMPOSED}; write adapter=lora",
    "psoft": f"{_DECOMPOSED}; write adapter=oft",
    "randlora": f"{_SHARED}; write adapter=vera",
    "shira": "it trains on no 4-bit weight, and no plan can be made of its sparse tensors; write adapter=lora",
    "vblora": "what it computes depends on its numbers, so that no plan can be made of it; write adapter=vera",
}
for _kind, _reason in REFUSED.items():
    METHODS.register(_kind)(type(_kind, (Method,), {"refused": _reason, "__doc__": f"{_kind} of peft.", "__module__": __name__}))
