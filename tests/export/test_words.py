"""llama.cpp finds the words of the redaction in text, as training did, and the sentinels not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune.base import read_base
from finetune.data.render import Encoder
from finetune.export.gguf import MODEL, write_model
from finetune.export.gguf.converter import convert
from finetune.families import FAMILIES
from finetune.recipe import ModelSection

pytest.importorskip("xllamacpp")
WORDS = FAMILIES[0].placeholders


@pytest.fixture
def folder(byte_tokenizer: Callable[..., Path]) -> Path:
    """A StarCoder 2 of one small block, with the four words as special tokens and one token of two bytes."""
    from transformers import Starcoder2Config, Starcoder2ForCausalLM

    folder = byte_tokenizer([*FAMILIES[0].sentinels, *WORDS])
    path = folder / "tokenizer.json"
    description = json.loads(path.read_text())
    size = len(description["model"]["vocab"])
    description["model"] |= {"merges": [["Ġ", "Ġ"]], "vocab": description["model"]["vocab"] | {"ĠĠ": size}}
    path.write_text(json.dumps(description))
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1}
    Starcoder2ForCausalLM(Starcoder2Config(vocab_size=size + 1, max_position_embeddings=128, **shape)).save_pretrained(folder)
    return folder


def test_a_word_in_text_is_the_token_that_training_saw(folder: Path, tmp_path: Path) -> None:
    from finetune.deploy.llama import Files, Llama

    base = read_base(ModelSection(path=str(folder)))
    convert(write_model(folder, tmp_path, base, kind="f32", name="words"))
    encoder = Encoder(base.tokenizer, base.family)
    text = 'key = "<KEY>"  # <NAME><EMAIL> <fim_middle> <PASSWORD>'
    with Llama(Files(tmp_path / MODEL, []), context=128) as engine:
        assert engine.tokens(text) == encoder.text(text)
    assert sum(token in range(7, 11) for token in encoder.text(text)) == 4


def test_a_server_that_is_closed_at_once_ends(folder: Path, tmp_path: Path) -> None:
    """Before its loop had begun, it was told to end and never heard it."""
    convert(write_model(folder, tmp_path, read_base(ModelSection(path=str(folder))), kind="f32", name="words"))
    program = (
        "import sys\nfrom pathlib import Path\nfrom finetune.deploy.llama import Files, Llama\n"
        "for _ in range(20):\n    Llama(Files(Path(sys.argv[1]), []), context=128).close()\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / MODEL)], check=True, timeout=120)
