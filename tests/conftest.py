"""What the tests share: a byte tokenizer, tiny models of random weights, git repositories made on the spot."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from watching import ROOT

if TYPE_CHECKING:
    from finetune.run import Run

settings.register_profile("steady", deadline=None)  # a busy machine is no failure
settings.load_profile("steady")

# A GPU is for the tests that are marked so, and for who asks: the others compare to the bit, or with tensors in main memory.
if not os.environ.get("OCTOTUNE_TEST_GPU"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

# A job in the background of a shell starts with Ctrl+C ignored; what the tests start, and interrupt, must not be.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What is drawn for a sample hangs on the id of its commit, and that on its date: the repositories made here are the same ones in every run.
os.environ |= dict.fromkeys(["GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"], "2026-01-01T00:00:00Z")

SENTINELS = ["<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>", "<repo_name>", "<file_sep>"]
SHARING = {"app", "evaluate", "export", "new_tokens"}
Commit = tuple[str, Mapping[str, str | bytes | None]]
MakeRepository = Callable[[Sequence[Commit]], Path]


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Of several processes, one runs all tests of a file, or of a folder whose files share a costly fixture."""
    for item in items:
        folder = item.path.parent
        item.add_marker(pytest.mark.xdist_group(str(folder if folder.name in SHARING else item.path)))


def write_byte_tokenizer(folder: Path, specials: Sequence[str]) -> None:
    """A tokenizer of one token a byte: `specials` first, then the 256 bytes, with StarCoder 2's pre-tokeniser."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*specials, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": specials[0], "bos_token": specials[0]}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


@pytest.fixture(scope="session")
def byte_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Sequence[str]], Path]:
    """Makes a folder with a byte tokenizer that has the given sentinels, the first of them its eos token."""

    def make(specials: Sequence[str]) -> Path:
        folder = tmp_path_factory.mktemp("tokenizer")
        write_byte_tokenizer(folder, specials)
        return folder

    return make


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A StarCoder 2 of 100k random weights with a byte tokenizer; its shape lets nf4 work (T4). Do not write into it."""
    import torch
    from transformers import Starcoder2Config, Starcoder2ForCausalLM

    folder = tmp_path_factory.mktemp("tiny_base")
    write_byte_tokenizer(folder, SENTINELS)
    torch.manual_seed(0)
    config = Starcoder2Config(
        vocab_size=320,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        sliding_window=256,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=4,
        initializer_range=0.05,
        tie_word_embeddings=True,
    )
    Starcoder2ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """Here and in the fresh processes: with matrices this small, threads on a busy machine only wait for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield
    torch.set_num_threads(threads)


@pytest.fixture
def make_repository(tmp_path: Path) -> MakeRepository:
    """Makes a git repository from commits: (message, {path: text, bytes, or None to delete})."""

    def make(commits: Sequence[Commit], name: str = "project") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        _git(folder, "init", "-q", "-b", "main")
        for message, files in commits:
            for path, content in files.items():
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                match content:
                    case None:
                        target.unlink()
                    case bytes():
                        target.write_bytes(content)
                    case str():
                        target.write_bytes(content.encode())
            _git(folder, "add", "-A")
            _git(folder, "commit", "-q", "--allow-empty", "-m", message)
        return folder

    return make


def _git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


SMALL = ["data.row_length=256", "train.max_steps=2", "train.gradient_checkpointing=false", "evaluate.items=2", "evaluate.max_new_tokens=32"]
_BODY = "def {0}{1}():\n x = {1}\n y = x\n z = {1}\n return z\n\n"


@pytest.fixture(scope="session")
def trained_small_run(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Built and trained, as far as its folder says, with an adapter without effect. Do not write into it."""
    from finetune.base import read_base
    from finetune.data.pack import pack
    from finetune.data.render import Encoder, encode_sample
    from finetune.data.store import write_heldout, write_rows
    from finetune.methods import save_adapter
    from finetune.model import load_model
    from finetune.recipe import parse_recipe
    from finetune.records import FimSample, Origin, SourceFile
    from finetune.run import open_run

    folder = tmp_path_factory.mktemp("small_run")
    run = open_run(parse_recipe("", [f"runs={folder}", f"model.path={tiny_base}", "evaluate.resamples=100", *SMALL], name="mine"))
    base = read_base(run.recipe.model)
    encoder = Encoder(base.tokenizer, base.family)
    samples = [FimSample(Origin("shop", "c", f"{n}.py"), f"def f{n}():\n    ", "return 1", "\n", form="psm") for n in range(30)]
    with run.step("build"):
        for side in ("train", "valid"):
            rows = pack((encode_sample(sample, encoder, learn="all") for sample in samples), row_length=256, pad_id=encoder.pad_id)
            write_rows(rows, run.data / side, vocabulary_size=encoder.vocabulary_size)
        texts = {f"src/{name}.py": "".join(_BODY.format(name, i) for i in range(5)) for name in "abcd"}
        write_heldout([SourceFile(Origin("shop", "c", path), "Python", text) for path, text in texts.items()], run.data / "heldout.jsonl")
    with run.step("train"):
        run.adapter.mkdir()
        save_adapter(run.recipe.adapter(load_model(base, run.recipe.model), base.family), run.adapter, base)
    return run


@pytest.fixture
def small_run(trained_small_run: Run, tmp_path: Path) -> Run:
    """A copy of that run, to spoil."""
    from finetune.run import open_run

    shutil.copytree(trained_small_run.folder, tmp_path / "runs" / "mine")
    return open_run(trained_small_run.recipe.model_copy(update={"runs": str(tmp_path / "runs")}))


@pytest.fixture(scope="session")
def version_4() -> Path:
    """The folder that `make transformers-4` fills; OCTOTUNE_TRANSFORMERS_4 names another one."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(os.environ.get("OCTOTUNE_TRANSFORMERS_4") or cache / "octotune" / "transformers-4.57.6")
    if not (folder / "transformers").is_dir():
        pytest.skip(f"{folder}: transformers 4.57.6 is not there; type: make transformers-4")
    return folder


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This checkout as a git repository of its own, with one commit where the sources came without history."""
    folder = tmp_path_factory.mktemp("checkout") / "clone"
    if (ROOT / ".git").exists():
        subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    else:
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".venv", "runs"))
        _git(folder, "init", "-q")
        _git(folder, "add", "-A")
        _git(folder, "commit", "-q", "-m", "Sources")
    return folder
