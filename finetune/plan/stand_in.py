"""The model as training holds it, without a weight: real modules of the real class, quantised, with the adapter, on fake tensors.

First everything is built on torch's meta device, where layers have shapes and no storage; then each tensor becomes a fake one
(`FakeTensorMode`) of the same size, which operators, autograd and optimizers treat as if it lay in memory.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from transformers import AutoModelForCausalLM
from transformers.initialization import no_init_weights

from finetune.base import BaseFolder
from finetune.model import attention_kernel, guard_4bit, quantization_config, read_config, without_dropout
from finetune.plan.bits import bnb, functional
from finetune.plan.limits import Formats
from finetune.recipe import Recipe


class Params4bit(FakeTensor):
    """A fake tensor that libraries take for bitsandbytes' own: they look at the name of the class."""


class Int8Params(FakeTensor):
    """As Params4bit."""


def on_meta(base: BaseFolder, recipe: Recipe, formats: Formats, *, layers: int | None = None) -> nn.Module:
    """The model with its adapter on the meta device; `layers`: so many blocks of it, the first ones."""
    config = without_dropout(shortened(read_config(base), layers))
    functional.quantize_blockwise(torch.zeros(256))  # bitsandbytes keeps the first table it makes: it must be a real one
    with no_init_weights(), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=formats.weights, attn_implementation=attention_kernel(config))
        model.tie_weights()
        _quantise(model, recipe, formats)
        model.config.use_cache = False
        model.eval()
    with torch.device("meta"):  # with its first numbers: peft's VeRA goes on from what torch's initialisers give back
        adapted: nn.Module = recipe.adapter(model, base.family)
    return adapted


def shortened(config: Any, layers: int | None) -> Any:
    """The configuration of the same model with fewer blocks."""
    if layers is None:
        return config
    config = copy.deepcopy(config)
    config.num_hidden_layers = layers
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        config.layer_types = kinds[:layers]
    return config


def depth(config: Any) -> int:
    """How many blocks the model has, whatever its configuration calls it."""
    number: int = config.num_hidden_layers
    return number


def alike(config: Any) -> bool:
    """Whether every block is the same kind, so that a few of them stand for all."""
    return len(set(getattr(config, "layer_types", None) or [""])) == 1


def _quantise(model: nn.Module, recipe: Recipe, formats: Formats) -> None:
    """Replace layers as transformers does while it loads, and quantise their weights, all on the meta device."""
    asked = quantization_config(recipe.model, formats.weights)
    if asked is None:
        return
    from transformers.quantizers.auto import AutoHfQuantizer

    quantizer = AutoHfQuantizer.from_config(asked, pre_quantized=False)
    quantizer.preprocess_model(model=model, device_map={"": "cpu"})
    for module in model.modules():
        if isinstance(module, bnb.nn.Linear4bit):
            _to_4bit(module, formats)
        elif isinstance(module, bnb.nn.Linear8bitLt):
            _to_8bit(module)
    quantizer.postprocess_model(model)
    guard_4bit(model)


def _to_4bit(module: nn.Linear, formats: Formats) -> None:
    old: Any = module.weight
    options = {name: getattr(old, name) for name in ("blocksize", "compress_statistics", "quant_type", "quant_storage")}
    full = torch.empty(old.shape, dtype=formats.weights, device="meta")
    data, state = functional.quantize_4bit(full, **options)
    module.weight = bnb.nn.Params4bit(data, requires_grad=False, quant_state=state, module=module, bnb_quantized=True, **options)
    module.quant_state = state


def _to_8bit(module: nn.Linear) -> None:
    rows, columns = module.weight.shape
    state: Any = module.state
    state.CB = torch.empty(rows, columns, dtype=torch.int8, device="meta")
    state.SCB = torch.empty(rows, dtype=torch.float32, device="meta")
    module.weight = bnb.nn.Int8Params(state.CB, requires_grad=False, has_fp16_weights=False)


class Faker:
    """Turns meta tensors into fake ones, each once: what was shared stays shared. Use it within a FakeTensorMode."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[Tensor, Tensor]] = {}

    def model(self, model: nn.Module) -> None:
        """Every tensor of a model, in place."""
        for module in model.modules():
            for named in (module._parameters, module._buffers):
                for name, tensor in named.items():
                    if tensor is not None:
                        named[name] = self.tensor(tensor)
            self._attributes(module)
            for part in quantisation_states(module):
                self._attributes(part)

    def _attributes(self, owner: object) -> None:
        for name, value in vars(owner).items():
            if isinstance(value, Tensor):
                setattr(owner, name, self.tensor(value))

    def tensor(self, tensor: Tensor) -> Any:
        """The fake one of a tensor."""
        if id(tensor) not in self._made:
            self._made[id(tensor)] = (tensor, self._fake(tensor))
        return self._made[id(tensor)][1]

    def _fake(self, tensor: Tensor) -> Tensor:
        made = torch.empty(tensor.shape, dtype=tensor.dtype)
        if not isinstance(tensor, nn.Parameter | bnb.nn.Params4bit | bnb.nn.Int8Params):
            return made
        fake: Any = nn.Parameter(made, requires_grad=tensor.requires_grad)
        for kind, fake_kind in ((bnb.nn.Params4bit, Params4bit), (bnb.nn.Int8Params, Int8Params)):
            if isinstance(tensor, kind):
                fake.__class__ = fake_kind
                vars(fake).update({name: value for name, value in vars(tensor).items() if not name.startswith("_")})
        weight: Tensor = fake
        return weight


def quantisation_states(module: nn.Module) -> Iterator[object]:
    """The objects beside a quantised layer's weight that hold its scales."""
    if isinstance(module, bnb.nn.Linear8bitLt):
        yield module.state
    state = getattr(module, "quant_state", None) if isinstance(module, bnb.nn.Linear4bit) else None
    while state is not None:
        yield state
        state = state.state2


def tensors_of(module: nn.Module) -> Iterator[Tensor]:
    """A module's own tensors: parameters, buffers, plain attributes and scales; not those of modules in it."""
    owners: list[dict[str, Any]] = [module._parameters, module._buffers, vars(module), *map(vars, quantisation_states(module))]
    for owner in owners:
        yield from (value for value in owner.values() if isinstance(value, Tensor))
