"""The fresh process: a task's file in, `measured.json` or the message of `refused` out, in the task's scratch folder."""

from __future__ import annotations

import sys
from pathlib import Path

from finetune.errors import FinetuneError
from finetune.export.process import REFUSED
from finetune.export.verify import MEASURED, Task, measure
from finetune.files import disk_fault, write_atomic


def main(path: Path) -> int:
    """Exit code 2 for what a user can put right."""
    task = Task.model_validate_json(path.read_text(encoding="utf-8"))
    try:
        write_atomic(task.scratch / MEASURED, measure(task).model_dump_json())
    except FinetuneError as error:
        return _refused(task, str(error))
    except OSError as error:
        if (fault := disk_fault(error)) is None:
            raise
        return _refused(task, fault)
    return 0


def _refused(task: Task, message: str) -> int:
    write_atomic(task.scratch / REFUSED, message)
    return 2


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
