"""bitsandbytes, imported when its advice to install what would call the hub is already off (trap T4)."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from finetune.quiet import quiet_libraries

quiet_libraries()
bnb: Any = import_module("bitsandbytes")
functional: Any = import_module("bitsandbytes.functional")
gemm_4bit_in_parts: Any = import_module("bitsandbytes.backends.default.ops")._gemm_4bit_default_impl
