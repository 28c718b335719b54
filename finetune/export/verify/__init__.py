"""The proof of an export, in a process that knows nothing but the files: reload, answer, compare with the adapter.

`python -m finetune.export.verify TASK` reads a task and writes what it found; `export` starts it with the hub switched off.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from finetune.base import BaseFolder, read_base, weight_files
from finetune.errors import ExportError
from finetune.export.verify import figures
from finetune.export.verify.soundness import check_model
from finetune.exporters import Losses
from finetune.files import write_atomic
from finetune.methods import load_adapter
from finetune.model import load_model, on_cpu
from finetune.quiet import quiet_libraries
from finetune.recipe import ModelSection
from finetune.tokenizer_files import check_tokenizer

if TYPE_CHECKING:
    import numpy as np
    import torch
    from peft import PeftModel
    from torch import nn
    from transformers import PreTrainedModel


MEASURED, SPOOL, ASKED = "measured.json", "logits.npy", "asked.json"


class Weighted(BaseModel):
    """An adapter's folder, and the factor by which what it learnt is scaled."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    adapter: Path
    weight: float


class Task(BaseModel):
    """What to compare: an adapter on its base, and an exported folder; `scratch` takes 4 x tokens x vocabulary bytes.

    `context`: the tokens within which a GGUF file is to equal the adapter.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    model: ModelSection
    adapter: Path
    strength: float
    others: tuple[Weighted, ...] = ()
    exported: Path
    form: Literal["merged", "adapter", "gguf", "gguf_lora"]
    data: Path
    tokens: int
    scratch: Path
    context: int | None = None

    def question(self) -> str:
        """What is asked of base and adapter, whatever the export is."""
        return self.model_dump_json(exclude={"exported", "form", "scratch"})


class AdapterSays(BaseModel):
    """What base and adapter gave: sums over all tokens compared, greedy answers, the number format of the activations."""

    sums: figures.Before
    says: list[list[int]]
    number_format: str
    asked: str


class Measured(BaseModel):
    """Figures of one comparison; see `MergeReport` and `figures.Exported`.

    `computed_in`: number formats of the activations, adapter and export.
    """

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
    infill: bool


def measure(task: Task) -> Measured:
    """Load one after the other, never both: first the adapter, whose logits go to disk, then the export."""
    quiet_libraries()
    import numpy as np

    base = read_base(task.model)
    rows, side = figures.take_rows(task.data, tokens=task.tokens, least=1 if task.context is None else figures.PROMPTS)
    if task.context is not None:
        rows = figures.within(rows, tokens=task.tokens, context=task.context)
    prompts = figures.prompts(rows)
    learnt = sum(len(row.learnt) for row in rows)
    before = _asked_before(task) or _ask_adapter(base, task, rows, prompts)
    spool = np.load(task.scratch / SPOOL, mmap_mode="c")  # torch takes no memory it may not write
    after, says, number_format, infill = _exported(base, task, rows, spool, prompts)
    return Measured(
        kl=after.kl / learnt,
        effect=before.sums.effect / learnt,
        top1=after.same / learnt,
        max_abs_logit_difference=after.largest,
        loss=Losses(base=before.sums.base_loss / learnt, adapter=before.sums.loss / learnt, exported=after.loss / learnt),
        greedy_equal=sum(ours[: len(theirs)] == theirs for ours, theirs in zip(before.says, says, strict=True)),
        greedy_prompts=len(prompts),
        tokens=learnt,
        rows_from=side,
        computed_in=(before.number_format, number_format),
        infill=infill,
    )


def _ask_adapter(base: BaseFolder, task: Task, rows: Sequence[figures.Row], prompts: Sequence[torch.Tensor]) -> AdapterSays:
    """What base and adapter give for the rows and prompts; the adapter's logits, and this record, are left in the scratch folder."""
    import numpy as np

    model = _adapter_model(base, task)
    learnt = sum(len(row.learnt) for row in rows)
    spool = np.lib.format.open_memmap(task.scratch / SPOOL, mode="w+", dtype=np.float32, shape=(learnt, _entries(model)))
    sums = figures.spool_adapter(model, rows, spool)
    spool.flush()
    says = [figures.greedy(model, prompt) for prompt in prompts]
    said = AdapterSays(sums=sums, says=says, number_format=_number_format(model), asked=task.question())
    del model
    gc.collect()
    write_atomic(task.scratch / ASKED, said.model_dump_json())
    return said


def _asked_before(task: Task) -> AdapterSays | None:
    """The record of an earlier comparison of this export's, when it asked the very same: the second merge base needs no second pass."""
    path = task.scratch / ASKED
    if not path.exists():
        return None
    said = AdapterSays.model_validate_json(path.read_text(encoding="utf-8"))
    return said if said.asked == task.question() else None


def _exported(
    base: BaseFolder, task: Task, rows: Sequence[figures.Row], spool: np.ndarray, prompts: Sequence[torch.Tensor]
) -> figures.Exported:
    """What the export gives for the rows and prompts, in the engine it is made for."""
    if task.context is not None:
        from finetune.export.verify.llama import compare

        return compare(task.exported, base, rows=rows, spool=spool, prompts=prompts)
    if task.form == "adapter":
        alone = task.model_copy(update={"adapter": task.exported, "strength": 1.0, "others": ()})
        model: nn.Module = _adapter_model(base, alone)
    else:
        merged = _merged_model(task.exported)
        check_model(merged, base, task.exported)
        model = merged
    check_tokenizer(base, task.exported)
    says = [figures.greedy(model, prompt) for prompt in prompts]
    return figures.Exported(figures.compare(model, rows, spool), says, _number_format(model))


def _adapter_model(base: BaseFolder, task: Task) -> PeftModel:
    """The base as it was for training, with the adapters of the merge at their weights, all of them active."""
    from peft.tuners.lora import LoraLayer

    parts = [Weighted(adapter=task.adapter, weight=task.strength), *task.others]
    model: Any = load_model(base, task.model)
    names = [f"part{number}" for number in range(len(parts))]
    for name, part in zip(names, parts, strict=True):
        model = load_adapter(model, part.adapter, name=name)
        if part.weight != 1.0:
            for module in model.modules():
                if isinstance(module, LoraLayer):
                    module.scale_layer(part.weight)  # of the active adapter, the one just loaded
    if task.others:
        model.base_model.set_adapter(names, inference_mode=True)
    loaded: PeftModel = model.eval()
    return loaded


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
