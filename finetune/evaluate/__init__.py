"""STEP evaluate: base against tuned on held-out files.

held-out files -> holes -> both answers, both costs -> scores -> intervals -> report.json, report.png, answers.jsonl
"""

from finetune.evaluate.report import Evaluation
from finetune.evaluate.step import evaluate
from finetune.evaluate.table import table

__all__ = ["Evaluation", "evaluate", "table"]
