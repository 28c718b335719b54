"""Near-duplicate removal against bigcode-dataset's minhash_deduplication.py, in CPU-seconds, and both against the exact truth.

    python benchmarks/near_dedup.py --script .../near_deduplication/minhash_deduplication.py --python PEER/bin/python --documents 10000

The documents are source files below --roots, or of the newest commits of --repositories, each content once, the first by hash.
The peer's own script runs unmodified; it needs
datasets<3 (it passes use_auth_token), scipy and typer, so give it a Python of its own:

    python -m venv PEER && PEER/bin/pip install datasets==2.21.0 "pyarrow<20" "numpy<2" scipy typer

Truth is the exact Jaccard similarity of the peer's own sets (five words, empty ones too), by a prefix-filter join that shares no code
with ours.
Without --script only we are measured; with --no-truth nobody is judged. --growth measures us on an eighth, a quarter, a half and all of the
documents, and says how that compares with n log n. --peer-documents gives the peer the first so many, where all would take too long.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import math
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

ENDINGS = {
    ".c",
    ".cc",
    ".cpp",
    ".css",
    ".go",
    ".h",
    ".hpp",
    ".html",
    ".java",
    ".js",
    ".md",
    ".pl",
    ".pm",
    ".py",
    ".pyi",
    ".rb",
    ".rs",
    ".rst",
}
ENDINGS |= {".sh", ".ts", ".txt"}
MAX_BYTES = 400_000
THRESHOLD = 0.7
NOT_A_WORD = re.compile("[^A-Za-z_0-9]")
OURS = """
import json, resource, sys, time
from finetune.data.dedup import near
contents = [line.encode() for line in map(json.loads, open(sys.argv[1]))]
order = sorted(range(len(contents)), key=lambda place: (-len(contents[place]), place))
engine = near.engine_for(sum(map(len, contents)))
start = time.process_time()
near.nearest_kept(near.Texts(3, lambda place: b"a b c d e f"), threshold=0.7, engine=engine)
loaded = time.process_time()
found = near.nearest_kept(near.Texts(len(order), lambda place: contents[order[place]]), threshold=0.7, engine=engine)
ended = time.process_time()
keepers = {order[place]: order[keeper] for place, keeper in enumerate(found.keeper.tolist()) if keeper >= 0}
usage = resource.getrusage(resource.RUSAGE_SELF)
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))  # ru_maxrss knows the parent's
print(json.dumps({"work": ended - loaded, "start": loaded - start, "process": usage.ru_utime + usage.ru_stime,
                  "peak_mb": peak / 1000, "keepers": keepers}))
