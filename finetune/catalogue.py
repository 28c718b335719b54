"""What a recipe can say: its keys, and what each choice is; read off the recipe, the registries and the table of families."""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from finetune.data.exports import FORMATS
from finetune.data.filters import FILTERS
from finetune.data.miners import MINERS
from finetune.data.pieces import before_middle
from finetune.errors import FinetuneError
from finetune.exporters import EXPORTERS
from finetune.families import FAMILIES, Family
from finetune.methods import METHODS, Method
from finetune.metrics import METRICS
from finetune.recipe import Recipe
from finetune.registry import Plugin, Registry

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text

_REGISTRIES: dict[str, Registry[Any]] = {
    "filters": FILTERS,
    "miners": MINERS,
    "methods": METHODS,
    "metrics": METRICS,
    "exporters": EXPORTERS,
    "formats": FORMATS,
}
_KEY_WIDTH = 38  # of 80 columns
KINDS = (*_REGISTRIES, "families", "recipe")
_MORE = "With their options: finetune list KIND, for example finetune list methods. Every key of a recipe: finetune list recipe."


def catalogue(name: str = "") -> Group:
    """Every choice in a line; or one kind with options and defaults; or the recipe's keys."""
    from rich.console import Group

    if name and name not in KINDS:
        raise FinetuneError(f"finetune list {name}: found {name!r}; write one of {', '.join(KINDS)}")
    if name == "recipe":
        return Group(*_recipe())
    parts = [part for kind in ([name] if name else KINDS[:-1]) for part in (_titled(kind), _choices(kind, options=bool(name)))]
    return Group(*parts, *([] if name else [f"\n{_MORE}"]))


def _titled(kind: str) -> Text:
    from rich.text import Text

    return Text(f"\n{kind}", style="bold")


def _choices(kind: str, *, options: bool) -> Table:
    """Names that nothing breaks, and beside each what it is."""
    grid = _grid()
    if kind == "families":
        for family in FAMILIES:
            grid.add_row(family.name, _family(family, options=options))
        grid.add_row("none", "any other model: no filling in the middle; stops at the tokenizer's eos token")
        return grid
    for name, cls in _REGISTRIES[kind]:
        grid.add_row(name, _plugin(cls, options=options))
    return grid


def _grid(*, widest: int | None = None) -> Table:
    """Two columns; `widest` characters of the first one, which then wraps."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=widest is None, max_width=widest, overflow="fold")
    grid.add_column(overflow="fold")
    return grid


def _plugin(cls: type[Plugin], *, options: bool) -> RenderableType:
    from rich.console import Group

    refused = getattr(cls, "refused", "")
    text = _does(cls) + (f" Not offered: {refused}" if refused else "")
    if not options or refused:
        return text
    return Group(text, *([_able(cls)] if issubclass(cls, Method) else []), _keys(cls))


def _does(cls: type[Plugin]) -> str:
    return (cls.__doc__ or "").strip().splitlines()[0]


def _able(cls: type[Method]) -> str:
    """What a method can do, as `check` judges a recipe by it."""
    able = {"on nf4 and int8": cls.trains_quantised, "merges": cls.merges, "packed rows": cls.packs}
    return "; ".join(f"{what}: {'yes' if each else 'no'}" for what, each in able.items())


def _keys(cls: type[BaseModel], prefix: str = "") -> Table:
    """A row for each key: its default as YAML; what it means where the name does not say it, and what it can be."""
    from rich.text import Text

    grid = _grid(widest=_KEY_WIDTH)
    for name, field in cls.model_fields.items():
        if _section_of(field) is None:
            choices = _choices_of(field.annotation)
            about = [*([field.description] if field.description else []), *([f"one of {', '.join(choices)}"] if choices else [])]
            grid.add_row(Text(f"{prefix}{name}: {_written(field)}", "cyan"), "; ".join(about))
    return grid


def _choices_of(annotation: Any) -> list[str]:
    """The words that a key can be, in the order of the code."""
    if get_origin(annotation) is Literal:
        return [str(each) for each in get_args(annotation)]
    return [choice for inner in get_args(annotation) for choice in _choices_of(inner)]


def _written(field: FieldInfo) -> str:
    """The default as a recipe says it."""
    import yaml

    if field.is_required():
        return "(must be written)"
    value = _plain(field.get_default(call_default_factory=True, validated_data={}))
    return "empty" if value is None else yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()


def _plain(value: object) -> object:
    match value:
        case Plugin():
            return value.kind
        case tuple() | list():
            return [_plain(each) for each in value]
        case dict() | str() | int() | float() | None:
            return value
        case _:
            return str(value)


def _recipe() -> Iterator[RenderableType]:
    """Every key by the section it stands in, those of the whole first."""
    yield _keys(Recipe)
    for name, field in Recipe.model_fields.items():
        yield from _section(name, field)
    yield "\nAn adapter, filter, miner, metric or export is a name, or {kind: NAME, option: value}; options: finetune list KIND."


def _section(path: str, field: FieldInfo) -> Iterator[RenderableType]:
    section = _section_of(field)
    if section is None:
        return
    yield _titled(path)
    yield (section.__doc__ or "").strip().splitlines()[0]
    yield _keys(section, f"{path}.")
    for name, inner in section.model_fields.items():
        yield from _section(f"{path}.{name}", inner)


def _section_of(field: FieldInfo) -> type[BaseModel] | None:
    """The section that a key holds, one that is empty by default too."""
    optional = get_args(field.annotation) if get_origin(field.annotation) in (Union, UnionType) else ()
    for each in (field.annotation, *optional):
        if isinstance(each, type) and issubclass(each, BaseModel) and not issubclass(each, Plugin):
            return each
    return None


def _family(family: Family, *, options: bool) -> str:
    models = ", ".join(family.model_types)
    if not options:
        return models
    holes = "none" if family.fim is None else " ".join(piece.text for piece in before_middle(family.fim, [], "") if piece.text)
    return f"architectures: {models}\nfills in the middle by: {holes}\nstops at: {' '.join(family.stop)}"
