"""What our tuners share: one wrapped layer for each layer of the base, and rows of one batch under different adapters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from torch import Tensor, nn

BASE_ROW = "__base__"  # peft's name for a row without an adapter


class OwnLayer(nn.Module, BaseTunerLayer):
    """A layer of the base with adapters by name. `rows`: the adapter of each row of the batch, None: the active one for all."""

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.rows: Sequence[str] | None = None
        self._disable_adapters = False
        self._active_adapter: list[str] = []
        self.merged_adapters: list[str] = []

    def adapted(self, x: Tensor, name: str) -> Tensor:
        """The layer's output under one adapter."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        if self.rows is not None:
            return self._by_row(x, self.rows)
        name = self.active_name()
        if name is None:
            plain: Tensor = self.base_layer(x)
            return plain
        return self.adapted(x, name)

    def active_name(self) -> str | None:
        """The adapter that all rows are under; None for the base."""
        known = self._get_available_adapters()
        names: list[str] = [] if self.disable_adapters else [name for name in self.active_adapters if name in known]
        if not names:
            return None
        (name,) = names
        return name

    def _by_row(self, x: Tensor, rows: Sequence[str]) -> Tensor:
        """Each row under its own adapter; neighbours under one adapter are computed together."""
        assert len(x) == len(rows), "the first dimension of a layer's input is the batch"
        known, parts, start = self._get_available_adapters(), [], 0
        for name, group in groupby(rows):
            end = start + len([*group])
            part = x[start:end]
            parts.append(self.adapted(part, name) if name in known else self.base_layer(part))
            start = end
        return parts[0] if len(parts) == 1 else torch.cat([part.to(parts[0].dtype) for part in parts])


class OwnModel(BaseTuner):
    """A model whose targeted layers are wrapped."""

    tuner_layer_cls: type[OwnLayer]

    def _prepare_adapter_config(self, peft_config: PeftConfig, model_config: dict[str, Any]) -> PeftConfig:
        return peft_config

    def _create_and_replace(self, *found: Any, **named: Any) -> None:
        peft_config, adapter_name, target, target_name, parent = found
        layer = self._make(target, name=adapter_name, config=peft_config, key=named["current_key"])
        layer.set_adapter(self.active_adapters)
        if layer is not target:
            self._replace_module(parent, target_name, layer, target)

    def _make(self, target: nn.Module, *, name: str, config: Any, key: str) -> OwnLayer:
        """The wrapped target, or the target that is wrapped already, with one adapter more."""
        raise NotImplementedError

    @contextmanager
    def _enable_peft_forward_hooks(self, *_: Any, **options: Any) -> Iterator[None]:
        """Within the block each row of a batch has the adapter that `adapter_names` gives it."""
        names: Sequence[str] | None = options.get("adapter_names")
        if names is None:
            yield
            return
        if self.training:
            raise ValueError("rows of one batch can be under different adapters only in eval mode")
        unknown = sorted({*names} - {BASE_ROW, *self.peft_config})
        if unknown:
            raise ValueError(f"no adapter is called {', '.join(unknown)}; loaded are {', '.join(self.peft_config)}")
        layers = [module for module in self.model.modules() if isinstance(module, OwnLayer)]
        for layer in layers:
            layer.rows = names
        try:
            yield
        finally:
            for layer in layers:
                layer.rows = None
