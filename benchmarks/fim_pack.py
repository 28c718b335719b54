"""Tokenise, cut windows, make holes, render and pack: this project beside `datasets.map` with the same tokenizer.

    python benchmarks/fim_pack.py --tokenizer finetune/demo --megabytes 20 --row-length 2048

Both sides take the same windows and holes, and their ids are compared sample by sample. The peer is what people write: two `datasets.map`
calls with transformers' fast tokenizer (offsets for the windows, then the pieces), and trl's best-fit packing. Each side runs in a process
of its own. CPU-seconds count every thread, from the texts in memory to rows on disk; memory is the peak above what the process held with
its libraries and texts loaded.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import resource
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from finetune.data.languages import language_of
from finetune.records import Origin, SourceFile

SEED = 0


def documents(folder: Path, *, megabytes: float) -> Iterator[SourceFile]:
    """Source files of a folder in the order of their paths, up to so many megabytes."""
    left = int(megabytes * 1e6)
    for path in sorted(folder.rglob("*")):
        if path.suffix not in {".py", ".js", ".ts", ".java", ".go", ".rs", ".c", ".h", ".cc", ".cpp", ".hpp"} or not path.is_file():
            continue
        try:
            text = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            continue
        if not text or len(text) > 1_000_000:
            continue
        left -= len(text)
        if left < 0:
            return
        name = str(path.relative_to(folder))
        yield SourceFile(Origin("corpus", "0", name), language_of(name, text) or "", text)


def ours(files: Sequence[SourceFile], tokenizer: Path, row_length: int, folder: Path) -> Iterator[list[int]]:
    """The samples' ids, after the rows are on disk."""
    from finetune.data.mine import mine
    from finetune.data.miners import Bench
    from finetune.data.miners.fim import Fim
    from finetune.data.pack import pack
    from finetune.data.render import Encoder
    from finetune.data.store import write_rows
    from finetune.data.tally import Tally
    from finetune.families import FAMILIES

    encoder = Encoder(tokenizer / "tokenizer.json", FAMILIES[0])
    mined = [*mine(files, [Fim()], Bench(encoder, row_length, SEED), learn="all", tally=Tally())]
    rows = pack((each.encoded for each in mined), row_length=row_length, pad_id=encoder.pad_id)
    write_rows(rows, folder / "rows", vocabulary_size=encoder.vocabulary_size, longest=row_length)
    print(f"engine {encoder.engine}", file=sys.stderr)
    return (list(each.encoded.input_ids) for each in mined)


