"""What libraries are kept from doing at a start."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import torch

from finetune.quiet import compiled_when_called, nothing_collected


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


class Ring:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.own = self


def test_nothing_is_collected_within_the_block_and_all_that_comes_after_it_is() -> None:
    seen: list[str] = []
    before, thresholds = gc.get_freeze_count(), gc.get_threshold()
    gc.callbacks.append(lambda phase, _: seen.append(phase))
    gc.set_threshold(1)
    try:
        with nothing_collected():
            seen.clear()
            with nothing_collected():
                kept = [[] for _ in range(1000)]
            kept += [[] for _ in range(1000)]
            assert seen == [] and not gc.isenabled()
        assert gc.isenabled() and gc.get_freeze_count() > before + len(kept)
        ring = weakref.ref(Ring())
        gc.collect()
        assert ring() is None and seen
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.pop()
        gc.unfreeze()
