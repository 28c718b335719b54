"""Third-party chatter kept off the terminal where it misleads or nobody looks, and off the clock where nobody needs it."""

from __future__ import annotations

import gc
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial, wraps
from typing import Any


def quiet_libraries() -> None:
    """No loading bars unless standard error is a terminal, and no advice to install what would call the hub.

    bitsandbytes asks for the package `kernels` on some CPUs; with it, a first forward pass downloads code (trap T4).
    """
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    if not sys.stderr.isatty():
        transformers_logging.disable_progress_bar()
    with compiled_when_called():
        import bitsandbytes  # noqa: F401  # before peft imports it


@contextmanager
def compiled_when_called() -> Iterator[None]:
    """Within the block `torch.compile` gives functions that are compiled at their first call.

    bitsandbytes decorates functions of its own with it, most of which no run of ours calls: importing the compiler for them takes a
    CPU-second and more at every start.
    """
    import torch

    at_once = torch.compile

    def later(model: Callable[..., Any] | None = None, **options: Any) -> Callable[..., Any]:
        if model is None:
            return partial(later, **options)
        compiled = cache(partial(at_once, model, **options))

        @wraps(model)
        def call(*inputs: Any, **named: Any) -> Any:
            return compiled()(*inputs, **named)

        return call

    torch.compile = later
    try:
        yield
    finally:
        torch.compile = at_once


@contextmanager
def nothing_collected() -> Iterator[None]:
    """Within the block the garbage collector rests, and what is alive at its end it never looks at again.

    For imports: nearly all that they make stays, and looking through it for garbage again and again is a fifth of a start's CPU time.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def import_models() -> None:
    """Imports what loading a model imports, in one go."""
    if "peft" in sys.modules:
        return
    with nothing_collected():
        quiet_libraries()
        import peft  # noqa: F401
        from transformers import AutoModelForCausalLM, masking_utils  # noqa: F401  # the latter imports torch's tracer


@contextmanager
def known_warnings_off() -> Iterator[None]:
    """Without the warnings that one library of the tested set raises about another; no user can act on them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        warnings.filterwarnings(
            "ignore", message="Unsupported layer type .*Norm", category=UserWarning
        )  # peft's LN tuning, of its only layers
        warnings.filterwarnings(
            "ignore", message="The following rank_pattern keys .*lora_E'", category=RuntimeWarning
        )  # AdaLoRA's own keys
        yield
