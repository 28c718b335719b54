"""Results of earlier steps that a disk or a hand has spoilt: one message with the file and its cure, whoever reads them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune.__main__ import main
from finetune.data.report import read_report as read_build_report
from finetune.data.store import read_heldout, read_rows, stream_rows, write_rows
from finetune.data.tables import SAMPLES, SampleRow, read_table
from finetune.errors import DataError, EvaluateError, FinetuneError
from finetune.evaluate.report import read_report as read_evaluation
from finetune.records import PackedRow
from finetune.run import Run

_KEYS = ("kinds", "metrics", "items", "files", "changes", "lines", "repositories", "tokens", "split", "instructions")
_OTHER = json.dumps({**dict.fromkeys(_KEYS, {}), "notes": [], "a_key_of_tomorrow": 1}).encode()
SPOILT = {
    "garbage": b"\x00\xff{",
    "half": b'{"kinds": {"line',
    "empty": b"",
    "a list": b"[]",
    "another object": b"{}",
    "of another version": _OTHER,
}
READERS: list[tuple[Callable[[Path], object], type[FinetuneError]]] = [(read_evaluation, EvaluateError), (read_build_report, DataError)]


@pytest.mark.parametrize("content", SPOILT.values(), ids=SPOILT)
@pytest.mark.parametrize(("read", "error"), READERS, ids=["evaluate", "build"])
def test_a_spoilt_report_is_named_with_its_cure(
    read: Callable[[Path], object], error: type[FinetuneError], content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "report.json").write_bytes(content)
    with pytest.raises(error, match=r"report.json: .*; remove .* and type finetune (build|evaluate) again"):
        read(tmp_path / "report.json")


@pytest.mark.parametrize("line", [b'{"origin": {"repo": "r"', b"\xff\n", b"[]\n", b'{"text": "a"}\n'])
def test_a_spoilt_line_of_held_out_files_is_named(line: bytes, tmp_path: Path) -> None:
    whole = b'{"origin": {"repo": "r", "commit": "c", "path": "a.py"}, "language": "Python", "text": "a"}\n'
    (tmp_path / "heldout.jsonl").write_bytes(whole + line)
    with pytest.raises(DataError, match=r"heldout.jsonl:2: no held-out file of a build; remove .* and type finetune build again"):
        read_heldout(tmp_path / "heldout.jsonl")


@pytest.mark.parametrize("kept", [0, 0.1, 0.6])
@pytest.mark.parametrize("read", [lambda folder: list(read_rows(folder)), lambda folder: list(stream_rows(folder))])
def test_rows_that_were_cut_off_are_named(read: Callable[[Path], object], kept: float, tmp_path: Path) -> None:
    row = PackedRow((1, 2, 3, 4) * 64, (1, 2, 3, 4) * 64, tuple(range(256)))
    write_rows([row] * 40, tmp_path / "train", vocabulary_size=5)
    (rows,) = (tmp_path / "train").glob("*.arrow")
    rows.write_bytes(rows.read_bytes()[: int(kept * rows.stat().st_size)])
    with pytest.raises(DataError, match=r"train: its rows can not be read .*; remove .* and type finetune build again"):
        read(tmp_path / "train")


@pytest.mark.parametrize("content", [b"", b"PAR1 garbage PAR1"])
def test_a_spoilt_table_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / SAMPLES).write_bytes(content)
    with pytest.raises(DataError, match=r"samples.parquet: no table of a build .*; remove .* and type finetune build again"):
        list(read_table(SampleRow, tmp_path / SAMPLES))


def test_a_table_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"samples.parquet: no table of a build"):
        list(read_table(SampleRow, tmp_path / SAMPLES))


@pytest.mark.parametrize("verb", ["evaluate", "compare", "export", "serve", "app"])
def test_an_adapter_of_which_a_bit_flipped_is_refused_wherever_a_run_is_opened(
    small_run: Run, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    from app.__main__ import main as app

    weights = small_run.adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    assert (app([str(small_run.folder)]) if verb == "app" else main([verb, str(small_run.folder)])) == 2
    assert f"{weights}: not the file that training wrote" in (said := capsys.readouterr().err)
    assert said.endswith("copy the file again, or train again\n")


def test_a_spoilt_report_of_an_export_is_named(small_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    report = small_run.export / "merged" / "merge_report.json"
    report.parent.mkdir(parents=True)
    report.write_text("{")
    assert main(["serve", str(small_run.folder)]) == 2
    assert f"{report}: no valid JSON" in (said := capsys.readouterr().err)
    assert f"remove {report.parent} and type finetune export again" in said
