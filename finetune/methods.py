"""PEFT methods."""

from __future__ import annotations

from finetune.registry import Plugin, Registry


class Method(Plugin):
    """Attaches an adapter to a model."""


METHODS: Registry[Method] = Registry("method", Method)


@METHODS.register("lora")
class Lora(Method):
    """Low-rank adaptation."""

    r: int = 16
    alpha: int = 32
    dropout: float = 0.05
    targets: tuple[str, ...] = ()
