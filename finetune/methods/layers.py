"""The layers that adapters go to: found, matched by name, counted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetune.errors import ModelError
from finetune.families import Family

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import nn
    from transformers import PreTrainedModel

Linear = tuple[str, "nn.Module", int]  # full name, layer, weights before quantisation


def match_targets(model: PreTrainedModel, targets: Sequence[str], *, option: str = "targets") -> tuple[str, ...]:
    """The targets, each of which names at least one linear layer of a block; none asked for: all of them.

    Target names do not carry over between architectures, and peft only complains when not one of them matches.
    """
    names = [name for name, _, _ in linear_layers(model)]
    kinds = sorted({name.rpartition(".")[2] for name in names})
    unmatched = [target for target in targets if not any(matches(name, target) for name in names)]
    if unmatched:
        raise ModelError(
            f"adapter.{option}: this {model.config.model_type} model has no linear layer called {', '.join(map(repr, unmatched))}; "
            f"its blocks have {', '.join(kinds)}; write names of these, or leave adapter.{option} empty"
        )
    return tuple(targets or kinds)


def placed(model: PreTrainedModel, chosen: Sequence[str], family: Family, *, option: str, default: Sequence[str]) -> tuple[str, ...]:
    """The chosen layers, or those of the family's row, each matched. Raises ModelError where neither names any."""
    if not chosen and not default:
        kinds = sorted({name.rpartition(".")[2] for name, _, _ in linear_layers(model)})
        raise ModelError(
            f"adapter.{option}: found none, and family {family.name} has no placement of its own; "
            f"write adapter.{option}=[NAME] with names of {', '.join(kinds)}"
        )
    return match_targets(model, chosen or default, option=option)


def matches(name: str, target: str) -> bool:
    """peft's own rule: the name, or its end after a dot."""
    return name == target or name.endswith(f".{target}")


def linear_layers(model: nn.Module) -> Iterator[Linear]:
    """Every linear layer of the blocks (not the output head): full name, layer, number of weights.

    A layer that carries an adapter is given once, as the adapter's wrapper.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    head = _output_head(model)
    wrapped: list[str] = []
    for name, module in model.named_modules():
        if any(name.startswith(f"{outer}.") for outer in wrapped):
            continue
        inner = module.get_base_layer() if isinstance(module, BaseTunerLayer) else module
        shape = linear_shape(inner)
        if inner is not module:
            wrapped = [name]
        if module is head or inner is head or shape is None:
            continue
        yield name, module, shape[0] * shape[1]


def linear_shape(module: nn.Module) -> tuple[int, int] | None:
    """(inputs, outputs) of a linear layer, as before quantisation; None for anything else."""
    from torch.nn import Linear as TorchLinear
    from transformers.pytorch_utils import Conv1D

    if isinstance(module, Conv1D):
        return int(module.nx), int(module.nf)
    return (module.in_features, module.out_features) if isinstance(module, TorchLinear) else None


def transposed(model: nn.Module, targets: Iterable[str]) -> bool:
    """Whether the targets keep their weights as in x out (GPT-2's Conv1D)."""
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(module, Conv1D) for name, module, _ in linear_layers(model) if any(matches(name, t) for t in targets))


def require_upright(model: PreTrainedModel, targets: Iterable[str], *, kind: str) -> None:
    """Raises ModelError for a method whose layers peft can not put around transposed weights."""
    if transposed(model, targets):
        raise ModelError(f"adapter={kind}: this {model.config.model_type} model keeps its weights as inputs x outputs; write adapter=lora")


def require_blocks(model: PreTrainedModel, targets: Sequence[str], *, size: int) -> None:
    """Raises ModelError where blocks of this size do not fill the inputs of every target: peft would take another, and save this one."""
    found = [(name, linear_shape(module)) for name, module, _ in linear_layers(model) if any(matches(name, each) for each in targets)]
    inputs = {name: shape[0] for name, shape in found if shape is not None}
    for name, number in inputs.items():
        if number % size:
            raise ModelError(
                f"adapter.block_size: {size} does not divide the {number} inputs of {name}; write a number that divides those of every "
                f"layer, for example adapter.block_size={math.gcd(size, *inputs.values())}"
            )


def norms(model: nn.Module) -> tuple[str, ...]:
    """The names of the model's norms: layers called so that scale by a vector."""
    return tuple(
        sorted(
            {
                name.rpartition(".")[2]
                for name, module in model.named_modules()
                if type(module).__name__.endswith(("LayerNorm", "RMSNorm")) and getattr(module, "weight", None) is not None
            }
        )
    )


def _output_head(model: nn.Module) -> nn.Module | None:
    from peft import PeftModel
    from peft.utils.other import AuxiliaryTrainingWrapper
    from transformers import PreTrainedModel

    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    head = inner.get_output_embeddings() if isinstance(inner, PreTrainedModel) else None
    return head.original_module if isinstance(head, AuxiliaryTrainingWrapper) else head


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a model an adapter touches; counts of numbers, as before quantisation."""

    trainable: int
    total: int
    adapted: int
    linear: int

    @property
    def share(self) -> float:
        """The part of the blocks' linear weights that has an adapter."""
        return self.adapted / self.linear


def coverage(model: PeftModel) -> Coverage:
    """What the model's adapter trains and covers. Numbers that full fine-tuning puts in the place of the base's count once."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    from finetune.methods.tuners.full import replaced

    layers = list(linear_layers(model))
    trainable, total = model.get_nb_trainable_parameters()
    adapted = sum(size for _, module, size in layers if isinstance(module, BaseTunerLayer))
    return Coverage(trainable=trainable, total=total - replaced(model), adapted=adapted, linear=sum(size for _, _, size in layers))
