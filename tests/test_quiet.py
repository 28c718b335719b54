"""What libraries are kept from doing at a start."""

from __future__ import annotations

import subprocess
import sys

import torch

from finetune.quiet import compiled_when_called


def test_a_function_is_compiled_at_its_first_call_and_once() -> None:
    made = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> torch.fx.GraphModule:
        made.append(inputs)
        return graph

    at_once = torch.compile
    with compiled_when_called():

        @torch.compile(backend=backend)
        def double(x: torch.Tensor) -> torch.Tensor:
            """Twice."""
            return x * 2

    assert torch.compile is at_once and made == []
    assert double.__doc__ == "Twice."
    for number in (1.0, 2.0):
        assert double(torch.tensor([number])).tolist() == [2 * number]
    assert len(made) == 1


def test_torchs_compiler_is_not_imported_at_a_start() -> None:
    code = """
import sys
from finetune.quiet import quiet_libraries
quiet_libraries()
import bitsandbytes, peft
print("torch._inductor.compile_fx" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False" and done.stderr == ""
