"""The proof of an export, in a process that knows nothing but the files: reload, answer, compare with the adapter.

`python -m finetune.export.verify TASK` reads a task and writes what it found; `export` starts it with the hub switched off.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from finetune.base import BaseFolder, read_base, weight_files
from finetune.errors import ExportError
from finetune.export.verify import figures
from finetune.exporters import Losses
from finetune.methods import load_adapter
from finetune.model import load_model, on_cpu
from finetune.quiet import quiet_libraries
from finetune.recipe import ModelSection

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import nn
    from transformers import PreTrainedModel


MEASURED, REFUSED = "measured.json", "refused"


class Task(BaseModel):
    """What to compare: an adapter on its base, and an exported folder; `scratch` takes 4 x tokens x vocabulary bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    model: ModelSection
    adapter: Path
    strength: float
    exported: Path
    form: Literal["merged", "adapter"]
    data: Path
    tokens: int
    scratch: Path


class Measured(BaseModel):
    """Figures of one comparison; see `MergeReport`. `computed_in`: number formats of the activations, adapter and export."""

    kl: float
    effect: float
    top1: float
    max_abs_logit_difference: float
    loss: Losses
    greedy_equal: int
    greedy_prompts: int
    tokens: int
    rows_from: Literal["valid", "train"]
    computed_in: tuple[str, str]


def measure(task: Task) -> Measured:
    """Load one after the other, never both: first the adapter, whose logits go to disk, then the export."""
    quiet_libraries()
    import numpy as np

    base = read_base(task.model)
    rows, side = figures.take_rows(task.data, tokens=task.tokens)
    prompts = figures.prompts(rows)
    learnt = sum(len(row.learnt) for row in rows)
    model = _adapter_model(base, task, task.adapter)
    spool = np.lib.format.open_memmap(task.scratch / "logits.npy", mode="w+", dtype=np.float32, shape=(learnt, _entries(model)))
    before = figures.spool_adapter(model, rows, spool)
    said = [figures.greedy(model, prompt) for prompt in prompts]
    computed_in = _number_format(model)
    del model
    gc.collect()
    exported = _adapter_model(base, task, task.exported) if task.form == "adapter" else _merged_model(task.exported)
    _check_tokenizer(task.exported, base)
    after = figures.compare(exported, rows, spool)
    says = [figures.greedy(exported, prompt) for prompt in prompts]
    return Measured(
        kl=after.kl / learnt,
        effect=before.effect / learnt,
        top1=after.same / learnt,
        max_abs_logit_difference=after.largest,
        loss=Losses(base=before.base_loss / learnt, adapter=before.loss / learnt, exported=after.loss / learnt),
        greedy_equal=sum(one == other for one, other in zip(said, says, strict=True)),
        greedy_prompts=len(prompts),
        tokens=learnt,
        rows_from=side,
        computed_in=(computed_in, _number_format(exported)),
    )


def _adapter_model(base: BaseFolder, task: Task, folder: Path) -> PeftModel:
    """The base as it was for training, with the adapter at the strength of the merge."""
    from peft.tuners.lora import LoraLayer

    model = load_adapter(load_model(base, task.model), folder)
    model.eval()
    if task.strength != 1.0:
        for module in model.modules():
            if isinstance(module, LoraLayer):
                module.scale_layer(task.strength)
    return model


def _merged_model(folder: Path) -> PreTrainedModel:
    """The checkpoint as anybody would load it; on the GPU where it fits."""
    from torch import cuda
    from transformers import AutoModelForCausalLM

    size = sum(path.stat().st_size for path in weight_files(folder))
    fits = not on_cpu() and cuda.mem_get_info()[0] > 1.3 * size
    auto: Any = AutoModelForCausalLM
    model, found = auto.from_pretrained(
        folder, dtype="auto", local_files_only=True, device_map={"": "cuda:0" if fits else "cpu"}, output_loading_info=True
    )
    odd = {kind: sorted(found[kind]) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") if found[kind]}
    if odd:
        raise ExportError(f"{folder}: transformers does not find its tensors: {odd}")
    loaded: PreTrainedModel = model
    return loaded


def _check_tokenizer(folder: Path, base: BaseFolder) -> None:
    """AutoTokenizer on the export must give the ids that training used, digits one by one included."""
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    text = "def area(r):\n    return 3.14159 * r**2  # \u00e9\t\u4e16\u754c\r\n" + "".join(base.family.sentinels)
    wanted = Tokenizer.from_file(str(base.tokenizer)).encode(text, add_special_tokens=False).ids
    found = AutoTokenizer.from_pretrained(folder, local_files_only=True)(text, add_special_tokens=False)["input_ids"]
    if found != wanted:
        raise ExportError(
            f"{folder}: AutoTokenizer reads the exported tokenizer otherwise than training did; report this with the base model's name"
        )


def _entries(model: PeftModel) -> int:
    """Length of one logits vector."""
    inner: Any = model.get_base_model()
    return int(inner.get_output_embeddings().weight.shape[0])


def _number_format(model: nn.Module) -> str:
    """What the layers compute in: bitsandbytes' choice where there is a 4-bit layer."""
    for module in model.modules():
        compute = getattr(module, "compute_dtype", None)
        if compute is not None:
            return str(compute).removeprefix("torch.")
    return str(next(model.parameters()).dtype).removeprefix("torch.")
