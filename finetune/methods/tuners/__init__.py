"""Tuners of ours, made known to peft.

peft keeps its methods in an enum that `register_peft_method` only looks into, so a name of ours has to be put into that enum first.
This is the one place that reaches into peft (trap T15); `tests/methods/test_tuners.py` says when it no longer holds.
"""

from __future__ import annotations

from typing import Any

from finetune.methods.tuners.bottleneck import BottleneckConfig, BottleneckModel
from finetune.methods.tuners.full import FullConfig, FullModel
from finetune.methods.tuners.layer import OwnModel
from finetune.methods.tuners.prompted import PromptedModel

__all__ = ["BottleneckConfig", "BottleneckModel", "FullConfig", "FullModel", "OwnModel", "PromptedModel", "register"]

_OWN = {"bottleneck": (BottleneckConfig, BottleneckModel), "full": (FullConfig, FullModel)}


def register() -> None:
    """Make our tuners loadable by peft; a second call changes nothing."""
    from peft.utils import register_peft_method
    from peft.utils.peft_types import PeftType

    for name, (config, model) in _OWN.items():
        if name.upper() not in PeftType.__members__:
            _add_member(PeftType, name.upper())
            register_peft_method(name=name, config_cls=config, model_cls=model)


def _add_member(kinds: Any, name: str) -> None:
    """Enlarge a string enum by a member whose value is its name."""
    member: Any = str.__new__(kinds, name)
    member._name_ = member._value_ = name
    member._sort_order_ = len(kinds._member_names_)
    member.__objclass__ = kinds
    kinds._member_names_.append(name)
    kinds._member_map_[name] = member
    kinds._value2member_map_[name] = member
    type.__setattr__(kinds, name, member)
