"""Exporters."""

from __future__ import annotations

from typing import Literal

from finetune.registry import Plugin, Registry


class Exporter(Plugin):
    """Writes a run's adapter in a form to deploy."""


EXPORTERS: Registry[Exporter] = Registry("exporter", Exporter)


@EXPORTERS.register("merged")
class Merged(Exporter):
    """One checkpoint with the adapter merged into the weights."""

    merge_base: Literal["dequantized", "original"] = "dequantized"
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
