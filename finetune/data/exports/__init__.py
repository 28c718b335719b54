"""Exports of a dataset for other trainers: samples as text, with a configuration that is ready to run.

A format is one class: fields are its options, `line` writes a sample as that trainer reads it, `reads` says what the trainer will make
of the line, `files` are its configuration. What a trainer would read as other tokens than ours is left out and counted.
"""

from finetune.data.exports.axolotl import Axolotl
from finetune.data.exports.base import FORMATS, Format, Setting
from finetune.data.exports.llamafactory import LlamaFactory
from finetune.data.exports.messages import Messages
from finetune.data.exports.reading import Tokens
from finetune.data.exports.told import Segment, Told, read_told
from finetune.data.exports.trl import Trl

__all__ = ["FORMATS", "Axolotl", "Format", "LlamaFactory", "Messages", "Segment", "Setting", "Told", "Tokens", "Trl", "read_told"]
