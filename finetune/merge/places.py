"""Where each of a model's tensors lies in a base's files, whatever the files call it.

What a file calls a tensor can differ from the name in the model: `embed_out` for `lm_head`, a base model saved without its head, a layer's
experts one by one. transformers' own list of such names is asked, as it is when a model is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from finetune.base import BaseFolder, weight_files
from finetune.errors import ExportError
from finetune.merge.reading import Grown, Stored, contents

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Named(NamedTuple):
    """The model's name of a tensor in a file; `part`: the model puts it together from several of the file's."""

    name: str
    part: bool


@dataclass(frozen=True, slots=True)
class Places:
    """A base's tensors: `stored` by the model's names, in its order; `carried` by the files' names those that only together make one of
    the model's, whose names are in `joined`; `ignored` are the files' names of what the model has no use for."""

    stored: Mapping[str, Stored | Grown]
    carried: Mapping[str, Stored]
    joined: frozenset[str]
    ignored: tuple[str, ...]


def find_places(base: BaseFolder, model: PreTrainedModel, tied: Mapping[str, str]) -> Places:
    """Every tensor the model needs with its place on disk. Raises ExportError for one that is missing or of another shape."""
    needed = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    named = _naming(model)
    found: dict[str, Stored | Grown] = {}
    carried: dict[str, Stored] = {}
    joined: set[str] = set()
    ignored: list[str] = []
    for place in _all(base):
        name, part = named(place.key)
        if part:
            carried[place.key] = place
            joined.add(name)
        elif name in needed:
            found[name] = place
        else:
            ignored.append(place.key)
    for name, kept in tied.items():
        if name in found:  # the files may hold either of two names, or both
            found.setdefault(kept, found.pop(name))
    found |= _grown(found, base, model)
    wanted = {name: shape for name, shape in needed.items() if name not in tied and name not in joined}
    _require_all(found, wanted, base)
    return Places({name: found[name] for name in wanted}, carried, frozenset(joined), tuple(ignored))


def _all(base: BaseFolder) -> Iterator[Stored]:
    from safetensors import SafetensorError

    for path in weight_files(base.path):
        try:
            yield from contents(path).values()
        except SafetensorError as error:
            raise ExportError(f"{path}: no readable weights ({error}); copy the file again") from error


def _naming(model: PreTrainedModel) -> Callable[[str], Named]:
    """transformers' way from a file's name to the model's."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

    changes = get_model_conversion_mapping(model)
    renamings = [each for each in changes if isinstance(each, WeightRenaming)]
    converters = [each for each in changes if isinstance(each, WeightConverter)]
    state = model.state_dict()

    def named(key: str) -> Named:
        name, pattern = rename_source_key(key, renamings, converters, model.base_model_prefix, state)
        return Named(name, pattern is not None)

    return named


def _grown(found: Mapping[str, Stored | Grown], base: BaseFolder, model: PreTrainedModel) -> dict[str, Grown]:
    """The embeddings with rows for the tokens that the recipe adds, behind those on disk."""
    more = base.vocabulary_size - base.embedded
    grows = {id(parameter) for layer in (model.get_input_embeddings(), model.get_output_embeddings()) for parameter in layer.parameters()}
    names = [name for name, parameter in model.named_parameters() if id(parameter) in grows]
    return {name: Grown(place, more) for name in names if more and isinstance(place := found.get(name), Stored)}


def _require_all(found: Mapping[str, Stored | Grown], wanted: Mapping[str, tuple[int, ...]], base: BaseFolder) -> None:
    wrong = [name for name, shape in wanted.items() if name not in found or found[name].shape != shape]
    if wrong:
        what = f"shape {found[wrong[0]].shape}" if wrong[0] in found else "nothing"
        raise ExportError(
            f"{base.path}: {wrong[0]} should be {wanted[wrong[0]]}, found {what} ({len(wrong)} such tensors); "
            "the files do not hold this architecture's tensors under names that transformers knows; write export=adapter"
        )
