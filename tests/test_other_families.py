"""Families beyond BigCode's: a tiny model of each one's architecture learns from its own prompts and answers them, and its tokenizer, of
bytes or of SentencePiece's kind, says in every export what it said in training."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from finetune.base import BaseFolder, read_base
from finetune.data.render import Encoder, encode_prompt, encode_sample, prompt_of
from finetune.deploy.settings import infills_as_trained, stop_words, template, write_settings
from finetune.families import FAMILIES, Family
from finetune.generate.completer import BatchCompleter
from finetune.model import load_model
from finetune.opening import beginning
from finetune.recipe import ModelSection, parse_recipe
from finetune.records import FimPrompt, FimSample, Origin, Sampling
from finetune.tokenizer_files import check_tokenizer, write_tokenizer

ORIGIN = Origin("shop", "c", "a.py")
SMALL = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=128)
GATED = dict(SMALL, intermediate_size=48)
EXPERTS = dict(GATED, head_dim=16, moe_intermediate_size=16, num_experts=2, num_experts_per_tok=1, decoder_sparse_step=1)
LATENT = dict(
    EXPERTS, num_key_value_heads=2, kv_lora_rank=16, q_lora_rank=None, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=16, head_dim=8
)
LATENT |= dict(n_routed_experts=2, n_group=1, topk_group=1, first_k_dense_replace=0)
TEXTS = ["def f(x):\n    return x\n", " leading", "  two  spaces ", "\ttab", "é世\u200d💻\r\n", "▁", "a ▁b", "<s>", ""]


class Shape(NamedTuple):
    """A family, the class of its configuration with what makes it tiny, its tokenizer and what that begins every text with."""

    family: str
    config: str
    values: dict[str, Any]
    pieces: str | None = None
    opens: str | None = "<s>"


SHAPES = [
    Shape("qwen3-coder", "Qwen3Config", dict(GATED, head_dim=16), opens=None),
    Shape("qwen3-coder", "Qwen3MoeConfig", EXPERTS, opens=None),
    Shape("mellum", "LlamaConfig", GATED, opens=None),
    Shape("granite-code", "LlamaConfig", dict(GATED, attention_bias=True, mlp_bias=True), opens=None),
    Shape("codellama", "LlamaConfig", GATED, "prepend"),
    Shape("deepseek-coder", "LlamaConfig", GATED, opens="<｜begin▁of▁sentence｜>"),
    Shape("deepseek-coder-v2", "DeepseekV2Config", LATENT, opens="<｜begin▁of▁sentence｜>"),
    Shape("codegemma", "GemmaConfig", dict(GATED, head_dim=16), "gemma", "<bos>"),
    Shape("codestral", "MistralConfig", GATED, "metaspace"),
    Shape("stable-code", "StableLmConfig", GATED, opens=None),
]


def row(name: str) -> Family:
    return next(family for family in FAMILIES if family.name == name)


def write_pieces(folder: Path, specials: list[str], kind: str) -> None:
    """SentencePiece's kind of tokenizer, as published files describe it: characters, a few merges, bytes for the rest."""
    runs = ["▁▁", "\n\n"] if kind == "gemma" else []  # as CodeGemma lists them: added, and not special
    tags = ["<table>"] if kind == "gemma" else []
    letters = sorted({*"▁abcdefghijklmnopqrstuvwxyz():=_+0123456789\n", "de", "def", "▁def"})
    names = ["<unk>", *specials, *(f"<0x{byte:02X}>" for byte in range(256)), *letters, *runs, *tags]
    merges = [["d", "e"], ["de", "f"], ["▁", "def"], *([run[:1], run[1:]] for run in runs)]
    space = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    plain = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]
    stripped = {"type": "Sequence", "decoders": [*plain, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    parts: dict[str, dict[str, Any]] = {
        "prepend": {
            "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, space]},
            "pre_tokenizer": None,
            "decoder": stripped,
        },
        "metaspace": {
            "normalizer": None,
            "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False},
            "decoder": stripped,
        },
        "gemma": {
            "normalizer": space,
            "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False},
            "decoder": {"type": "Sequence", "decoders": plain},
        },
    }
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    model = {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None, "end_of_word_suffix": None}
    model |= {"fuse_unk": True, "byte_fallback": True, "ignore_merges": False, "merges": merges}
    model["vocab"] = {name: place for place, name in enumerate(names)}
    description = {"version": "1.0", "truncation": None, "padding": None, **parts[kind], "post_processor": None, "model": model}
    description["added_tokens"] = [{"id": names.index(name), "content": name, **flags} for name in ["<unk>", *specials]]
    description["added_tokens"] += [{"id": names.index(name), "content": name, **flags, "special": False} for name in [*runs, *tags]]
    (folder / "tokenizer.json").write_text(json.dumps(description))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": specials[0]}))


@pytest.fixture(scope="session")
def base_of(tmp_path_factory: pytest.TempPathFactory, byte_tokenizer: Callable[[Sequence[str]], Path]) -> Callable[[Shape], BaseFolder]:
    """A folder of random weights as a hub gives it; "auto" finds the family."""
    import torch
    import transformers

    made: dict[str, BaseFolder] = {}

    def make(shape: Shape) -> BaseFolder:
        if shape.config + shape.family not in made:
            family = row(shape.family)
            specials = [*dict.fromkeys((*family.sentinels, *family.marks, *([shape.opens] if shape.opens else [])))]
            folder = byte_tokenizer(specials) if shape.pieces is None else tmp_path_factory.mktemp("base")
            if shape.pieces is not None:
                write_pieces(folder, specials, shape.pieces)
            description = json.loads((folder / "tokenizer.json").read_text())
            ids = description["model"]["vocab"]
            if shape.opens:
                description["post_processor"] = beginning(shape.opens, ids[shape.opens])
            (folder / "tokenizer.json").write_text(json.dumps(description))
            torch.manual_seed(0)
            end = ids[family.end]
            special = {"bos_token_id": ids.get(shape.opens, end), "eos_token_id": end, "pad_token_id": ids[family.pad]}
            config = getattr(transformers, shape.config)(vocab_size=len(ids), initializer_range=0.1, **shape.values, **special)
            transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
            made[shape.config + shape.family] = read_base(ModelSection(path=str(folder)))
        return made[shape.config + shape.family]

    return make


def names(encoder: Encoder, ids: list[int]) -> list[str]:
    vocabulary = {index: token for token, index in encoder._texts.reference.get_vocab(with_added_tokens=True).items()}
    return [vocabulary[index] for index in ids]


shapes = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.family}-{shape.config.removesuffix('Config')}")


@pytest.mark.filterwarnings("ignore:fastokens is left aside")  # it knows no Metaspace
@shapes
def test_a_model_of_the_family_learns_its_holes_and_answers_its_prompts(shape: Shape, base_of: Callable[[Shape], BaseFolder]) -> None:
    import torch

    base = base_of(shape)
    assert (base.family.name, base.family.opening) == (shape.family, shape.opens)
    recipe = parse_recipe("", [f"model.path={base.path}", "adapter.r=4", "adapter.dropout=0"], name="mine")
    encoder = Encoder(base.tokenizer, base.family)
    sample = FimSample(ORIGIN, "def f(x):\n    ", "return x", "\n", "psm")
    encoded, prompt = encode_sample(sample, encoder, learn="answer"), encode_prompt(prompt_of(sample), encoder)
    ids = list(encoded.input_ids)
    assert ids[: len(prompt)] == prompt and ids[-1] in encoder.stop_ids and not {*ids[len(prompt) : -1]} & {*encoder.sentinel_ids}
    assert encoder.decode(ids[len(prompt) : -1]) == "return x"

    model: Any = recipe.adapter(load_model(base, recipe.model), base.family)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=0.05)
    losses = []
    for _ in range(3):
        loss = model(input_ids=torch.tensor([ids]), labels=torch.tensor([list(encoded.labels)])).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.99 * losses[0]

    model.eval()
    completer = BatchCompleter(model, encoder, {"mine": "default"}, context_length=base.context_length)
    ((_, filled),) = completer.fill([FimPrompt(sample.prefix, sample.suffix)], [sample.middle], Sampling(max_new_tokens=2))
    with torch.no_grad():
        logits_TV = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    truth = -sum(float(logits_TV[place - 1, ids[place]]) for place in range(len(prompt), len(ids) - 1))
    assert filled.nats[1] == pytest.approx(truth, rel=1e-4)  # the completer's prompt is that of training
    assert filled.nats[1] < filled.nats[0]


