"""What a recipe can choose from, read off the registries and the table of families."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetune.data.filters import FILTERS
from finetune.data.miners import MINERS
from finetune.errors import FinetuneError
from finetune.exporters import EXPORTERS
from finetune.families import FAMILIES
from finetune.methods import METHODS
from finetune.metrics import METRICS
from finetune.registry import Registry

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

_REGISTRIES: dict[str, Registry[Any]] = {
    "filters": FILTERS,
    "miners": MINERS,
    "methods": METHODS,
    "metrics": METRICS,
    "exporters": EXPORTERS,
}


def catalogue(name: str = "") -> Group:
    """Tables of every choice, or of one kind only: filters, miners, methods, metrics, exporters, families."""
    from rich.console import Group

    names = (*_REGISTRIES, "families")
    if name and name not in names:
        raise FinetuneError(f"finetune list {name}: found {name!r}; write one of {', '.join(names)}")
    return Group(*(_families() if each == "families" else _plugins(each) for each in ([name] if name else names)))


def _plugins(name: str) -> Table:
    from rich.table import Table

    table = Table("kind", "what it does", "options and defaults", title=name, title_justify="left")
    for kind, cls in _REGISTRIES[name]:
        options = [f"{key}: {field.default!r}" for key, field in cls.model_fields.items()]
        table.add_row(kind, (cls.__doc__ or "").strip().splitlines()[0], "\n".join(options))
    return table


def _families() -> Table:
    from rich.table import Table

    table = Table("family", "architectures", "fill in the middle", "stops at", title="families", title_justify="left")
    for row in FAMILIES:
        sentinels = "" if row.fim is None else f"{row.fim.prefix} {row.fim.suffix} {row.fim.middle}"
        table.add_row(row.name, ", ".join(row.model_types), sentinels, " ".join(row.stop))
    table.add_row("none", "any", "no", "the tokenizer's eos token")
    return table
