"""For TRL: prompt and completion, and beside them the tokens, which its SFTTrainer takes as they are.

TRL tokenises prompt and completion joined, so that a token may span the border between them: a prompt of an editor never holds such a
token. With the tokens given, what it trains on is what octotune trains on, sample by sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from finetune.data.exports.base import FORMATS, Format, Setting, as_yaml, lora_values, training_values
from finetune.data.exports.reading import Tokens
from finetune.data.exports.told import Told
from finetune.records import IGNORED


@FORMATS.register("trl")
class Trl(Format):
    """JSONL of prompt and completion, and sft.yaml for `trl sft`."""

    title: ClassVar[str] = "TRL"
    command: ClassVar[str] = "trl sft --config {folder}/sft.yaml"
    tokens: bool = Field(
        True, description="write input_ids and labels too; false: TRL tokenises, what would become other tokens is left out"
    )

    def line(self, told: Told) -> Mapping[str, Any] | str:
        prompt, completion = told.halves
        prompt = prompt.removeprefix(told.opening)  # TRL's tokenizer puts it there
        if self.tokens:
            labels = [token if learnt else IGNORED for token, learnt in zip(told.ids, told.learnt, strict=True)]
            return {"prompt": prompt, "completion": completion, "input_ids": [*told.ids], "labels": labels}
        if len(told.turns) != 2:
            return "several_answers"
        if not completion.endswith(told.end):
            return "ends_otherwise"  # TRL would put its own end behind that of a middle
        return {"prompt": prompt, "completion": completion}

    def reads(self, line: Mapping[str, Any]) -> Tokens | list[int]:
        if self.tokens:
            ids: list[int] = line["input_ids"]
            return ids
        return Tokens([line["prompt"] + line["completion"]], special=True)

    def files(self, setting: Setting) -> dict[str, str]:
        values: dict[str, Any] = {
            "model_name_or_path": str(setting.base),
            "dataset_name": str(setting.folder),
            "dataset_train_split": "train",
            "dataset_test_split": "validation",
            "eos_token": setting.end,
            "completion_only_loss": not setting.learn_all,
            "max_length": setting.row_length,
            "packing": False,
            "use_peft": setting.adapter is not None,
            **lora_values(setting, r="lora_r", alpha="lora_alpha", dropout="lora_dropout", targets="lora_target_modules"),
            "use_rslora": setting.adapter.rslora if setting.adapter else None,
            "use_dora": setting.adapter.dora if setting.adapter else None,
            "load_in_4bit": True if setting.bits == 4 else None,
            "load_in_8bit": True if setting.bits == 8 else None,
            "bnb_4bit_quant_type": "nf4" if setting.bits == 4 else None,
            **training_values(setting),
            "eval_strategy": "steps",
            "report_to": "none",
        }
        head = "For `trl sft --config`, TRL 1.16.\npacking: true keeps samples apart only with attn_implementation: flash_attention_2."
        return {"sft.yaml": as_yaml(values, head=head)}

    def notes(self) -> str:
        if self.tokens:
            return (
                "TRL trains on `input_ids` and `labels` as they are. Without these two columns it tokenises `prompt` and `completion` "
                "itself, joined: then a token may span their border, most often in suffix-first samples."
            )
        return "TRL tokenises `prompt` and `completion` joined; every line here becomes the tokens that octotune trains on."
