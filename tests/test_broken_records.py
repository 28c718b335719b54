"""What octotune wrote beside a run, spoilt since: one message that says where, what, and what to do; nothing is lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from watching import content

from finetune.__main__ import main
from finetune.errors import FinetuneError, TrainError
from finetune.files import object_in
from finetune.plan.rate import measured_rate
from finetune.run import Run
from finetune.train.log import LogLine, read_lines, text_of

BROKEN = {
    b'{"digest": ': "no valid JSON",
    b"[1, 2]": "found a list where an object belongs",
    b"null": "found a word where an object belongs",
    b"\xff\xfe\xfa": "no text",
    b"{}": "says no ",
}


def said_by(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one message of a command that is refused."""
    assert main([*words]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said and said.count("\n") == 1
    return said


@pytest.mark.parametrize("found", BROKEN)
def test_what_is_no_object_is_named_with_where_and_what_to_do(found: bytes) -> None:
    with pytest.raises(TrainError) as caught:
        object_in(found, "digest", where="runs/a/run.json", error=TrainError, cure="bring it back")
    said = str(caught.value)
    assert said.startswith("runs/a/run.json: ") and BROKEN[found] in said and said.endswith("; bring it back")


def test_an_object_with_what_is_needed_is_given() -> None:
    assert object_in('{"digest": "a", "more": 1}', "digest", where="", error=TrainError, cure="") == {"digest": "a", "more": 1}


@pytest.mark.parametrize(
    ("verb", "name", "found", "cure"),
    [
        ("train", "manifest.json", b"{", "bring the file back, or remove it, and build the run anew"),
        ("evaluate", "manifest.json", b'{"steps": []}', "bring the file back, or remove it, and build the run anew"),
        ("evaluate", "manifest.json", b'{"steps": {"build": 3}}', "bring the file back, or remove it, and build the run anew"),
        ("evaluate", "adapter/base.json", b"[]", "copy the file again, or train again"),
        ("evaluate", "adapter/adapter_config.json", b"[1]", "copy the file again, or train again"),
        ("export", "adapter/adapter_config.json", b'{"peft_type"', "copy the file again, or train again"),
        ("export", "adapter/base.json", b"{}", "copy the file again, or train again"),
    ],
)
def test_a_broken_file_of_a_run_is_one_message(
    small_run: Run, capsys: pytest.CaptureFixture[str], verb: str, name: str, found: bytes, cure: str
) -> None:
    (small_run.folder / name).write_bytes(found)
    before = content(small_run.folder)
    said = said_by(capsys, verb, str(small_run.folder))
    assert said.startswith(f"finetune {verb}: {small_run.folder / name}") and said.endswith(f"{cure}\n")
    assert content(small_run.folder) == before


@pytest.mark.parametrize(
    ("name", "found", "cure"),
    [
        ("run.json", b"{", "remove the folder"),
        ("run.json", b"[]", "remove the folder"),
        ("metrics.jsonl", b'{"step": 1}\n{}\n', "take that line out of the file"),
    ],
)
def test_a_broken_file_beside_checkpoints_is_one_message(
    small_run: Run, capsys: pytest.CaptureFixture[str], name: str, found: bytes, cure: str
) -> None:
    """Of another training than the one that made the adapter: its checkpoint is whole, so what lies beside it is read."""
    folder = small_run.checkpoints / "checkpoint-1"
    folder.mkdir(parents=True)
    shutil.copy(small_run.adapter / "adapter_model.safetensors", folder)
    (folder / "trainer_state.json").write_text('{"global_step": 1, "max_steps": 2}')
    whole_checkpoint(folder)
    state = small_run.state()
    del state["steps"]["train"]
    small_run.manifest.write_text(json.dumps(state))
    owner = {"digest": small_run.digest("train"), "data": small_run.mark("build")["result"], "processes": 1}
    (small_run.checkpoints / "run.json").write_text(json.dumps(owner))
    (small_run.checkpoints / name).write_bytes(found)
    said = said_by(capsys, "train", str(small_run.folder))
    assert f"{small_run.checkpoints / name}" in said and cure in said
    assert (folder / "files.json").exists()


def whole_checkpoint(folder: Path) -> None:
    from finetune.train.checkpoints import seal

    seal(shutil.copytree(folder, folder.parent / ".partial" / folder.name), folder.parent)


LINES = [LogLine(step, 1.0, None, 1e-3, 0.5, 10 * step, 5.0, float(step), 1) for step in (1, 2, 3)]


def test_a_line_that_a_kill_tore_is_left_out_and_one_that_is_none_is_named(tmp_path: Path) -> None:
    log, text = tmp_path / "metrics.jsonl", text_of(LINES)
    log.write_text(text[:-20])
    assert read_lines(log, last_step=9) == LINES[:2]
    log.write_text(text.replace('"step": 2', '"stop": 2'))
    with pytest.raises(TrainError, match=r"metrics\.jsonl, line 2: says no 'step'; take that line out of the file"):
        read_lines(log, last_step=9)
    log.write_text(text.replace(text.splitlines()[1], text.splitlines()[1][:30]))
    with pytest.raises(TrainError, match=r"metrics\.jsonl, line 2: no valid JSON"):
        read_lines(log, last_step=9)


def test_the_rate_of_a_plan_names_a_line_that_is_none(small_run: Run) -> None:
    (small_run.adapter / "metrics.jsonl").write_text(text_of(LINES))
    assert measured_rate(small_run) == 5.0
    (small_run.adapter / "metrics.jsonl").write_text(text_of(LINES).replace('"step": 2,', '"step": 2}'))
    with pytest.raises(FinetuneError, match="--tokens-per-second"):
        measured_rate(small_run)
