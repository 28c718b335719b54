"""Adapters on disk: what they are wrapped in, saved as and loaded from."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from finetune.errors import ModelError
from finetune.families import Family
from finetune.files import read_object, write_json
from finetune.hashing import file_digest
from finetune.quiet import known_warnings_off, quiet_libraries

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

WEIGHTS, CONFIG, BASE = "adapter_model.safetensors", "adapter_config.json", "base.json"
_AGAIN = "copy the file again, or train again"


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
    @property
    def family(self) -> Family: ...


def wrap(model: PreTrainedModel, config: PeftConfig, *, name: str) -> PeftModel:
    """The model under a fresh adapter of this configuration."""
    from peft import get_peft_model

    from finetune.methods.tuners import PromptedModel, register

    register()
    if config.is_prompt_learning:
        return PromptedModel(model, config, name)
    return get_peft_model(model, config, adapter_name=name)


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
    added = {"added_tokens": dict(base.family.added)} if base.family.added else {}
    write_json(folder / BASE, {"name": where, "revision": revision, "digest": base.digest, **added})
    seal_adapter(folder)


def seal_adapter(folder: Path) -> None:
    """Write into base.json the SHA-256 of the adapter's files as they lie in `folder` now."""
    known = read_object(folder / BASE, error=ModelError, cure=_AGAIN)
    write_json(folder / BASE, known | {"files": {name: file_digest(folder / name) for name in (WEIGHTS, CONFIG)}})


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

    from finetune.methods.tuners import register

    register()
    for file in (WEIGHTS, CONFIG):
        if not (folder / file).is_file():
            raise ModelError(f"{folder}: no adapter lies here ({file} is missing); train first, or write the folder of an adapter")
    adapter_type(folder)
    try:
        with known_warnings_off():
            if isinstance(model, PeftModel):
                model.load_adapter(str(folder), adapter_name=name)
            else:
                model = _opened(model, folder, name)
    except SafetensorError as error:
        raise ModelError(f"{folder / WEIGHTS}: the file is damaged ({error}); {_AGAIN}") from error
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        text = " ".join(str(error).split())[:200]
        raise ModelError(f"{folder}: the adapter can not be loaded on this base ({text}); train it again on this base") from error
    model.set_adapter(name, inference_mode=True)
    return model.requires_grad_(False)


def _opened(model: PreTrainedModel, folder: Path, name: str) -> PeftModel:
    from peft import PeftConfig, PeftModel

    config = PeftConfig.from_pretrained(str(folder))
    if not config.is_prompt_learning:
        return PeftModel.from_pretrained(model, folder, adapter_name=name)
    config.inference_mode = True
    prompted = wrap(model, config, name=name)
    prompted.load_adapter(str(folder), adapter_name=name)
    return prompted.eval()


def adapter_type(folder: Path) -> str:
    """What peft calls the kind of the adapter in `folder`."""
    return str(read_object(folder / CONFIG, "peft_type", error=ModelError, cure=_AGAIN)["peft_type"])


def check_adapter_files(folder: Path) -> dict[str, Any]:
    """What the adapter in `folder` remembers of its base, and as `files` the SHA-256 of its files as they lie there.

    Raises ModelError where they are not those that training wrote. An adapter of a version that noted no digests is taken as it is.
    """
    adapter_type(folder)
    if not (folder / BASE).is_file():
        raise ModelError(f"{folder}: {BASE} is missing, so the base it belongs to is not known; {_AGAIN}")
    known = read_object(folder / BASE, "digest", "name", error=ModelError, cure=_AGAIN)
    noted, found = known.get("files"), {}
    for name in (WEIGHTS, CONFIG):
        path = folder / name
        if not path.is_file():
            raise ModelError(f"{path}: missing; {_AGAIN}")
        found[name] = file_digest(path)
        if isinstance(noted, dict) and noted.get(name, found[name]) != found[name]:
            raise ModelError(f"{path}: not the file that training wrote (its SHA-256 is another than {BASE} notes); {_AGAIN}")
    return known | {"files": found}


def check_adapter_base(folder: Path, base: Base) -> str:
    """The SHA-256 of the weights in `folder`. Raises ModelError when they were trained on another base, or are not what training wrote."""
    trained_on = check_adapter_files(folder)
    if trained_on["digest"] == base.digest:
        return str(trained_on["files"][WEIGHTS])
    where = f"{folder}: the adapter was trained on {trained_on['name']}, whose files"
    if trained_on["name"] in (str(base.path), base.name):
        raise ModelError(f"{where} have changed since; bring them back, or train again")
    raise ModelError(f"{where} differ from those of {base.path}; write model.path of that very base, or train again")
