"""`finetune doctor` sees the GPU and trains a 4-bit layer on it."""

from __future__ import annotations

import torch

from finetune.doctor import doctor


def test_the_gpu_is_named_and_trains_in_4_bits() -> None:
    found = {check.name: check for check in doctor()}
    assert found["GPU 0"].standing == "works" and torch.cuda.get_device_name(0) in found["GPU 0"].found
    assert found["bitsandbytes nf4"].standing == "works" and found["bitsandbytes nf4"].found.endswith("on cuda")
