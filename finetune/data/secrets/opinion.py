"""A second opinion on personal data: a token-classification model of StarPII's shape, from a folder on this machine.

The rules of `rules.py` know forms; a model knows names and passwords by where they stand. What it finds goes through the checks that
BigCode's redaction applies to StarPII's findings (bigcode-dataset, pii): short values, names of one word, private and well-known
addresses and keys that do not look random stay.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from finetune.data.secrets.confirm import looks_random
from finetune.data.secrets.rule import Kind
from finetune.data.secrets.words import WELL_KNOWN_ADDRESSES
from finetune.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer
    from transformers import PreTrainedModel

# What a label of the model becomes. Other classes (USERNAME, AMBIGUOUS, ..._EXAMPLE) are no personal data by BigCode's rule.
PERSONAL: Mapping[str, Kind] = {
    "KEY": Kind("key_by_model", "<KEY>"),
    "PASSWORD": Kind("password_by_model", "<PASSWORD>"),
    "EMAIL": Kind("email_by_model", "<EMAIL>"),
    "NAME": Kind("name_by_model", "<NAME>"),
    "IP_ADDRESS": Kind("address_by_model", "address"),
}
FILES = ("config.json", "tokenizer.json", "model.safetensors")
LONGEST = 1024  # tokens in a window, at most: StarPII's context
AROUND = " \t\r\n\f\v\"'`"
WINDOWS = 8  # windows in one forward pass


class Token(NamedTuple):
    """A token of a text, in characters; `begins`: its label opens a span."""

    start: int
    end: int
    begins: bool
    label: str


class Finding(NamedTuple):
    """Bytes of a text that the model takes for personal data."""

    start: int
    end: int
    kind: Kind


class SecondOpinion:
    """Finds personal data with the model in `folder`. Raises ModelError when a file is missing or no label is known.

    The model is loaded at the first text that is looked at; nothing is fetched.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in FILES:
            if not (folder / name).is_file():
                raise ModelError(
                    f"data.redaction.model={folder}: no {name} in it; write the folder of a token-classification model such as StarPII, "
                    "with config.json, tokenizer.json and model.safetensors, or leave the model out"
                )
        self._labels = self._read_labels()

    def __call__(self, text: str) -> list[Finding]:
        """What the model finds in a text, in order; spans are of its UTF-8 bytes."""
        found = []
        for first, last, label in _joined(self._classified(text)):
            start, end = _trimmed(text, first, last)
            if label in PERSONAL and _counts(label, text[start:end]):
                before = len(text[:start].encode("utf-8", "surrogatepass"))
                found.append(Finding(before, before + len(text[start:end].encode("utf-8", "surrogatepass")), PERSONAL[label]))
        return found

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the model's files: another model, another dataset."""
        total = hashlib.sha256()
        for name in FILES:
            with (self.folder / name).open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
        return total.hexdigest()

    def _read_labels(self) -> dict[int, tuple[bool, str]]:
        """For each class of the model: whether it begins a span, and its label ("" for none)."""
        try:
            config = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
            labels = {int(place): str(label).upper() for place, label in config.get("id2label", {}).items()}
        except ValueError as error:
            raise ModelError(f"{self.folder}/config.json: no valid configuration ({error}); copy the model's folder again") from error
        split = {place: (label.startswith("B-"), label.removeprefix("B-").removeprefix("I-")) for place, label in labels.items()}
        if not {label for _, label in split.values()} & set(PERSONAL):
            raise ModelError(
                f"{self.folder}/config.json: its labels are {', '.join(sorted(labels.values())) or 'none'}; "
                f"a model is wanted that knows some of {', '.join(PERSONAL)} (id2label, with or without B- and I-)"
            )
        return {place: (begins, "" if label == "O" else label) for place, (begins, label) in split.items()}

    @cached_property
    def _model(self) -> PreTrainedModel:
        from safetensors import SafetensorError
        from transformers import AutoModelForTokenClassification

        try:
            model = AutoModelForTokenClassification.from_pretrained(self.folder, local_files_only=True)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            text = " ".join(str(error).split())[:200]
            raise ModelError(f"{self.folder}: can not be loaded as a token-classification model ({text}); copy its folder again") from error
        return cast("PreTrainedModel", model.eval())

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        length = min(LONGEST, int(getattr(self._model.config, "max_position_embeddings", LONGEST)))
        tokenizer.no_padding()
        # Neighbouring windows share an eighth, so that every token is seen with text on both sides of it.
        tokenizer.enable_truncation(length, stride=length // 8)
        return tokenizer

    def _classified(self, text: str) -> Iterator[Token]:
        """Each token's place and label, in order; where windows overlap, the more central one is believed."""
        first = self._tokenizer.encode(text)
        windows = [first, *first.overflowing]
        believed: dict[tuple[int, int], tuple[int, int]] = {}
        for window, classes in zip(windows, self._predict(windows), strict=True):
            for place, (span, special) in enumerate(zip(window.offsets, window.special_tokens_mask, strict=True)):
                margin = min(place, len(window.offsets) - 1 - place)
                if not special and span[0] < span[1] and margin >= believed.get(span, (-1, 0))[0]:
                    believed[span] = margin, classes[place]
        for (start, end), (_, place) in sorted(believed.items()):
            yield Token(start, end, *self._labels.get(place, (False, "")))

    def _predict(self, windows: Sequence[Encoding]) -> Iterator[list[int]]:
        """The class of each token of each window."""
        import torch

        for place in range(0, len(windows), WINDOWS):
            batch = windows[place : place + WINDOWS]
            longest = max(len(window.ids) for window in batch)
            ids = torch.tensor([window.ids + [0] * (longest - len(window.ids)) for window in batch])
            mask = torch.tensor([[1] * len(window.ids) + [0] * (longest - len(window.ids)) for window in batch])
            with torch.inference_mode():
                classes: list[list[int]] = self._model(input_ids=ids, attention_mask=mask).logits.argmax(-1).tolist()
            yield from (row[: len(window.ids)] for row, window in zip(classes, batch, strict=True))


def _joined(tokens: Iterable[Token]) -> Iterator[tuple[int, int, str]]:
    """Spans of tokens in a row with one label; a token that begins a span ends the one before it."""
    start, end, label = 0, 0, ""
    for token in tokens:
        if token.label == label and not token.begins:
            end = token.end
            continue
        if label:
            yield start, end, label
        start, end, label = token.start, token.end, token.label
    if label:
        yield start, end, label


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without the white space and quotes that byte-level tokens take in."""
    piece = text[start:end]
    left = len(piece) - len(piece.lstrip(AROUND))
    return start + left, start + max(left, len(piece.rstrip(AROUND)))


def _counts(label: str, value: str) -> bool:
    """BigCode's checks on what StarPII finds."""
    if len(value) <= 3:
        return False
    if label == "NAME":
        return len(value.split()) > 1
    if label == "KEY":
        return len(value) > 8 and looks_random(value.encode("utf-8", "surrogatepass"))
    return label != "IP_ADDRESS" or _public(value)


def _public(value: str) -> bool:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    return address.is_global and value.lower().encode() not in WELL_KNOWN_ADDRESSES
