"""The command itself, where accelerate takes CPUs for devices that FSDP can spread a model over: it leaves FSDP out there without a word.

Prints what lies in each process.
"""

from __future__ import annotations

import sys
from typing import Any

from accelerate import accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from torch import nn
from torch.distributed.tensor import DTensor

from finetune.__main__ import main

set_up, spread = AcceleratorState.__init__, accelerator.fsdp2_prepare_model


def set_up_for_fsdp(self: AcceleratorState, *arguments: Any, fsdp_plugin: Any = None, **options: Any) -> None:
    set_up(self, *arguments, fsdp_plugin=fsdp_plugin, **options)
    if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
        self.fsdp_plugin = fsdp_plugin
        self.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP


def spread_and_say(*arguments: Any) -> nn.Module:
    model: nn.Module = spread(*arguments)
    parts = [isinstance(weight, DTensor) for weight in model.parameters()]
    print(f"spread: {parts.count(False)} of {len(parts)} tensors are whole", flush=True)
    return model


AcceleratorState.__init__, accelerator.fsdp2_prepare_model = set_up_for_fsdp, spread_and_say
sys.exit(main(sys.argv[1:]))
