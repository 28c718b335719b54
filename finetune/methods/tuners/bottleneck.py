"""Bottleneck adapters: a small two-layer network beside, before or after a linear layer.

    before     y = W(x + s U f(D x))          Houlsby et al. (arXiv 1902.00751), at the input of the feed-forward
    after      y = Wx + s U f(D Wx)           Houlsby, Pfeiffer et al. (arXiv 2005.00247), at its output
    parallel   y = Wx + s U f(D x)            He et al. (arXiv 2110.04366)

Shapes: x is B x T x I inputs, Wx B x T x O outputs; D is bottleneck x (I or O), U (I or O) x bottleneck; no biases, as in Astraios.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from peft import PeftConfig
from torch import Tensor, nn

from finetune.methods.layers import linear_shape, matches
from finetune.methods.tuners.layer import OwnLayer, OwnModel

PLACES = ("before", "after", "parallel")
_ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu, "gelu": nn.functional.gelu, "silu": nn.functional.silu}


@dataclass
class BottleneckConfig(PeftConfig):
    """What peft writes into adapter_config.json; a layer stands in one of the three lists."""

    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    parallel: list[str] = field(default_factory=list)
    size: int = 256
    activation: str = "tanh"
    scaling: float = 1.0
    init: str = "normal"
    target_modules: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        PeftConfig.__post_init__(self)  # type: ignore[no-untyped-call]
        from peft.utils.peft_types import PeftType

        self.peft_type = PeftType("BOTTLENECK")
        self.target_modules = sorted({*self.before, *self.after, *self.parallel})


class BottleneckLayer(OwnLayer):
    """A linear layer with bottlenecks; `places` says for each adapter which of the three forms it has."""

    adapter_layer_names = ("bottleneck_down", "bottleneck_up")
    other_param_names = ("places", "forms")

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__(base_layer)
        self.bottleneck_down = nn.ModuleDict()
        self.bottleneck_up = nn.ModuleDict()
        self.places: dict[str, str] = {}
        self.forms: dict[str, BottleneckConfig] = {}

    def add(self, name: str, config: BottleneckConfig, *, place: str) -> None:
        """Make the weights of an adapter."""
        self.places[name], self.forms[name] = place, config
        shape = linear_shape(self.get_base_layer())
        assert shape is not None, "only linear layers are targeted"
        into, out = {"before": (shape[0], shape[0]), "after": (shape[1], shape[1]), "parallel": shape}[place]
        down, up = nn.Linear(into, config.size, bias=False), nn.Linear(config.size, out, bias=False)
        nn.init.normal_(down.weight, std=0.02)
        if config.init == "zero":
            nn.init.zeros_(up.weight)
        else:
            nn.init.normal_(up.weight, std=0.02)
        self.bottleneck_down[name], self.bottleneck_up[name] = down, up
        self._move_adapter_to_device_of_base_layer(name)

    def adapted(self, x: Tensor, name: str) -> Tensor:
        if self.places[name] == "before":
            return self._base(x + self._bottleneck(x, name).to(x.dtype))
        y = self._base(x)
        return y + self._bottleneck(x if self.places[name] == "parallel" else y, name).to(y.dtype)

    def _base(self, x: Tensor) -> Tensor:
        y: Tensor = self.base_layer(x)
        return y

    def _bottleneck(self, x: Tensor, name: str) -> Tensor:
        """s U f(D x), in the adapter's number format."""
        down, up, form = self.bottleneck_down[name], self.bottleneck_up[name], self.forms[name]
        dtype = down.get_parameter("weight").dtype
        inner = _ACTIVATIONS[form.activation](down(x.to(dtype)))
        outer: Tensor = up(inner.to(dtype)) * form.scaling
        return outer


class BottleneckModel(OwnModel):
    """The model with bottlenecks in its targeted layers."""

    prefix = "bottleneck_"
    tuner_layer_cls = BottleneckLayer

    def _make(self, target: nn.Module, *, name: str, config: Any, key: str) -> OwnLayer:
        layer = target if isinstance(target, BottleneckLayer) else BottleneckLayer(target)
        place = next(place for place in PLACES if any(matches(key, each) for each in getattr(config, place)))
        layer.add(name, config, place=place)
        return layer
