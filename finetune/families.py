"""THE table of model families: sentinels, stop tokens, chat template, LoRA targets, licence duties.

One frozen row per family; a new family is a new row. Sources: the vocabularies of the published tokenizers,
StarCoder 2 paper (arXiv 2402.19173) table 5, Qwen2.5-Coder report (arXiv 2409.12186), Astraios (arXiv 2401.00788).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from finetune.errors import ModelError


@dataclass(frozen=True, slots=True)
class FimTokens:
    """The sentinels of fill-in-the-middle, as written in the vocabulary."""

    prefix: str
    middle: str
    suffix: str
    pad: str


@dataclass(frozen=True, slots=True)
class RepositoryFormat:
    """How files of a repository stand in one sample: `name` before the repository's name, `file` before each file (data/pieces.py).

    `several` files or one; `line_end` follows the name and every file but the last; `holes` says which files may have one.
    """

    name: str
    file: str
    line_end: str = ""
    path_in_prefix: bool = True
    several: bool = True
    always_named: bool = False
    holes: Literal["any", "last"] = "any"
    stars: str | None = None


@dataclass(frozen=True, slots=True)
class JupyterTokens:
    """The sentinels of notebooks; `script` is None for a family that has none for a notebook as a script."""

    start: str
    text: str
    code: str
    output: str
    empty: str
    script: str | None

    @property
    def all(self) -> tuple[str, ...]:
        """Every one of them."""
        script = () if self.script is None else (self.script,)
        return (self.start, self.text, self.code, self.output, self.empty, *script)


@dataclass(frozen=True, slots=True)
class CommitTokens:
    """The sentinels of a commit: before the old file, the message, the new file."""

    before: str
    message: str
    after: str

    @property
    def all(self) -> tuple[str, ...]:
        """Every one of them."""
        return (self.before, self.message, self.after)


class AddedToken(NamedTuple):
    """A token that the base's tokenizer lacks and is given, and the id it gets."""

    text: str
    id: int


@dataclass(frozen=True, slots=True)
class Family:
    """What the code must know of a family of models.

    `lora_targets` are the linear layers with a LoRA by default, empty: every linear layer of a block. `attention_in` are those that
    attention begins with, `mlp_in` and `mlp_out` the first and last of the feed-forward: where Astraios puts its other adapters.
    `stop` ends an answer; `end` is the one that training teaches. `added` are tokens that the base has no embeddings for;
    `opening` is what the tokenizer puts before every text, none in the rows of this table.
    `placeholders` are words of the redaction that pretraining saw as one token each (docs/decisions/003-placeholders.md).
    """

    name: str
    model_types: tuple[str, ...]
    end: str
    stop: tuple[str, ...]
    fim: FimTokens | None
    repo_name: str | None
    file_sep: str | None
    lora_targets: tuple[str, ...]
    licence: str
    licence_url: str | None = None
    attention_in: tuple[str, ...] = ()
    mlp_in: tuple[str, ...] = ()
    mlp_out: tuple[str, ...] = ()
    repository: RepositoryFormat | None = None
    jupyter: JupyterTokens | None = None  # a tokenizer may lack them: then its notebooks are scripts
    commit: CommitTokens | None = None
    added: tuple[AddedToken, ...] = ()
    opening: str | None = None
    placeholders: tuple[str, ...] = ()

    @property
    def sentinels(self) -> tuple[str, ...]:
        """Every token of the row that a tokenizer must hold as one id."""
        fim = () if self.fim is None else (self.fim.prefix, self.fim.middle, self.fim.suffix, self.fim.pad)
        stars = None if self.repository is None else self.repository.stars
        extra = tuple(token for token in (self.repo_name, self.file_sep, stars, self.opening) if token is not None)
        return (*dict.fromkeys((self.end, *self.stop, *fim, *extra)),)


_JUPYTER = ("<jupyter_start>", "<jupyter_text>", "<jupyter_code>", "<jupyter_output>", "<empty_output>")
_UNDERSCORE = FimTokens("<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>")
_OPENRAIL = "bigcode-openrail-m"
_OPENRAIL_URL = "https://www.bigcode-project.org/docs/pages/bigcode-openrail/"

