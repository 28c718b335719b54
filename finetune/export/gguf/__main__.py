"""The fresh process: the file of a task in, GGUF files out, or the message of a refusal beside the task."""

from __future__ import annotations

import sys
from pathlib import Path

from finetune.errors import FinetuneError
from finetune.export.gguf import AdapterConversion, Conversion, Quantisation, Steps
from finetune.export.process import REFUSED
from finetune.files import disk_fault, write_atomic
from finetune.quiet import quiet_libraries


def main(path: Path) -> int:
    """Exit code 2 for what a user can put right."""
    try:
        for step in Steps.model_validate_json(path.read_text(encoding="utf-8")).steps:
            _run(step)
    except FinetuneError as error:
        return _refused(path, str(error))
    except OSError as error:
        if (fault := _fault(error)) is None:
            raise
        return _refused(path, fault)
    return 0


def _fault(error: OSError) -> str | None:
    # numpy, writing an array to a file, says how many numbers it got rid of, and not why no more.
    if error.errno is None and " requested and " in str(error):
        return f"a GGUF file could not be written whole ({error}): most often the disk is full; free some room and type the same again"
    return disk_fault(error)


def _refused(path: Path, message: str) -> int:
    write_atomic(path.parent / REFUSED, message)
    return 2


def _run(task: Conversion | Quantisation | AdapterConversion) -> None:
    quiet_libraries()
    match task:
        case Conversion():
            from finetune.export.gguf.converter import convert

            convert(task)
        case Quantisation():
            from finetune.export.gguf.quantise import quantise

            quantise(task)
        case AdapterConversion():
            from finetune.export.gguf.lora import convert_adapter

            convert_adapter(task)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
