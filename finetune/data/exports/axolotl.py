"""For axolotl: segments that it tokenises apart and learns or not, its format `input_output`.

Format and keys as in axolotl at 067b021c (prompt_strategies/input_output.py, utils/schemas/config.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from finetune.data.exports.base import FORMATS, TRAIN, VALID, Format, Setting, as_yaml, lora_values, training_values
from finetune.data.exports.reading import Tokens
from finetune.data.exports.told import Told

# What it calls by other names than transformers.
_NAMES = {"lr_scheduler_type": "lr_scheduler", "per_device_train_batch_size": "micro_batch_size", "num_train_epochs": "num_epochs"}
_PACKED = "\nWithout flash attention, as on a CPU, write sample_packing: false and attn_implementation: eager."


@FORMATS.register("axolotl")
class Axolotl(Format):
    """JSONL of segments (`type: input_output`), and axolotl.yaml."""

    title: ClassVar[str] = "axolotl"
    command: ClassVar[str] = "axolotl train {folder}/axolotl.yaml"

    def line(self, told: Told) -> Mapping[str, Any] | str:
        everything = all(told.learnt[1:])  # the first token never is: nothing stands before it
        return {"segments": [{"label": everything or segment.answer, "text": segment.text} for segment in told.segments]}

    def reads(self, line: Mapping[str, Any]) -> Tokens | list[int]:
        return Tokens([segment["text"] for segment in line["segments"]])

    def files(self, setting: Setting) -> dict[str, str]:
        kind = {"ds_type": "json", "type": "input_output"}
        adapter = None if setting.adapter is None else "qlora" if setting.bits == 4 else "lora"
        values: dict[str, Any] = {
            "base_model": str(setting.base),
            "datasets": [{"path": str(setting.folder / TRAIN), **kind}],
            "test_datasets": [{"path": str(setting.folder / VALID), "split": "train", **kind}],
            "dataset_prepared_path": str(setting.folder / "prepared"),
            "train_on_inputs": False,
            "sequence_len": setting.row_length,
            "excess_length_strategy": "raise",
            "sample_packing": setting.packing,
            "eval_sample_packing": False,
            "adapter": adapter,
            **lora_values(setting, r="lora_r", alpha="lora_alpha", dropout="lora_dropout", targets="lora_target_modules"),
            "peft_use_rslora": setting.adapter.rslora if setting.adapter else None,
            "peft_use_dora": setting.adapter.dora if setting.adapter else None,
            "load_in_4bit": setting.bits == 4,
            "load_in_8bit": setting.bits == 8,
            "bf16": "auto",
            "attn_implementation": "flash_attention_2" if setting.packing else None,
            **training_values(setting, **_NAMES),
            "optimizer": "adamw_torch",
            "special_tokens": {"eos_token": setting.end},
        }
        head = "For `axolotl train`, axolotl 0.19. AXOLOTL_DO_NOT_TRACK=1 in the environment switches its telemetry off."
        return {"axolotl.yaml": as_yaml(values, head=head + (_PACKED if setting.packing else ""))}

    def notes(self) -> str:
        return "axolotl tokenises each segment apart and learns those with `label: true`, so that no token spans the border of an answer."
