"""Prompt learning on a causal model, with positions that are right for padded prompts and for answers that go on from a cache.

peft's own model drops the positions, counts padding as tokens and puts the prompt in again at each cached step. Here the prompt
is read once, before the first token:

    virtual  v v v | . . a b c      positions  0 1 2 | - - 3 4 5      mask  1 1 1 | 0 0 1 1 1

Shapes: B rows, V virtual tokens, T tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from peft import PeftModelForCausalLM
from torch import Tensor

from finetune.records import IGNORED


class PromptedModel(PeftModelForCausalLM):
    """A base model that reads learnt virtual tokens, or learnt keys and values, before its input. Logits are of real tokens alone."""

    def forward(self, *batch: Any, **inputs: Any) -> Any:
        """As the base's; `past_key_values` are those of an earlier call, which read the prompt."""
        input_ids: Tensor = batch[0] if batch else inputs.pop("input_ids")
        config = self.active_peft_config
        rows, tokens = input_ids.shape
        virtual = int(config.num_virtual_tokens)
        goes_on = inputs.get("past_key_values") is not None
        if inputs.get("attention_mask") is not None:
            mask_BT = inputs["attention_mask"]
            inputs["attention_mask"] = torch.cat([mask_BT.new_ones(rows, virtual), mask_BT], dim=1)
        if inputs.get("position_ids") is not None:
            inputs["position_ids"] = inputs["position_ids"] + virtual
        if goes_on:
            return self.base_model(input_ids=input_ids, **inputs)
        if config.peft_type == "PREFIX_TUNING":
            inputs["past_key_values"] = self.get_prompt(rows, max_cache_len=tokens + virtual)
            return self.base_model(input_ids=input_ids, **inputs)
        return self._after_virtual_tokens(input_ids, virtual, inputs)

    def _after_virtual_tokens(self, input_ids: Tensor, virtual: int, inputs: dict[str, Any]) -> Any:
        rows = len(input_ids)
        words = self.get_input_embeddings()(input_ids)
        prompt = self.get_prompt(rows).to(words.dtype)
        if inputs.get("position_ids") is not None:
            own = torch.arange(virtual, device=input_ids.device).expand(rows, virtual)
            inputs["position_ids"] = torch.cat([own, inputs["position_ids"]], dim=1)
        if inputs.get("labels") is not None:
            labels = inputs["labels"]
            inputs["labels"] = torch.cat([labels.new_full((rows, virtual), IGNORED), labels], dim=1)
        output = self.base_model(inputs_embeds=torch.cat([prompt, words], dim=1), **inputs)
        if output.logits.shape[1] > input_ids.shape[1]:
            output.logits = output.logits[:, virtual:]
        return output
