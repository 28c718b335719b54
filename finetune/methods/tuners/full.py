"""Full fine-tuning as an adapter: every layer has a trained copy of its own weights beside those of the base.

So base and tuned model stay in one memory, can be asked in one batch, and what was learnt is saved like any adapter. The price is
the base's weights a second time; a tuned copy in float32 is what mixed-precision training keeps anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import PeftConfig
from torch import Tensor, nn
from torch.func import functional_call

from finetune.methods.tuners.layer import OwnLayer, OwnModel

_PARTS = ("weight", "bias")


@dataclass
class FullConfig(PeftConfig):
    """What peft writes into adapter_config.json; `layers` are the names of layers that hold weights. peft itself targets nothing."""

    layers: list[str] = field(default_factory=list)
    target_modules: list[str] | None = None

    def __post_init__(self) -> None:
        PeftConfig.__post_init__(self)  # type: ignore[no-untyped-call]
        from peft.utils.peft_types import PeftType

        self.peft_type = PeftType("FULL")


class FullLayer(OwnLayer):
    """A layer with weight and bias, computed with another weight and bias under an adapter."""

    adapter_layer_names = ("full_weight", "full_bias")

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__(base_layer)
        self.full_weight = nn.ParameterDict()
        self.full_bias = nn.ParameterDict()

    def add(self, name: str, *, shared: nn.Parameter | None) -> None:
        """Copy the base's weights, or take the copy of a layer that this one is tied to.

        In float32 from the start: peft would bring each layer's there by itself, and what was tied would be two.
        """
        for part, copies in self._copies().items():
            original = getattr(self.get_base_layer(), part, None)
            if original is not None:
                copies[name] = shared if shared is not None and part == "weight" else nn.Parameter(_whole(original))

    def adapted(self, x: Tensor, name: str) -> Tensor:
        base = self.get_base_layer()
        # The base's number format: trained numbers are kept in float32, as mixed precision does, and rounded at use.
        own = {f"layer.{part}": copies[name].to(getattr(base, part).dtype) for part, copies in self._copies().items() if name in copies}
        output: Tensor = functional_call(_Unhooked(base), own, (x,))
        return output

    def _copies(self) -> Mapping[str, nn.ParameterDict]:
        return {"weight": self.full_weight, "bias": self.full_bias}


class _Unhooked(nn.Module):
    """A layer's computation alone: under ZeRO-3 its own hooks would fetch the weights of the base, and meet the copies in their place."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.layer.forward(x)
        return output


class FullModel(OwnModel):
    """The model with a trained copy of all its weights. Layers that share a weight in the base share its copy."""

    prefix = "full_"
    tuner_layer_cls = FullLayer

    @staticmethod
    def _check_target_module_exists(peft_config: Any, key: str) -> bool:
        return key.rpartition(".")[2] in peft_config.layers

    def _make(self, target: nn.Module, *, name: str, config: Any, key: str) -> OwnLayer:
        layer = target if isinstance(target, FullLayer) else FullLayer(target)
        weight = layer.get_base_layer().weight
        twins = (each for each in self.model.modules() if isinstance(each, FullLayer) and each is not layer)
        shared = next(
            (each.full_weight[name] for each in twins if each.get_base_layer().weight is weight and name in each.full_weight), None
        )
        layer.add(name, shared=shared)
        return layer

    @classmethod
    def _get_adapter_state_dict(cls, model: nn.Module, *rest: Any, **named: Any) -> dict[str, Tensor]:
        """Each shared weight once: safetensors refuses a tensor under two names."""
        found: dict[str, Tensor] = super()._get_adapter_state_dict(model, *rest, **named)
        return {name: tensor for name, tensor in found.items() if name not in _twins(model)}

    @classmethod
    def _remap_adapter_state_dict_for_load(cls, model: nn.Module, *rest: Any, **named: Any) -> dict[str, Tensor]:
        """A shared weight in each of its places. Raises ValueError for a file with two of them, which were trained apart."""
        found: dict[str, Tensor] = super()._remap_adapter_state_dict_for_load(model, *rest, **named)
        shared = {name: first for name, first in _twins(model).items() if first in found}
        for name, first in shared.items():
            if name in found and not torch.equal(found[name], found[first]):
                raise ValueError(f"{name} and {first}, one weight in this base, differ in it")
        return found | {name: found[first] for name, first in shared.items()}


def _whole(weight: Tensor) -> Tensor:
    return weight.detach().to(torch.promote_types(weight.dtype, torch.float32), copy=True)


def _twins(model: nn.Module) -> dict[str, str]:
    """Names under which a parameter stands a second time, with the first."""
    first: dict[int, str] = {}
    twins: dict[str, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if first.setdefault(id(parameter), name) != name:
            twins[name] = first[id(parameter)]
    return twins


def layers_with_weights(model: nn.Module) -> list[str]:
    """The last names of all layers that hold weights. Raises ValueError for a weight that is neither `weight` nor `bias`."""
    names: set[str] = set()
    for name, module in model.named_modules():
        own = [part for part, _ in module.named_parameters(recurse=False)]
        if set(own) - {*_PARTS}:
            raise ValueError(f"{name} holds {', '.join(own)}")
        if own:
            names.add(name.rpartition(".")[2])
    return sorted(names)


def replaced(model: nn.Module) -> int:
    """Numbers of the base that have a trained copy."""
    weights = {id(weight): weight.numel() for layer in model.modules() if isinstance(layer, FullLayer) for weight in _base_weights(layer)}
    return sum(weights.values())


def _base_weights(layer: FullLayer) -> list[torch.Tensor]:
    return [*layer.get_base_layer().parameters(recurse=False)]