"""


def documents(contents: Iterable[bytes], count: int) -> list[str]:
    """The first `count` by hash, each once: a sample that grows without choosing."""
    found = {hashlib.sha256(content).digest(): content for content in contents}
    texts: list[str] = []
    for _, content in sorted(found.items()):
        with contextlib.suppress(UnicodeDecodeError):
            texts.append(content.decode())
        if len(texts) == count:
            break
    return texts


def below(roots: list[str]) -> Iterator[bytes]:
    for root in roots:
        for folder, _, names in os.walk(root):
            for path in (Path(folder, name) for name in names):
                if path.suffix in ENDINGS and path.is_file() and not path.is_symlink() and 0 < path.stat().st_size <= MAX_BYTES:
                    yield path.read_bytes()


def committed(repositories: list[str]) -> Iterator[bytes]:
    """The files of each newest commit; missing ones are passed over."""
    for repository in repositories:
        git = ["git", "-C", repository, "-c", "safe.directory=*"]
        entries = subprocess.run([*git, "ls-tree", "-r", "-z", "HEAD"], check=True, capture_output=True).stdout.split(b"\0")
        named = [entry.split(b"\t", 1) for entry in entries if entry.startswith(b"100")]
        wanted = b"".join(head.split()[2] + b"\n" for head, path in named if Path(os.fsdecode(path)).suffix in ENDINGS)
        read = subprocess.run([*git, "cat-file", "--batch", "--buffer"], input=wanted, check=True, capture_output=True).stdout
        place = 0
        while place < len(read):
            begin = read.index(b"\n", place) + 1
            head = read[place:begin].split()
            size = int(head[2]) if len(head) == 3 else -1
            if 0 < size <= MAX_BYTES:
                yield read[begin : begin + size]
            place = begin + size + 1


def runs(text: str) -> set[str]:
    words = NOT_A_WORD.split(text)
    return {" ".join(words[place : place + 5]) for place in range(len(words) - 4)}


def truth(texts: list[str]) -> dict[tuple[int, int], float]:
    """Every pair at least THRESHOLD alike: two such sets share one of the rarest 30 % of the runs of either."""
    numbers: dict[str, int] = {}
    sets = [[numbers.setdefault(run, len(numbers)) for run in runs(text)] for text in texts]
    del numbers
    often = Counter(run for each in sets for run in each)
    postings: defaultdict[int, list[int]] = defaultdict(list)
    pairs: dict[tuple[int, int], float] = {}
    whole = [frozenset(each) for each in sets]
    for place, each in sorted(enumerate(sets), key=lambda one: len(one[1])):
        # A run that nobody else has can not be shared, and of the others the rarest are looked at.
        prefix = sorted(each, key=lambda run: (often[run], run))[: len(each) - -(-len(each) * 7 // 10) + 1]
        near = {other for run in prefix if often[run] > 1 for other in postings[run] if len(whole[other]) >= THRESHOLD * len(each)}
        for other in near:
            common = len(whole[place] & whole[other])
            similarity = common / (len(whole[place]) + len(whole[other]) - common)
            if similarity >= THRESHOLD:
                pairs[min(place, other), max(place, other)] = similarity
        for run in prefix:
            if often[run] > 1:
                postings[run].append(place)
    return pairs


def ours(texts: list[str], folder: Path) -> dict[str, object]:
    path = folder / "ours.jsonl"
    path.write_text("".join(json.dumps(text) + "\n" for text in texts))
    done = subprocess.run([sys.executable, "-c", OURS, str(path)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def growth(texts: list[str], folder: Path) -> dict[int, float]:
    sizes = [len(texts) // 8, len(texts) // 4, len(texts) // 2]
    return {size: round(float(str(ours(texts[:size], folder)["work"])), 2) for size in sizes}


def peer(texts: list[str], arguments: argparse.Namespace, folder: Path) -> dict[str, object]:
    """CPU-seconds of the whole script, and the documents it keeps."""
    data = folder / "documents"
    data.mkdir()
    (data / "documents.jsonl").write_text("".join(json.dumps({"number": n, "content": text}) + "\n" for n, text in enumerate(texts)))
    offline = {"HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
    command = [arguments.python, arguments.script, "--dataset", "json", "--data-dir", str(data), "--cache-dir", str(folder / "cache")]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*command, "--output", str(folder / "output")], check=True, env=os.environ | offline, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    read = f"import datasets, json; print(json.dumps(datasets.load_from_disk({str(folder / 'output' / 'deduplicated')!r})['number']))"
    kept = json.loads(subprocess.run([arguments.python, "-c", read], check=True, env=os.environ | offline, capture_output=True).stdout)
    return {"process": after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, "kept": kept}


def candidates(texts: list[str], pairs: dict[tuple[int, int], float]) -> int:
    """How many of the true pairs we compare: only such a pair can be found, and it always is."""
    import numpy as np

    from finetune.data.dedup import compiled
    from finetune.data.dedup.words import band_keys, least_agreement

    sketches, filled = compiled.sketches([text.encode() for text in texts])
    keys, least = band_keys(sketches, THRESHOLD), least_agreement(filled, THRESHOLD)
    one, other = (np.array(places, dtype=np.int64) for places in zip(*pairs, strict=True))
    shared = (keys[:, one] == keys[:, other]).any(axis=0) & (filled[one] > 0) & (filled[other] > 0)
    agree = (sketches[one] == sketches[other]).sum(axis=1) >= np.minimum(least[one], least[other])
    return int((shared & agree).sum())


def judged(gone: set[int], pairs: dict[tuple[int, int], float]) -> dict[str, object]:
    """Of what went, the share with a near-duplicate at all; and the pairs of which both stayed."""
    near = {place for pair in pairs for place in pair}
    stayed = sum(one not in gone and other not in gone for one, other in pairs)
    return {
        "removed": len(gone),
        "document_precision": round(len(gone & near) / len(gone), 4),
        "pairs_with_one_gone": round(1 - stayed / len(pairs), 4),
        "pairs_left": stayed,
    }


def main() -> None:
    arguments = _options()
    texts = documents(committed(arguments.repositories) if arguments.repositories else below(arguments.roots), arguments.documents)
    result: dict[str, object] = {"documents": len(texts), "megabytes": round(megabytes(texts), 1)}
    few = texts[: arguments.peer_documents]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        ours(texts[:100], folder)  # compiles
        found = ours(texts, folder)
        if arguments.growth:
            result["growth"] = growth(texts, folder) | {len(texts): round(float(str(found["work"])), 2)}
            result["n_log_n_from_a_quarter"] = round(4 * math.log(len(texts)) / math.log(len(texts) // 4), 2)
        keepers = {int(place): keeper for place, keeper in dict(found.pop("keepers")).items()}  # type: ignore[call-overload]
        result["ours"] = {key: round(float(str(value)), 3) for key, value in found.items()}
        theirs = peer(few, arguments, folder) if arguments.script else None
    if theirs:
        result |= beside_peer(found, theirs, texts, few)
    if not arguments.no_truth:
        result |= beside_truth(keepers, texts, {*theirs["kept"]} if theirs and len(few) == len(texts) else None)  # type: ignore[misc]
    print(json.dumps(result, indent=2))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--roots", nargs="+", default=["/usr", str(Path(sys.prefix))])
    parser.add_argument("--repositories", nargs="+", default=[])
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--peer-documents", type=int)
    parser.add_argument("--script", help="the peer's script")
    parser.add_argument("--python", help="the Python with what the peer needs")
    parser.add_argument("--no-truth", action="store_true")
    parser.add_argument("--growth", action="store_true")
    return parser.parse_args()


def megabytes(texts: Sequence[str]) -> float:
    return sum(len(text.encode()) for text in texts) / 1e6


def beside_peer(found: Mapping[str, object], theirs: Mapping[str, object], texts: Sequence[str], few: Sequence[str]) -> dict[str, object]:
    """Its seconds for all documents, and how many times ours they are."""
    # Its work is a sum over documents, so megabytes carry over; where it had all of them the factor is 1.
    seconds = float(str(theirs["process"])) * megabytes(texts) / megabytes(few)
    return {
        "peer": {"documents": len(few), "process": round(float(str(theirs["process"])), 1), "of_all": round(seconds, 1)},
        "ratio_of_work": round(seconds / float(str(found["work"])), 1),
        "ratio_of_processes": round(seconds / float(str(found["process"])), 1),
    }


def beside_truth(keepers: Mapping[int, int], texts: list[str], kept_by_peer: set[int] | None) -> dict[str, object]:
    """Both against every pair that is as near as the threshold says."""
    start = time.process_time()
    pairs = truth(texts)
    result: dict[str, object] = {"truth": {"pairs": len(pairs), "cpu_seconds": round(time.process_time() - start, 1)}}
    exact = sum(pairs.get((min(one, other), max(one, other)), 0.0) >= THRESHOLD for one, other in keepers.items())
    recall = round(candidates(texts, pairs) / len(pairs), 4)
    result["quality_ours"] = judged({*keepers}, pairs) | {"pair_recall": recall, "removed_for_a_true_pair": round(exact / len(keepers), 4)}
    if kept_by_peer is not None:
        result["quality_peer"] = judged({*range(len(texts))} - kept_by_peer, pairs)
    return result


if __name__ == "__main__":
    main()