def peer(files: Sequence[SourceFile], tokenizer: Path, row_length: int, folder: Path) -> Iterator[list[int]]:
    """The same with two calls of datasets.map and trl's packing."""
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast
    from trl import pack_dataset

    from finetune.data.miners import Bench
    from finetune.data.miners.fim import SENTINELS, SPLIT_COST, Fim, draws_of
    from finetune.data.miners.holes import Parts, Window
    from finetune.data.miners.windows import windows

    fast = PreTrainedTokenizerFast(tokenizer_file=str(tokenizer / "tokenizer.json"), split_special_tokens=True)
    names = ("<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<|endoftext|>")
    sentinels = [fast.convert_tokens_to_ids(name) for name in names]
    fim, bench, room = Fim(), Bench(None, row_length, SEED), row_length - SENTINELS - SPLIT_COST  # type: ignore[arg-type]

    def split(batch: dict[str, list[str]]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {"form": [], "prefix": [], "middle": [], "suffix": []}
        offsets = fast(batch["text"], add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        for text, path, spans in zip(batch["text"], batch["path"], offsets, strict=True):
            starts, begin, origin = [start for start, _ in spans], 0, Origin("corpus", "0", path)
            small = len(text.encode()) <= room
            for index, piece in enumerate(windows(text, starts=range(len(text)) if small else starts, room=room)):
                sample = fim.sample(Window(origin, piece, begin, Parts(text, None)), draws_of(bench, origin, str(index)))
                begin += len(piece)
                for key, values in found.items():
                    values.append(getattr(sample, key))
        return found

    def render(batch: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        ids = [fast(batch[part], add_special_tokens=False)["input_ids"] for part in ("prefix", "middle", "suffix")]
        return {"input_ids": [joined(*sample, sentinels) for sample in zip(batch["form"], *ids, strict=True)]}

    table = Dataset.from_dict({"text": [file.text for file in files], "path": [file.origin.path for file in files]})
    parts = table.map(split, batched=True, remove_columns=["text", "path"], cache_file_name=str(folder / "parts.arrow"))
    encoded = parts.map(render, batched=True, remove_columns=parts.column_names, cache_file_name=str(folder / "encoded.arrow"))
    short = encoded.filter(lambda ids: len(ids) <= row_length, input_columns="input_ids", cache_file_name=str(folder / "short.arrow"))
    pack_dataset(short, row_length, strategy="bfd", map_kwargs={"cache_file_name": str(folder / "packed.arrow")})
    return iter(encoded["input_ids"])


def joined(form: str, before: list[int], hole: list[int], after: list[int], sentinels: Sequence[int]) -> list[int]:
    """One sample's ids; `sentinels` are prefix, suffix, middle, end."""
    prefix, suffix, middle, end = sentinels
    match form:
        case "psm":
            return [prefix, *before, suffix, *after, middle, *hole, end]
        case "spm":
            return [prefix, suffix, *after, middle, *before, *hole, end]
        case _:
            return [*hole, end]


def limit(files: Sequence[SourceFile], tokenizer: Path, row_length: int, folder: Path) -> Iterator[list[int]]:
    """Every text tokenised twice and nothing else: what no windowing and splitting at characters can do without."""
    from finetune.data.render import Encoder
    from finetune.families import FAMILIES

    encoder = Encoder(tokenizer / "tokenizer.json", FAMILIES[0])
    for _ in range(2):
        for first in range(0, len(files), 32):
            encoder.texts([file.text for file in files[first : first + 32]])
    return iter(())


def measured(side: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """CPU-seconds, seconds and memory of one side; a digest of each sample's ids goes to a file."""
    load(side)
    files = [*documents(arguments.folder, megabytes=arguments.megabytes)]
    with tempfile.TemporaryDirectory() as scratch:
        held, cpu, wall = resident(), cpu_seconds(), time.perf_counter()
        samples = {"ours": ours, "peer": peer, "limit": limit}[side](files, arguments.tokenizer, arguments.row_length, Path(scratch))
        cpu, wall = cpu_seconds() - cpu, time.perf_counter() - wall
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        lines = [f"{len(ids)} {hashlib.sha256(json.dumps(ids).encode()).hexdigest()}" for ids in samples]
    (arguments.out / side).write_text("\n".join(lines))
    size = sum(len(file.text) for file in files)
    return {
        "files": len(files),
        "megabytes": round(size / 1e6, 2),
        "cpu_s": round(cpu, 2),
        "wall_s": round(wall, 2),
        "mb_per_cpu_s": round(size / 1e6 / cpu, 2),
        "peak_above_start_mb": round(peak - held),
        "peak_mb": round(peak),
    }


def load(side: str) -> None:
    """The libraries, which neither side pays for."""
    names = ["numpy", "pyarrow", "tokenizers", "fastokens", "finetune.data.mine", "finetune.data.miners.fim", "finetune.data.store"]
    for name in names if side != "peer" else ["datasets", "transformers", "trl", "torch", "finetune.data.miners.fim"]:
        importlib.import_module(name)


def cpu_seconds() -> float:
    return sum(
        resource.getrusage(who).ru_utime + resource.getrusage(who).ru_stime for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )


def resident() -> float:
    """Megabytes this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def compared(out: Path, row_length: int) -> dict[str, int]:
    """Samples by whether both sides have them. Longer than a row is left out by the peer and cut in two by us, so these may differ."""
    sides = {side: Counter((out / side).read_text().splitlines()) for side in ("ours", "peer")}
    short = Counter({line: count for line, count in sides["peer"].items() if int(line.split()[0]) <= row_length})
    return {
        "identical": (sides["ours"] & short).total(),
        "peer_only": (short - sides["ours"]).total(),
        "longer_than_a_row": (sides["peer"] - short).total(),
        "ours_only_cut_in_two": (sides["ours"] - short).total(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--tokenizer", type=Path, default=Path("finetune/demo"), help="a folder with tokenizer.json of StarCoder 2's family"
    )
    parser.add_argument("--folder", type=Path, default=Path(sysconfig.get_path("purelib")), help="source files, found below it")
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--row-length", type=int, default=2048)
    parser.add_argument("--side", choices=["ours", "peer", "limit"])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(measured(arguments.side, arguments)))
        return
    with tempfile.TemporaryDirectory() as out:
        found: dict[str, Any] = {}
        for side in ("ours", "peer", "limit"):
            command = [sys.executable, __file__, *sys.argv[1:], "--side", side, "--out", out]
            found[side] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        found["samples"] = compared(Path(out), arguments.row_length)
    found["cpu_ratio"] = round(found["peer"]["cpu_s"] / found["ours"]["cpu_s"], 2)
    found["memory_ratio"] = round(found["peer"]["peak_above_start_mb"] / found["ours"]["peak_above_start_mb"], 2)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
