"""One experiment as one YAML file and one typed, immutable object."""

from finetune.recipe.load import dump_recipe, load_recipe, parse_recipe
from finetune.recipe.sections import (
    DataSection,
    EvaluateSection,
    HoleKind,
    ModelSection,
    Recipe,
    RedactionSection,
    SearchSection,
    SweepSection,
    TrainSection,
    ValuesSection,
)

__all__ = [
    "DataSection",
    "EvaluateSection",
    "HoleKind",
    "ModelSection",
    "Recipe",
    "RedactionSection",
    "SearchSection",
    "SweepSection",
    "TrainSection",
    "ValuesSection",
    "dump_recipe",
    "load_recipe",
    "parse_recipe",
]
