"""Astraios's other methods (arXiv 2401.00788): scaling vectors and bottleneck adapters, at its places, mapped to each family."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from finetune.families import Family
from finetune.methods.layers import match_targets, placed, require_blocks, require_upright, transposed
from finetune.methods.method import METHODS, Method

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PreTrainedModel


@METHODS.register("ia3")
class Ia3(Method):
    """(IA)^3: scales what attention computes, and what goes into the feed-forward's second layer (arXiv 2205.05638)."""

    outputs: tuple[str, ...] = Field((), description="linear layers whose outputs are scaled; empty: the family's attention")
    inputs: tuple[str, ...] = Field((), description="linear layers whose inputs are scaled; empty: the family's last of the feed-forward")

    def config(self, model: PreTrainedModel, family: Family) -> PeftConfig:
        from peft import IA3Config, TaskType

        outputs = placed(model, self.outputs, family, option="outputs", default=family.attention_in)
        inputs = placed(model, self.inputs, family, option="inputs", default=family.mlp_out)
        targets = [*outputs, *inputs]
        return IA3Config(
            task_type=TaskType.CAUSAL_LM,
            target_modules=targets,
            feedforward_modules=list(inputs),
            fan_in_fan_out=transposed(model, targets),
        )


class Bottleneck(Method):
    """A small network of two layers at linear layers of the base."""

    merges: ClassVar[bool] = False
    size: PositiveInt = Field(256, description="numbers in the middle")
    activation: Literal["tanh", "relu", "gelu", "silu"] = "tanh"
    scaling: PositiveFloat = 1.0
    init: Literal["normal", "zero"] = Field("normal", description="normal: both layers from N(0, 0.02); zero: begins without effect")

    def places(self, model: PreTrainedModel, family: Family) -> dict[str, list[str]]:
        """The layers with an adapter before, after and parallel to them."""
        raise NotImplementedError

    def config(self, model: PreTrainedModel, family: Family) -> PeftConfig:
        from peft import TaskType

        from finetune.methods.tuners import BottleneckConfig, register

        register()
        places = self.places(model, family)
        return BottleneckConfig(
            task_type=TaskType.CAUSAL_LM,
            size=self.size,
            activation=self.activation,
            scaling=self.scaling,
            init=self.init,
            before=places.get("before", []),
            after=places.get("after", []),
            parallel=places.get("parallel", []),
        )


@METHODS.register("adapter_h")
class AdapterH(Bottleneck):
    """Houlsby's adapters: bottlenecks at the input and at the output of the feed-forward (arXiv 1902.00751)."""

    before: tuple[str, ...] = Field((), description="linear layers with one before them; empty: the family's first of the feed-forward")
    after: tuple[str, ...] = Field((), description="linear layers with one after them; empty: the family's last of the feed-forward")

    def places(self, model: PreTrainedModel, family: Family) -> dict[str, list[str]]:
        before = placed(model, self.before, family, option="before", default=family.mlp_in)
        return {"before": [*before], "after": [*placed(model, self.after, family, option="after", default=family.mlp_out)]}


@METHODS.register("adapter_p")
class AdapterP(Bottleneck):
    """Pfeiffer's adapters: one bottleneck at the output of the feed-forward (arXiv 2005.00247)."""

    targets: tuple[str, ...] = Field((), description="linear layers with one after them; empty: the family's last of the feed-forward")

    def places(self, model: PreTrainedModel, family: Family) -> dict[str, list[str]]:
        return {"after": [*placed(model, self.targets, family, option="targets", default=family.mlp_out)]}


@METHODS.register("parallel")
class Parallel(Bottleneck):
    """Parallel adapters: bottlenecks beside the layers that attention begins with (arXiv 2110.04366)."""

    targets: tuple[str, ...] = Field((), description="linear layers with one beside them; empty: the family's attention")

    def places(self, model: PreTrainedModel, family: Family) -> dict[str, list[str]]:
        return {"parallel": [*placed(model, self.targets, family, option="targets", default=family.attention_in)]}


@METHODS.register("ln_tuning")
class LnTuning(Method):
    """Trains the norms alone (arXiv 2312.11420)."""

    def config(self, model: PreTrainedModel, family: Family) -> PeftConfig:
        from peft import LNTuningConfig, TaskType

        from finetune.methods.layers import norms

        return LNTuningConfig(task_type=TaskType.CAUSAL_LM, target_modules=list(norms(model)))


@METHODS.register("oft")
class Oft(Method):
    """Orthogonal fine-tuning: turns the inputs of linear layers, block by block (arXiv 2306.07280)."""

    block_size: PositiveInt = Field(32, description="numbers that are turned together; must divide the inputs of every layer")
    targets: tuple[str, ...] = Field((), description="names of linear layers; empty: those of the model's family")

    def config(self, model: PreTrainedModel, family: Family) -> PeftConfig:
        from peft import OFTConfig, TaskType

        targets = match_targets(model, self.targets or family.lora_targets)
        require_upright(model, targets, kind=self.kind)
        require_blocks(model, targets, size=self.block_size)
        return OFTConfig(task_type=TaskType.CAUSAL_LM, oft_block_size=self.block_size, target_modules=list(targets))