@shapes
def test_an_export_has_the_familys_tokenizer_prompt_and_stops(shape: Shape, base_of: Callable[[Shape], BaseFolder], tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    base = base_of(shape)
    encoder = Encoder(base.tokenizer, base.family)
    write_tokenizer(tmp_path, base)
    check_tokenizer(base, tmp_path)
    written = AutoTokenizer.from_pretrained(tmp_path)(template(base.family, "def f(x):\n", "\n    return x"))["input_ids"]
    assert written == encode_prompt(FimPrompt("def f(x):\n", "\n    return x"), encoder)
    write_settings(tmp_path, form="gguf", base=base, name="mine", infill=False)
    modelfile = (tmp_path / "Modelfile").read_text()
    assert template(base.family, "{{ .Prompt }}", "{{ .Suffix }}") in modelfile
    assert {*base.family.stop} <= {*stop_words(base.family)} and all(
        f'PARAMETER stop "{word}"\n' in modelfile for word in stop_words(base.family)
    )


@pytest.mark.parametrize("text", TEXTS)
@shapes
def test_a_text_comes_back_as_it_was_alone_and_behind_another(shape: Shape, base_of: Callable[[Shape], BaseFolder], text: str) -> None:
    base = base_of(shape)
    encoder = Encoder(base.tokenizer, base.family)
    if shape.pieces is not None and "▁" in text:
        text = text.replace("▁", "_")  # SentencePiece's own sign for a space is one
    assert encoder.decode(encoder.text(text)) == text
    assert encoder.decode(encoder.text("x =") + encoder.text(text)) == "x =" + text


def test_code_llamas_prompt_has_one_space_and_it_stands_before_the_prefix(base_of: Callable[[Shape], BaseFolder]) -> None:
    """llama/generation.py: <PRE>, the prefix with SentencePiece's own space, <SUF>, the suffix without, <MID>."""
    base = base_of(next(shape for shape in SHAPES if shape.family == "codellama"))
    encoder = Encoder(base.tokenizer, base.family)
    sample = FimSample(ORIGIN, "def f", "def", "def", "psm")
    psm = ["<s>", "▁<PRE>", "▁def", "▁", "f", "▁<SUF>", "def", "▁<MID>", "def", "▁<EOT>"]
    assert names(encoder, list(encode_sample(sample, encoder, learn="all").input_ids)) == psm
    spm = ["<s>", "▁<PRE>", "▁<SUF>", "def", "▁<MID>", "▁def", "▁", "f", "def", "▁<EOT>"]
    assert names(encoder, list(encode_sample(FimSample(ORIGIN, "def f", "def", "def", "spm"), encoder, learn="all").input_ids)) == spm
    plain = FimSample(ORIGIN, "", "def", "", "plain")
    assert names(encoder, list(encode_sample(plain, encoder, learn="all").input_ids)) == ["<s>", "def", "</s>"]


def test_codestrals_prompt_is_that_of_mistrals_own_library(base_of: Callable[[Shape], BaseFolder]) -> None:
    """tests/test_fim_tokenizer.py of mistral-common: <s>[SUFFIX]return▁a▁+▁b[PREFIX]▁def▁f("""
    base = base_of(next(shape for shape in SHAPES if shape.family == "codestral"))
    encoder = Encoder(base.tokenizer, base.family)
    assert "".join(names(encoder, encode_prompt(FimPrompt("def f(", "return a + b"), encoder))) == "<s>[SUFFIX]return▁a▁+▁b[PREFIX]▁def▁f("


def test_a_tokenizer_whose_first_space_is_left_out_is_another_base(base_of: Callable[[Shape], BaseFolder], tmp_path: Path) -> None:
    base = base_of(next(shape for shape in SHAPES if shape.family == "codellama"))
    write_tokenizer(tmp_path, base)
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((base.path / name).read_bytes())
    exported = read_base(ModelSection(path=str(tmp_path)))
    assert (exported.family, exported.digest == base.digest) == (base.family, False)
    assert Encoder(exported.tokenizer, exported.family).text("def") == Encoder(base.tokenizer, base.family).text("def")


def gguf_of(base: BaseFolder, shape: Shape, folder: Path) -> Path:
    """The base as a GGUF file in this folder, by llama.cpp's converter."""
    from finetune.export.checkpoint import write_small_files
    from finetune.export.gguf import write_model
    from finetune.export.gguf.converter import convert

    source = folder / "checkpoint"
    source.mkdir()
    write_small_files(source, base, architecture=f"{shape.config.removesuffix('Config')}ForCausalLM", dtype="float32")
    (source / "model.safetensors").write_bytes((base.path / "model.safetensors").read_bytes())
    convert(write_model(source, folder, base, kind="f32", name="mine"))
    return folder / "model.gguf"


@pytest.mark.filterwarnings("ignore:fastokens is left aside")
def test_a_file_that_writes_indents_otherwise_is_refused(
    base_of: Callable[[Shape], BaseFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tokens are those of training; a client would get them as signs for spaces."""
    pytest.importorskip("xllamacpp")
    import torch

    from finetune.deploy.llama import Files, Llama
    from finetune.errors import ExportError
    from finetune.export.gguf import pieces
    from finetune.export.verify.figures import Row
    from finetune.export.verify.llama import _check_tokens

    monkeypatch.setattr(pieces, "_SPACE", "no such sign")
    shape = next(shape for shape in SHAPES if shape.family == "codegemma")
    base = base_of(shape)
    encoder, nothing = Encoder(base.tokenizer, base.family), torch.empty(0)
    rows = [Row(torch.tensor([encoder.text(text)]), nothing, nothing, nothing) for text in ("def f():\n", "  return")]
    with Llama(Files(gguf_of(base, shape, tmp_path)), context=128) as engine:
        _check_tokens(engine, encoder, rows[:1])
        with pytest.raises(ExportError, match="llama.cpp writes the tokens of training otherwise, '▁▁return' for '  return'"):
            _check_tokens(engine, encoder, rows)


@pytest.mark.filterwarnings("ignore:fastokens is left aside")
@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape.pieces], ids=lambda shape: shape.family)
def test_llama_cpp_cuts_texts_and_prompts_as_training_did(shape: Shape, base_of: Callable[[Shape], BaseFolder], tmp_path: Path) -> None:
    """Out of tokenizer.json alone: with SentencePiece's own file the converter would put a space before every text."""
    pytest.importorskip("xllamacpp")
    from finetune.deploy.llama import Files, Llama

    base = base_of(shape)
    encoder = Encoder(base.tokenizer, base.family)
    with Llama(Files(gguf_of(base, shape, tmp_path)), context=128) as engine:
        for text in (*TEXTS, "def def f(def):\n    def_def  def\n\n\n", base.family.sentinels[1], "<table>"):
            assert engine.tokens(text) == encoder.text(text), text
            assert engine.text(encoder.text(text)) == encoder.decode(encoder.text(text)), text
        assert infills_as_trained(engine, base.family) == (shape.family == "codegemma")  # llama.cpp knows no space and no other order
        for prefix, suffix in (("def f(", "return a + b"), ("", ""), (" def", "def")):
            asked = {"content": template(base.family, prefix, suffix), "add_special": True, "parse_special": True}
            assert engine._post("/tokenize", asked)["tokens"] == encode_prompt(FimPrompt(prefix, suffix), encoder)


def test_an_adapter_beside_llamas_base_follows_the_rows_that_the_converter_moves(
    base_of: Callable[[Shape], BaseFolder], tmp_path: Path
) -> None:
    """Queries and keys lie in another order in GGUF; so do the outputs of what is added to them."""
    pytest.importorskip("xllamacpp")
    import torch

    from finetune.export.gguf import AdapterConversion
    from finetune.export.gguf.converter import gguf, hyperparameters, model_class
    from finetune.export.gguf.lora import convert_adapter
    from finetune.methods import save_adapter

    base = base_of(next(shape for shape in SHAPES if shape.family == "deepseek-coder"))
    recipe = parse_recipe("", [f"model.path={base.path}", "adapter.r=4", "adapter.alpha=4"], name="mine")
    model: Any = recipe.adapter(load_model(base, recipe.model), base.family)
    torch.manual_seed(1)
    changes = {}
    for name, layer in model.named_modules():
        if hasattr(layer, "lora_B") and "default" in layer.lora_B:
            torch.nn.init.normal_(layer.lora_B["default"].weight)
            change = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
            changes[name.removeprefix("base_model.model.") + ".weight"] = change.detach()
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    save_adapter(model, adapter, base)
    convert_adapter(AdapterConversion(source=base.path, target=tmp_path / "adapter.gguf", adapter=adapter, strength=1.0, name="mine"))

    module = gguf()
    written = {tensor.name: torch.tensor(tensor.data) for tensor in module.GGUFReader(tmp_path / "adapter.gguf").tensors}
    converter = model_class(base.path)(base.path, module.LlamaFileType.ALL_F32, tmp_path / "no.gguf", hparams=hyperparameters(base.path))
    assert len(changes) == 7 == len(written) / 2
    for name, change in changes.items():
        ((there, wanted),) = converter.modify_tensors(change, name, 0)
        torch.testing.assert_close(written[f"{there}.lora_b"] @ written[f"{there}.lora_a"], wanted)
        assert ("attn_q" in there or "attn_k." in there) == (not torch.equal(wanted, change)), there
