"""For LLaMA-Factory: its sharegpt form with the template `empty`, which adds nothing to what is written.

Form and keys as in LLaMA-Factory at ff6d4d12 (data/README.md, data/converter.py, data/template.py, hparams/). It tokenises every turn
apart; a sample with several answers has as many turns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from finetune.data.exports.base import FORMATS, TRAIN, VALID, Format, Setting, as_yaml, training_values
from finetune.data.exports.reading import Tokens
from finetune.data.exports.told import Told

_FROM = ("human", "gpt")


@FORMATS.register("llamafactory")
class LlamaFactory(Format):
    """JSONL of conversations, dataset_info.json and train.yaml."""

    title: ClassVar[str] = "LLaMA-Factory"
    command: ClassVar[str] = "llamafactory-cli train {folder}/train.yaml"

    def line(self, told: Told) -> Mapping[str, Any] | str:
        turns = told.turns
        if len(turns) % 2:
            return "ends_in_no_answer"
        return {"conversations": [{"from": _FROM[index % 2], "value": text} for index, text in enumerate(turns)]}

    def reads(self, line: Mapping[str, Any]) -> Tokens | list[int]:
        return Tokens([*self._texts(line["conversations"])])

    def _texts(self, turns: list[dict[str, str]]) -> Iterator[str]:
        for index, turn in enumerate(turns):
            # Its templates fill in a pair's number where a prompt says {{idx}}, once.
            yield turn["value"] if index % 2 else turn["value"].replace("{{idx}}", str(index // 2), 1)

    def files(self, setting: Setting) -> dict[str, str]:
        info = {
            name: {"file_name": file, "formatting": "sharegpt", "columns": {"messages": "conversations"}}
            for name, file in (("train", TRAIN), ("valid", VALID))
        }
        adapter = setting.adapter
        values: dict[str, Any] = {
            "model_name_or_path": str(setting.base),
            "stage": "sft",
            "do_train": True,
            "finetuning_type": "full" if adapter is None else "lora",
            "lora_rank": adapter.r if adapter else None,
            "lora_alpha": adapter.alpha if adapter else None,
            "lora_dropout": adapter.dropout if adapter else None,
            "lora_target": ",".join(adapter.targets) if adapter else None,
            "use_rslora": adapter.rslora if adapter else None,
            "use_dora": adapter.dora if adapter else None,
            "quantization_bit": setting.bits,
            "quantization_method": "bnb" if setting.bits else None,
            "dataset_dir": str(setting.folder),
            "dataset": "train",
            "eval_dataset": "valid",
            "template": "empty",
            "cutoff_len": setting.row_length,
            "train_on_prompt": setting.learn_all,
            "mask_history": False,
            "packing": setting.packing,
            "neat_packing": setting.packing,
            **training_values(setting),
            "gradient_checkpointing": None,
            "disable_gradient_checkpointing": not setting.gradient_checkpointing,
            "eval_strategy": "steps",
            "report_to": "none",
        }
        return {
            "dataset_info.json": json.dumps(info, indent=2) + "\n",
            "train.yaml": as_yaml(
                values, head="For `llamafactory-cli train`. template: empty adds nothing; another one would change every sample."
            ),
        }

    def notes(self) -> str:
        return (
            "LLaMA-Factory tokenises prompts and answers apart, so that no token spans their border. The end token is written out: "
            "keep `template: empty`, which adds none."
        )
