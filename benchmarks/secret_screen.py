"""Secrets and personal data out of text: bytes a CPU-second, recall and false finds, beside bigcode-dataset's pii scan.

    git clone https://github.com/bigcode-project/bigcode-dataset PEER
    python -m venv PEER/venv && PEER/venv/bin/pip install detect_secrets gibberish_detector regex
    python benchmarks/secret_screen.py --peer PEER --peer-python PEER/venv/bin/python [--corpus FOLDER] [--documents 400]

Every second document, a real source file of the corpus, gets one made-up secret of a kind in `SECRETS` on a line of its own, drawn
for this run: recall is the share of them whose every character is replaced. A false secret is a key or password found in the
untouched half; the finds are printed (--show), for some may be real. Addresses and names are not judged there: real files hold real
ones. The values are made up and well formed: on real leaks everyone finds less. Both sides see the same texts, one process each,
start-up left out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from finetune.data.secrets import Redactor

SUFFIXES = (".py", ".js", ".ts", ".java", ".go", ".rs", ".c", ".h", ".cpp", ".rb", ".php", ".sh", ".yaml", ".json", ".css", ".html", ".md")
ALPHANUMERIC = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
HEX = "0123456789abcdef"
LOWER = "abcdefghijklmnopqrstuvwxyz"
UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
DIGITS = "0123456789"
PERSONAL = ("email", "ipv4")


def drawn(generator: random.Random, size: int, alphabet: str = ALPHANUMERIC) -> str:
    return "".join(generator.choices(alphabet, k=size))


def pem(generator: random.Random) -> str:
    lines = [drawn(generator, 64, ALPHANUMERIC + "+/") for _ in range(8)]
    return "\n".join(["-----BEGIN RSA PRIVATE " + "KEY-----", *lines, "-----END RSA PRIVATE " + "KEY-----"])


# kind -> (line with the value as {}, value)
SECRETS: dict[str, tuple[str, Callable[[random.Random], str]]] = {
    "aws_key": ('AWS_ACCESS_KEY_ID = "{}"', lambda r: "AKIA" + drawn(r, 16, UPPER)),
    "aws_secret": ('aws_secret_access_key = "{}"', lambda r: drawn(r, 40, ALPHANUMERIC + "+/")),
    "github": ('token = "{}"', lambda r: "ghp_" + drawn(r, 36)),
    "gitlab": ("GITLAB_TOKEN={}", lambda r: "glpat-" + drawn(r, 20)),
    "slack": ('client = Client("{}")', lambda r: f"xoxb-{drawn(r, 12, DIGITS)}-{drawn(r, 12, DIGITS)}-{drawn(r, 24)}"),
    "slack_hook": (
        'url = "{}"',
        lambda r: "https://hooks.slack.com/services/T" + drawn(r, 8, UPPER) + "/B" + drawn(r, 8, UPPER) + "/" + drawn(r, 24),
    ),
    "stripe": ('stripe.key = "{}"', lambda r: "sk_live_" + drawn(r, 24)),
    "google": ('key: "{}"', lambda r: "AIza" + drawn(r, 35)),
    "npm": ("//registry/:_authToken={}", lambda r: "npm_" + drawn(r, 36)),
    "sendgrid": ('sg = "{}"', lambda r: f"SG.{drawn(r, 22)}.{drawn(r, 43)}"),
    "telegram": ('bot = "{}"', lambda r: drawn(r, 10, "123456789") + ":AA" + drawn(r, 33)),
    "twilio": ('sid = "{}"', lambda r: "SK" + drawn(r, 32, HEX)),
    "jwt": ('auth = "Bearer {}"', lambda r: f"eyJ{drawn(r, 33)}.eyJ{drawn(r, 60)}.{drawn(r, 43)}"),
    "hex_api_key": ('api_key = "{}"', lambda r: drawn(r, 32, HEX)),
    "base64_secret": ('SECRET_KEY = "{}"', lambda r: drawn(r, 50)),
    "password": ("password = '{}'", lambda r: drawn(r, 6) + drawn(r, 2, DIGITS) + drawn(r, 2, "!#%&") + drawn(r, 4)),
    "url_password": ('DATABASE = "postgres://app:{}@db.internal.corp/app"', lambda r: drawn(r, 14)),
    "private_key": ("{}", pem),
    "email": (
        "# write to {}",
        lambda r: f"{drawn(r, 6, LOWER)}.{drawn(r, 7, LOWER)}@{drawn(r, 6, LOWER)}.com",
    ),
    "ipv4": ('host = "{}"', lambda r: f"{r.randint(51, 99)}.{r.randint(100, 250)}.{r.randint(100, 250)}.{r.randint(10, 250)}"),
}
# Reads {"texts": [...]} on its input; writes the CPU-seconds and, for each text, the spans found as [start, end, tag].
PEER = """
import json, sys, time
sys.path.insert(0, ".")
from pii_detection import scan_pii_batch
texts = json.load(open(sys.argv[1]))
scan_pii_batch({"content": texts[:2]})
start = time.process_time()
found = scan_pii_batch({"content": texts})["secrets"]
seconds = time.process_time() - start
spans = [[[each["start"], each["end"], each["tag"]] for each in json.loads(entry)] for entry in found]
json.dump({"seconds": seconds, "spans": spans}, open(sys.argv[2], "w"))
"""


def main() -> None:
    options = _options()
    generator = random.Random(options.seed)
    texts = list(documents(options.corpus, options.documents, generator))
    injected = {place: inject(texts, place, generator) for place in range(0, len(texts), 2)}
    size = sum(len(text.encode()) for text in texts)
    ours, shown = own(texts, injected)
    result = {"documents": len(texts), "megabytes": round(size / 1e6, 2), "octotune": rates(ours, injected, texts)}
    if options.peer:
        theirs = peer(options, texts)
        result["bigcode_pii"] = rates(theirs, injected, texts)
        result["ratio"] = round(theirs["seconds"] / ours["seconds"], 1)
    print(json.dumps(result, indent=1))
    if options.show:
        sys.stderr.write("\n".join(shown) + "\n")


def documents(folder: Path, count: int, generator: random.Random) -> Iterator[str]:
    """Different source files of the folder, of 200 bytes to 200 kB, in a drawn order."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES and path.is_file() and not path.is_symlink())
    generator.shuffle(paths)
    seen: set[bytes] = set()
    for path in paths:
        content = path.read_bytes()
        digest = hashlib.sha256(content).digest()
        if not 200 <= len(content) <= 200_000 or digest in seen:
            continue
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            continue
        seen.add(digest)
        yield text
        if len(seen) == count:
            return
    sys.exit(f"--corpus {folder}: {len(seen)} usable source files, {count} wanted; write --documents {len(seen)} or another folder")


