"""Exporters: the forms in which a run's adapter is handed on.

An exporter is one class: fields are its options, its call fills a folder with the tools it is given and says how the
result compares with the adapter. Card, licence, editor settings and the move into the run's folder are the same for all.
"""

from finetune.exporters.base import EXPORTERS, AddedAdapter, Dtype, Exporter, Losses, MergeBase, MergeReport, OtherAdapter, Tools
from finetune.exporters.gguf import CONVERTED, Gguf, GgufFile, GgufLora, GgufType
from finetune.exporters.weights import AdapterOnly, Merged

__all__ = [
    "CONVERTED",
    "EXPORTERS",
    "AdapterOnly",
    "AddedAdapter",
    "Dtype",
    "Exporter",
    "Gguf",
    "GgufFile",
    "GgufLora",
    "GgufType",
    "Losses",
    "MergeBase",
    "MergeReport",
    "Merged",
    "OtherAdapter",
    "Tools",
]
