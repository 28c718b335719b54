"""What a recipe that adds tokens says of its base, and where it is refused. No torch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune.base import read_base
from finetune.check import require_sound, summary
from finetune.data.render import Encoder, encode_prompt
from finetune.errors import ModelError, RecipeError
from finetune.families import FAMILIES, plain_family, with_fim_tokens
from finetune.recipe import ModelSection, Recipe
from finetune.records import FimPrompt


def test_new_tokens_stand_behind_the_last_of_the_tokenizer_and_text_never_becomes_one(tied: Path) -> None:
    base = read_base(ModelSection(path=str(tied), add_fim_tokens=True))
    encoder = Encoder(base.tokenizer, base.family)
    prompt = encode_prompt(FimPrompt("<fim_middle>", "x"), encoder)
    assert prompt[0] == 257 and prompt[-3:] == [259, encoder.text("x")[0], 258]
    assert max(prompt[1:-3]) < 257 and len(prompt) == 1 + 12 + 3
    assert (encoder.pad_id, encoder.end_id, encoder.vocabulary_size, encoder.stop_ids) == (260, 0, 261, (0,))


def test_spare_rows_are_taken_before_the_embedding_grows(tied: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tied, tmp_path / "spare"))
    config = json.loads((folder / "config.json").read_text())
    for rows, expected in ((259, 261), (300, 300)):
        (folder / "config.json").write_text(json.dumps(config | {"vocab_size": rows}))
        base = read_base(ModelSection(path=str(folder), add_fim_tokens=True))
        assert (base.vocabulary_size, base.embedded) == (expected, rows)


def test_a_base_with_added_tokens_is_another_base(tied: Path) -> None:
    digests = {read_base(ModelSection(path=str(tied), add_fim_tokens=added)).digest for added in (False, True)}
    assert len(digests) == 2


def test_tokens_that_the_tokenizer_has_are_used_as_they_are(byte_tokenizer: Callable[..., Path]) -> None:
    tokens = ["</s>", "<fim_prefix>", "<fim_suffix>", "<fim_middle>"]
    ids = {token: number for number, token in enumerate(tokens)} | {"a": 4}
    family = with_fim_tokens(plain_family("</s>"), ids)
    assert family.added == (("<fim_pad>", 5),) and family.fim is not None
    assert with_fim_tokens(plain_family("</s>"), ids | {"<fim_pad>": 5}).added == ()


def test_a_family_with_tokens_of_its_own_gets_no_others(tiny_base: Path) -> None:
    with pytest.raises(ModelError, match="family starcoder2 has fill-in-the-middle tokens of its own; leave the key out"):
        read_base(ModelSection(path=str(tiny_base), add_fim_tokens=True))
    for row in FAMILIES:
        with pytest.raises(ModelError, match="of its own"):
            with_fim_tokens(row, {"a": 0})


def test_ids_with_gaps_are_refused() -> None:
    """The tokenizers library numbers a new token by the count of those it has, not by the highest id."""
    with pytest.raises(ModelError, match=r"leaves ids out, .* leave the key out"):
        with_fim_tokens(plain_family("</s>"), {"</s>": 0, "a": 1, "b": 9})


def test_without_the_key_a_hole_is_refused_and_the_key_is_named(tied: Path, recipe_on: Callable[..., Recipe]) -> None:
    with pytest.raises(
        RecipeError, match="has no fill-in-the-middle tokens that are known here; write model.add_fim_tokens=true to add them"
    ):
        require_sound(recipe_on(tied, "model.add_fim_tokens=false"))
    recipe = require_sound(recipe_on(tied))
    assert "261 tokens, 4 of them added: <fim_prefix> <fim_middle> <fim_suffix> <fim_pad>" in summary(recipe)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        *((f"adapter={kind}", f"adapter={kind}: .* trains no rows") for kind in ("adalora", "ia3", "ln_tuning", "oft")),
        *(
            (f"adapter={{kind: {kind}}}", "trains no rows of the embeddings.*adapter=lora")
            for kind in ("adapter_h", "adapter_p", "parallel")
        ),
        ("adapter=p_tuning", "trains no rows"),
        ("export={kind: gguf_lora}", "an adapter in a GGUF file can not hold rows.*write export=gguf"),
        ("export={kind: merged, strength: 0.5}", "no change to the base that could be scaled or added up"),
        ("data.exports=[trl]", "trl would read the samples with the tokenizer of"),
    ],
)
def test_what_can_not_carry_new_rows_is_refused(tied: Path, recipe_on: Callable[..., Recipe], override: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        require_sound(recipe_on(tied, override))
