"""What a row of the table of families says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

Layout: TypeAlias = tuple[Literal["<prefix>", "<suffix>", "<middle>", "prefix", "suffix"], ...]

PSM: Layout = ("<prefix>", "prefix", "<suffix>", "suffix", "<middle>")
SPM: Layout = ("<prefix>", "<suffix>", "suffix", "<middle>", "prefix")  # variant 2 of arXiv 2207.14255


@dataclass(frozen=True, slots=True)
class FimTokens:
    """The sentinels of fill-in-the-middle, as written in the vocabulary, and the order in which they stand before a middle.

    `middle`: None for a family that begins it with nothing. `psm` and `spm` are the orders that pretraining saw, prefix first and suffix
    first; None: never seen. A prompt is prefix first where the family knows that. `lead` stands before a prefix. `end` ends a middle
    where that is another token than the one that ends a text.
    """

    prefix: str
    middle: str | None
    suffix: str
    pad: str | None = None
    psm: Layout | None = PSM
    spm: Layout | None = SPM
    lead: str = ""
    end: str | None = None

    @property
    def all(self) -> tuple[str, ...]:
        """Every one of them."""
        return tuple(token for token in (self.prefix, self.middle, self.suffix, self.pad, self.end) if token is not None)

    def layout(self, form: Literal["psm", "spm"]) -> Layout:
        """What stands before a middle that is asked for in this order, or in the one order that the family knows."""
        wanted, other = (self.spm, self.psm) if form == "spm" else (self.psm, self.spm)
        layout = wanted or other
        assert layout is not None, "a row has one order at least"
        return layout


@dataclass(frozen=True, slots=True)
class RepositoryFormat:
    """How files of a repository stand in one sample: `name` before the repository's name, `file` before each file (data/pieces.py).

    `name` is None where a repository's is never written. `several` files or one; `line_end` follows the name and every file but the last;
    `holes` says which files may have one.
    """

    name: str | None
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
    `marks` are tokens of its vocabulary by which it is told from another row of its architecture with the same sentinels.
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
    marks: tuple[str, ...] = ()

    @property
    def pad(self) -> str:
        """The token that fills rows: the one of fill-in-the-middle where there is one, else the end."""
        return self.end if self.fim is None or self.fim.pad is None else self.fim.pad

    @property
    def sentinels(self) -> tuple[str, ...]:
        """Every token of the row that a tokenizer must hold as one id."""
        fim = () if self.fim is None else self.fim.all
        stars = None if self.repository is None else self.repository.stars
        extra = tuple(token for token in (self.repo_name, self.file_sep, stars, self.opening) if token is not None)
        return (*dict.fromkeys((self.end, *self.stop, *fim, *extra)),)
