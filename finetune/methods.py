"""PEFT methods: ways to attach a small trainable part to a frozen base, and to save and load it.

A method is one class: fields are its options, `config` gives peft's configuration. A method of our own that peft does
not know overrides `__call__`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol

from pydantic import Field, PositiveInt

from finetune.errors import ModelError
from finetune.families import Family
from finetune.files import write_json
from finetune.quiet import known_warnings_off, quiet_libraries
from finetune.registry import Plugin, Registry

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from torch import Tensor, nn
    from transformers import PreTrainedModel

WEIGHTS, CONFIG, BASE = "adapter_model.safetensors", "adapter_config.json", "base.json"
Linear = tuple[str, "nn.Module", int]  # full name, layer, weights before quantisation


class Method(Plugin):
    """Attaches an adapter to a model.

    `merges`: the adapter can be folded into the base's weights. `packs`: samples in one row do not see each other
    through the adapter, so packed rows are exact.
    """

    merges: ClassVar[bool] = True
    packs: ClassVar[bool] = True

    def __call__(self, model: PreTrainedModel, family: Family) -> PeftModel:
        """The model with a fresh adapter, the only part that trains. Draws from torch's global generator."""
        quiet_libraries()
        from peft import get_peft_model

        with known_warnings_off():
            return get_peft_model(model, self.config(model, family))

    def config(self, model: PreTrainedModel, family: Family) -> PeftConfig:
        """peft's configuration of this method for this model."""
        raise NotImplementedError


METHODS: Registry[Method] = Registry("method", Method)


@METHODS.register("lora")
class Lora(Method):
    """Low-rank adaptation (arXiv 2106.09685); with model.quantization=nf4 this is QLoRA (arXiv 2305.14314)."""

    r: PositiveInt = Field(16, description="rank")
    alpha: PositiveInt = Field(32, description="the update is scaled by alpha / r")
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    targets: tuple[str, ...] = Field((), description="names of linear layers; empty: those of the model's family, all of a block")
    rslora: bool = Field(False, description="scale by alpha / sqrt(r) (arXiv 2312.03732)")
    dora: bool = Field(False, description="learn each column's length apart (arXiv 2402.09353); slower")

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
            fan_in_fan_out=_transposed(model, targets),
        )


def match_targets(model: PreTrainedModel, targets: Sequence[str]) -> tuple[str, ...]:
    """The targets, each of which names at least one linear layer of a block; none asked for: all of them.

    Target names do not carry over between architectures, and peft only complains when not one of them matches.
    """
    names = [name for name, _, _ in linear_layers(model)]
    kinds = sorted({name.rpartition(".")[2] for name in names})
    unmatched = [target for target in targets if not any(_matches(name, target) for name in names)]
    if unmatched:
        raise ModelError(
            f"adapter.targets: this {model.config.model_type} model has no linear layer called {', '.join(unmatched)}; "
            f"its blocks have {', '.join(kinds)}; write names of these, or leave adapter.targets empty"
        )
    return tuple(targets or kinds)


def _matches(name: str, target: str) -> bool:
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
        size = _weights(inner)
        if inner is head or size is None:
            continue
        if inner is not module:
            wrapped = [name]
        yield name, module, size


def _output_head(model: nn.Module) -> nn.Module | None:
    from peft import PeftModel
    from transformers import PreTrainedModel

    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    return inner.get_output_embeddings() if isinstance(inner, PreTrainedModel) else None


def _weights(module: nn.Module) -> int | None:
    """In times out of a linear layer, as before quantisation; None for anything else."""
    from torch.nn import Linear as TorchLinear
    from transformers.pytorch_utils import Conv1D

    if isinstance(module, Conv1D):
        return int(module.nx * module.nf)
    return module.in_features * module.out_features if isinstance(module, TorchLinear) else None


def _transposed(model: nn.Module, targets: Iterable[str]) -> bool:
    """Whether the targets keep their weights as in x out (GPT-2's Conv1D)."""
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(module, Conv1D) for name, module, _ in linear_layers(model) if any(_matches(name, t) for t in targets))


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
    """What the model's adapter trains and covers."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = list(linear_layers(model))
    trainable, total = model.get_nb_trainable_parameters()
    adapted = sum(size for _, module, size in layers if isinstance(module, BaseTunerLayer))
    return Coverage(trainable=trainable, total=total, adapted=adapted, linear=sum(size for _, _, size in layers))


class Base(Protocol):
    """What an adapter remembers of the model it was trained on (a `BaseFolder`)."""

    @property
    def path(self) -> Path: ...
    @property
    def name(self) -> str: ...
    @property
    def revision(self) -> str | None: ...
    @property
    def digest(self) -> str: ...


def save_adapter(model: PeftModel, folder: Path, base: Base, *, gathered: dict[str, Tensor] | None = None) -> None:
    """Write the active adapter into `folder`, which exists: weights, peft's configuration, and base.json.

    `gathered` is the model's state when its weights lie spread over processes. The base is named so that peft finds it
    again from anywhere: an absolute path, or a hub id with its commit. The same adapter gives the same bytes.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    name = model.active_adapter
    weights = get_peft_model_state_dict(model, state_dict=gathered, adapter_name=name, save_embedding_layers=False)
    save_file({key: value.detach().cpu().contiguous() for key, value in weights.items()}, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / WEIGHTS).chmod(0o644)  # safetensors makes it readable by its owner alone
    where, revision = _address(base)
    config = copy.deepcopy(model.peft_config[name])
    config.base_model_name_or_path, config.revision, config.inference_mode = where, revision, True
    write_json(folder / CONFIG, {key: _plain(value) for key, value in config.to_dict().items()})
    write_json(folder / BASE, {"name": where, "revision": revision, "digest": base.digest})


def _address(base: Base) -> tuple[str, str | None]:
    """Path or hub id, and the commit for a hub id (a folder of the hub's cache is called after it)."""
    in_hub_cache = base.path.parent.name == "snapshots"
    return (base.name, base.path.name) if in_hub_cache else (str(base.path.resolve()), base.revision)


def _plain(value: Any) -> Any:
    """A configuration's value for JSON; sets in one order, so that a rerun writes the same bytes."""
    return sorted(value) if isinstance(value, set | frozenset) else value


def load_adapter(model: PreTrainedModel | PeftModel, folder: Path, *, name: str = "tuned") -> PeftModel:
    """The model with the adapter that lies in `folder`, frozen and active; a PeftModel gets one adapter more."""
    quiet_libraries()
    from peft import PeftModel
    from safetensors import SafetensorError

    for file in (WEIGHTS, CONFIG):
        if not (folder / file).is_file():
            raise ModelError(f"{folder}: no adapter lies here ({file} is missing); train first, or write the folder of an adapter")
    try:
        with known_warnings_off():
            if not isinstance(model, PeftModel):
                return PeftModel.from_pretrained(model, folder, adapter_name=name)
            model.load_adapter(str(folder), adapter_name=name)
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError) as error:
        text = " ".join(str(error).split())[:200]
        raise ModelError(f"{folder}: the adapter can not be loaded on this base ({text}); train it again on this base") from error
    model.set_adapter(name)
    return model


def check_adapter_base(folder: Path, base: Base) -> None:
    """Raises ModelError when the adapter in `folder` was trained on another base than this one."""
    path = folder / BASE
    if not path.exists():
        return
    trained_on = json.loads(path.read_text(encoding="utf-8"))
    if trained_on["digest"] != base.digest:
        raise ModelError(
            f"{folder}: the adapter was trained on {trained_on['name']}, whose files differ from those of {base.path}; "
            "write model.path of that very base, or train again"
        )
