"""Keys and values of an answer that grows by a token at a time, without a copy of all earlier ones at each.

Shapes: keys and values are B rows x H heads x T tokens x D numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers.cache_utils import DynamicLayer

if TYPE_CHECKING:
    from torch import Tensor

_ROOM = 64  # tokens


class RoomyLayer(DynamicLayer):
    """transformers' growing layer, whose keys and values are the filled part of larger tensors."""

    def __init__(self, layer: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lazy_initialization(layer.keys, layer.values)
        self._all_keys: Tensor = layer.keys
        self._all_values: Tensor = layer.values
        self.keys, self.values = self._all_keys, self._all_values

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if end > self._all_keys.shape[-2]:
            self._all_keys, self._all_values = (
                _with_room(each[..., :start, :], end + _ROOM) for each in (self._all_keys, self._all_values)
            )
        self._all_keys[..., start:end, :] = key_states
        self._all_values[..., start:end, :] = value_states
        self.keys, self.values = self._all_keys[..., :end, :], self._all_values[..., :end, :]
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        end = self.get_seq_length()
        self._all_keys, self._all_values = self._all_keys[indices], self._all_values[indices]
        self.keys, self.values = self._all_keys[..., :end, :], self._all_values[..., :end, :]


def give_room(cache: Any) -> None:
    """Exchange a cache's layers for roomy ones; those of another kind (a sliding window) stay."""
    cache.layers[:] = [RoomyLayer(layer) if type(layer) is DynamicLayer else layer for layer in cache.layers]


def _with_room(states: Tensor, tokens: int) -> Tensor:
    larger = states.new_empty(*states.shape[:-2], tokens, states.shape[-1])
    larger[..., : states.shape[-2], :] = states
    return larger
