"""How often the language of a file is the one its maintainers say: over the samples that linguist keeps to test itself.

    python benchmarks/languages.py PATH-OF-A-CLONE-OF-LINGUIST

Each file of samples/LANGUAGE/ is asked for by its name and text alone, as a file of any repository is. Prints the share that agrees,
and the pairs (said, found) that differ, the frequent ones first.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator

from finetune.data.languages import language_of, type_of
from finetune.data.repos import open_repository
from finetune.data.repos.trees import list_tree

SHOWN = 25


def samples(path: str) -> Iterator[tuple[str, str, str]]:
    """(language, name, text) of every sample of a language that the vendored table knows."""
    repository = open_repository(path, "HEAD")
    with repository.store() as store:
        found = [
            entry for entry in list_tree(store, repository.commit) if entry.path.startswith("samples/") and entry.mode.startswith("100")
        ]
        for entry, blob in zip(found, store.blobs([entry.oid for entry in found], max_bytes=1 << 24), strict=True):
            language, name = entry.path.split("/")[1], entry.path.rpartition("/")[2]
            if blob.reason is None and type_of(language) is not None:
                yield language, name, blob.content.decode("utf-8", "replace")


def main() -> None:
    given = list(samples(sys.argv[1]))
    start = time.process_time()
    found = [language_of(name, text) for _, name, text in given]
    seconds = time.process_time() - start
    wrong = Counter((said, each) for (said, _, _), each in zip(given, found, strict=True) if said != each)
    right = len(given) - wrong.total()
    rates = {
        "files": len(given),
        "agree": right,
        "share": round(right / len(given), 4),
        "files_per_cpu_second": round(len(given) / seconds),
    }
    print(json.dumps(rates | {"differ": [[said, each, count] for (said, each), count in wrong.most_common(SHOWN)]}))


if __name__ == "__main__":
    main()
