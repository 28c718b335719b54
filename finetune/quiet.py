"""Third-party chatter kept off the terminal where it misleads or nobody looks."""

from __future__ import annotations

import logging
import sys


def quiet_libraries() -> None:
    """No loading bars unless standard error is a terminal, and no advice to install what would call the hub.

    bitsandbytes asks for the package `kernels` on some CPUs; with it, a first forward pass downloads code (trap T4).
    """
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    if not sys.stderr.isatty():
        transformers_logging.disable_progress_bar()