def inject(texts: list[str], place: int, generator: random.Random) -> tuple[str, str]:
    """Puts a secret into one text; gives its kind and value."""
    kind = list(SECRETS)[place // 2 % len(SECRETS)]
    line, make = SECRETS[kind]
    value = make(generator)
    lines = texts[place].split("\n")
    lines.insert(generator.randrange(len(lines) + 1), line.format(value))
    texts[place] = "\n".join(lines)
    return kind, value


def own(texts: list[str], injected: dict[int, tuple[str, str]]) -> tuple[dict, list[str]]:
    redactor = Redactor()
    redactor.redact(texts[0])
    start = time.process_time()
    results = [redactor.review(text) for text in texts]
    seconds = time.process_time() - start
    found = [
        place
        for place, (_, value) in injected.items()
        if not any(part in results[place][0] for part in value.split("\n") if part.strip("-"))
    ]
    false = [each for place, (_, finds) in enumerate(results) if place not in injected for each in finds if _is_secret(each.shown)]
    return {"seconds": seconds, "found": found, "false": len(false)}, [f"{each.kind}: {each.shown}" for each in false]


def _is_secret(shown: str) -> bool:
    return "<KEY>" in shown or "<PASSWORD>" in shown


def peer(options: argparse.Namespace, texts: list[str]) -> dict:
    with tempfile.TemporaryDirectory() as scratch:
        given, taken = Path(scratch) / "texts.json", Path(scratch) / "spans.json"
        given.write_text(json.dumps(texts))
        command = [str(options.peer_python.absolute()), "-W", "ignore", "-c", PEER, str(given), str(taken)]
        subprocess.run(command, cwd=options.peer / "pii", check=True, stdout=subprocess.DEVNULL)
        result = json.loads(taken.read_text())
    injected = {place: place for place in range(0, len(texts), 2)}
    result["false"] = sum(tag == "KEY" for place, spans in enumerate(result["spans"]) if place not in injected for _, _, tag in spans)
    return result


def rates(result: dict, injected: dict[int, tuple[str, str]], texts: list[str]) -> dict:
    found = (
        result["found"]
        if "found" in result
        else [place for place, (_, value) in injected.items() if _covered(result["spans"][place], texts[place], value)]
    )
    kinds = {kind: [place in set(found) for place, (each, _) in injected.items() if each == kind] for kind in SECRETS}
    secrets = [hit for kind, hits in kinds.items() if kind not in PERSONAL for hit in hits]
    personal = [hit for kind in PERSONAL for hit in kinds[kind]]
    untouched = sum(len(text.encode()) for place, text in enumerate(texts) if place not in injected) / 1e6
    return {
        "cpu_seconds": round(result["seconds"], 3),
        "mb_per_cpu_second": round(sum(len(text.encode()) for text in texts) / 1e6 / result["seconds"], 3),
        "secrets_found": f"{sum(secrets)}/{len(secrets)}",
        "personal_found": f"{sum(personal)}/{len(personal)}",
        "false_secrets_per_mb": round(result["false"] / untouched, 2),
        "missed": sorted(kind for kind, hits in kinds.items() if not all(hits)),
    }


def _covered(spans: list, text: str, value: str) -> bool:
    """Whether the found spans hold every character of the value."""
    start = text.index(value)
    held = {place for first, last, _ in spans for place in range(first, last)}
    return all(place in held for place in range(start, start + len(value)) if not text[place].isspace())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path(sys.prefix))
    parser.add_argument("--documents", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peer", type=Path, help="checkout of bigcode-dataset")
    parser.add_argument("--peer-python", type=Path, default=Path(sys.executable))
    parser.add_argument("--show", action="store_true", help="print what was found in the untouched half")
    return parser.parse_args()


if __name__ == "__main__":
    main()