FAMILIES: tuple[Family, ...] = (
    Family(
        name="starcoder2",
        model_types=("starcoder2",),
        end="<|endoftext|>",
        stop=("<|endoftext|>", "<file_sep>"),
        fim=_UNDERSCORE,
        repo_name="<repo_name>",
        file_sep="<file_sep>",
        repository=RepositoryFormat("<repo_name>", "<file_sep>"),
        jupyter=JupyterTokens(*_JUPYTER, script="<jupyter_script>"),
        placeholders=("<NAME>", "<EMAIL>", "<KEY>", "<PASSWORD>"),
        lora_targets=("q_proj", "k_proj", "v_proj", "o_proj", "c_fc", "c_proj"),
        attention_in=("q_proj", "k_proj", "v_proj"),
        mlp_in=("c_fc",),
        mlp_out=("c_proj",),
        licence=_OPENRAIL,
        licence_url=_OPENRAIL_URL,
    ),
    Family(
        name="starcoder",
        model_types=("gpt_bigcode",),
        end="<|endoftext|>",
        stop=("<|endoftext|>", "<filename>"),
        fim=_UNDERSCORE,
        repo_name="<reponame>",
        file_sep="<filename>",
        repository=RepositoryFormat("<reponame>", "<filename>", several=False, stars="<gh_stars>"),
        jupyter=JupyterTokens(*_JUPYTER, script=None),
        commit=CommitTokens("<commit_before>", "<commit_msg>", "<commit_after>"),
        lora_targets=("c_attn", "c_proj"),  # Astraios's: of attention and feed-forward, but not the first of the feed-forward
        attention_in=("c_attn",),
        mlp_in=("c_fc",),
        mlp_out=("mlp.c_proj",),
        licence=_OPENRAIL,
        licence_url=_OPENRAIL_URL,
    ),
    Family(
        name="santacoder",
        model_types=("gpt_bigcode", "gpt2"),
        end="<|endoftext|>",
        stop=("<|endoftext|>",),
        fim=FimTokens("<fim-prefix>", "<fim-middle>", "<fim-suffix>", "<fim-pad>"),
        repo_name=None,
        file_sep=None,
        lora_targets=("c_attn", "c_proj"),  # Astraios's: of attention and feed-forward, but not the first of the feed-forward
        attention_in=("c_attn",),
        mlp_in=("c_fc",),
        mlp_out=("mlp.c_proj",),
        licence=_OPENRAIL,
        licence_url=_OPENRAIL_URL,
    ),
    Family(
        name="qwen2.5-coder",
        model_types=("qwen2",),
        end="<|endoftext|>",
        stop=("<|endoftext|>", "<|file_sep|>", "<|im_end|>"),
        fim=FimTokens("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"),
        repo_name="<|repo_name|>",
        file_sep="<|file_sep|>",
        repository=RepositoryFormat("<|repo_name|>", "<|file_sep|>", line_end="\n", path_in_prefix=False, always_named=True, holes="last"),
        lora_targets=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        attention_in=("q_proj", "k_proj", "v_proj"),
        mlp_in=("gate_proj", "up_proj"),
        mlp_out=("down_proj",),
        licence="see the base model",
    ),
)


def plain_family(end: str) -> Family:
    """The row `none`: a model without FIM tokens, whose texts end in `end` (the tokenizer's eos token)."""
    return Family(
        name="none",
        model_types=(),
        end=end,
        stop=(end,),
        fim=None,
        repo_name=None,
        file_sep=None,
        lora_targets=(),
        licence="see the base model",
    )


def with_fim_tokens(row: Family, ids: Mapping[str, int]) -> Family:
    """The row `none` with StarCoder's fill-in-the-middle tokens: those in the vocabulary as they are, the others added behind it.

    StarCoder's names, since llama.cpp knows these by sight. Raises ModelError for a family that has tokens of its own.
    """
    if row.fim is not None:
        raise ModelError(f"model.add_fim_tokens: family {row.name} has fill-in-the-middle tokens of its own; leave the key out")
    fim = _UNDERSCORE
    missing = [token for token in (fim.prefix, fim.middle, fim.suffix, fim.pad) if token not in ids]
    first = 1 + max(ids.values())
    if missing and first != len({*ids.values()}):
        raise ModelError(
            "model.add_fim_tokens: tokenizer.json leaves ids out, and the tokenizers library would give new tokens others than those "
            "behind the last; leave the key out and write data.miners=[{kind: fim, rate: 0}], or choose another base model"
        )
    return replace(row, fim=fim, added=tuple(AddedToken(token, first + number) for number, token in enumerate(missing)))


def describe_tokenizer(tokenizer_json: Path, family: Family) -> dict[str, Any]:
    """The content of tokenizer.json, with the family's added tokens in it."""
    description: dict[str, Any] = json.loads(tokenizer_json.read_text(encoding="utf-8"))
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    description["added_tokens"] += [{"id": token.id, "content": token.text, **flags} for token in family.added]
    return description


NAMES: tuple[str, ...] = (*(family.name for family in FAMILIES), "none")


def find_family(name: str, model_type: str, vocabulary: Collection[str], *, eos: str | None) -> Family:
    """The row for a model; `name` is a row's name or "auto". Raises ModelError when the tokenizer lacks its tokens.

    "auto" takes the first row of this architecture whose sentinels all stand in the vocabulary, else `none`.
    """
    if name == "none":
        return _plain(eos)
    rows = [row for row in FAMILIES if row.name == name or (name == "auto" and model_type in row.model_types)]
    for row in rows:
        missing = [token for token in row.sentinels if token not in vocabulary]
        if not missing:
            return row
        if name != "auto":
            raise ModelError(
                f"model.family={name}: the tokenizer has no {', '.join(missing)}; "
                "write model.family=auto, or the folder of a model of that family"
            )
    return _plain(eos)


def _plain(eos: str | None) -> Family:
    if eos is None:
        raise ModelError("the tokenizer names no eos token; add eos_token to tokenizer_config.json")
    return plain_family(eos)
