"""Named, typed choices in a recipe: `Plugin` and `Registry`.

A plugin is a frozen pydantic class: its fields are its options, its call does the work, its docstring is its help.

    FILTERS: Registry[Filter] = Registry("filter", Filter)

    @FILTERS.register("long_lines")
    class LongLines(Filter):
        \"\"\"Drop files with very long lines.\"\"\"
        max_length: int = 1000

A recipe field is declared as `Annotated[Filter, FILTERS]`. In YAML a plugin is a name, or a mapping with its options:

    filters: [long_lines]
    filters: [{kind: long_lines, max_length: 500}]
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidatorFunctionWrapHandler, field_validator, model_serializer
from pydantic_core import CoreSchema, PydanticCustomError, SchemaValidator, core_schema


class Written(BaseModel):
    """What people write: unknown keys are an error, true and false are no numbers, nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="wrap")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, read: ValidatorFunctionWrapHandler) -> Any:
        """pydantic takes true for 1 and false for 0, in every field of a number."""
        found = read(value)
        if isinstance(value, bool) and isinstance(found, int | float) and not isinstance(found, bool):
            raise ValueError("a number, not true or false")
        return found


class Plugin(Written):
    """One choice of a family. `kind` is its name in recipes and reports."""

    kind: ClassVar[str] = ""

    @model_serializer(mode="wrap")
    def _with_kind(self, fields: Any) -> dict[str, Any]:
        return {"kind": self.kind, **fields(self)}


@dataclass(frozen=True, slots=True)
class Later:
    """Marks a key that came when there were runs already: `before` is what was so without it, whatever its default is.

    With that value the key has no part in what a run is known by, so that those runs stay what they are.

        smoothing: Annotated[float, Later(0.0)] = 0.1
    """

    before: Any


P = TypeVar("P", bound=Plugin)


class Registry(Generic[P]):
    """The choices of one family, by name."""

    def __init__(self, family: str, base: type[P]) -> None:
        self.family = family
        self.base = base
        self._classes: dict[str, type[P]] = {}

    def register(self, kind: str) -> Callable[[type[P]], type[P]]:
        """A decorator that gives a class its name in recipes."""

        def add(cls: type[P]) -> type[P]:
            assert kind not in self._classes, f"two {self.family}s are called {kind}"
            cls.kind = kind
            self._classes[kind] = cls
            return cls

        return add

    def __iter__(self) -> Iterator[tuple[str, type[P]]]:
        return iter(sorted(self._classes.items()))

    def __getitem__(self, kind: str) -> type[P]:
        return self._classes[kind]

    def parse(self, value: Any) -> P:
        """A plugin from what stands in YAML: a name, a mapping with `kind`, or the plugin itself."""
        if isinstance(value, self.base):
            return value
        options = {"kind": value} if isinstance(value, str) else value
        if not isinstance(options, dict) or not isinstance(options.get("kind"), str):
            raise PydanticCustomError("plugin", "write a name, or {kind: name, option: value}")
        kind = options["kind"]
        if kind not in self._classes:
            raise PydanticCustomError("plugin", "{problem}", {"problem": self._unknown(kind)})
        return self._classes[kind].model_validate({k: v for k, v in options.items() if k != "kind"})

    def _unknown(self, kind: str) -> str:
        near = difflib.get_close_matches(kind, self._classes, n=1)
        hint = f"did you mean {near[0]}?" if near else "one of " + ", ".join(sorted(self._classes))
        return f"no {self.family} is called {kind!r}; {hint}"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Makes `Annotated[Filter, FILTERS]` the type of a recipe field."""
        dump = core_schema.plain_serializer_function_ser_schema(lambda plugin: plugin.model_dump(mode="json"))
        return core_schema.no_info_plain_validator_function(self.parse, serialization=dump)


class OneOrMore(Generic[P]):
    """A recipe field that takes one choice or a list of them, and holds a tuple: `Annotated[tuple[Exporter, ...], OneOrMore(EXPORTERS)]`.

    One choice is written back as one, so that an override reaches into it: `export.dtype=float32`.
    """

    def __init__(self, registry: Registry[P]) -> None:
        self.registry = registry

    def __iter__(self) -> Iterator[tuple[str, type[P]]]:
        return iter(self.registry)

    def _dump(self, plugins: tuple[P, ...]) -> Any:
        written = [plugin.model_dump(mode="json") for plugin in plugins]
        return written[0] if len(written) == 1 else written

    def _parse(self, value: Any) -> tuple[P, ...]:
        if not isinstance(value, list | tuple):
            return (self.registry.parse(value),)
        one = core_schema.no_info_plain_validator_function(self.registry.parse)
        parsed: tuple[P, ...] = SchemaValidator(core_schema.tuple_variable_schema(one, min_length=1)).validate_python(value)
        return parsed

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        dump = core_schema.plain_serializer_function_ser_schema(self._dump)
        return core_schema.no_info_plain_validator_function(self._parse, serialization=dump)
