"""Merging some rows at a time: the bits are those of a merge in one piece, and memory does not grow with the model."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes import functional
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from finetune.base import BaseFolder, read_base
from finetune.errors import ExportError
from finetune.merge import BaseWeights, MergeOptions, Part, merge, nf4, read_adapter
from finetune.merge.adding import Adding
from finetune.merge.reading import contents
from finetune.merge.rounding import row_blocks, there_and_back_4bit
from finetune.merge.shards import Planned, write_shards
from finetune.methods import CONFIG, METHODS, load_adapter, save_adapter
from finetune.model import load_model
from finetune.quiet import known_warnings_off
from finetune.recipe import ModelSection

SENTINELS = ["<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>", "<repo_name>", "<file_sep>"]


@pytest.fixture(scope="module")
def wide_base(byte_tokenizer: Callable[[list[str]], Path]) -> BaseFolder:
    """One block of a StarCoder 2 whose feed-forward is merged in several pieces."""
    from transformers import Starcoder2Config, Starcoder2ForCausalLM

    folder = byte_tokenizer(SENTINELS)
    torch.manual_seed(0)
    config = Starcoder2Config(
        vocab_size=320,
        hidden_size=1024,
        intermediate_size=2304,
        num_hidden_layers=1,
        num_attention_heads=8,
        num_key_value_heads=2,
        bos_token_id=0,
        eos_token_id=0,
    )
    Starcoder2ForCausalLM(config).save_pretrained(folder)
    return read_base(ModelSection(path=str(folder)))


def section(base: BaseFolder, bits: str) -> ModelSection:
    return ModelSection.model_validate({"path": str(base.path), "dtype": "float32", "quantization": bits})


def adapt(base: BaseFolder, folder: Path, kind: str = "lora", seed: int = 1, **options: Any) -> Path:
    """An adapter of random numbers, saved to `folder`."""
    method = METHODS[kind].model_validate(options)
    with known_warnings_off():
        model = method(load_model(base, section(base, "none")), base.family)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    folder.mkdir()
    save_adapter(model, folder, base)
    return folder


def merged(base: BaseFolder, bits: str, parts: list[Part], out: Path) -> dict[str, torch.Tensor]:
    out.mkdir()
    written = merge(BaseWeights(base, section(base, bits)), parts, folder=out, options=MergeOptions(dtype="float32"))
    return {name: tensor for file in written.files for name, tensor in load_file(out / file).items()}


def in_memory(base: BaseFolder, bits: str) -> Any:
    model = load_model(base, section(base, bits))
    return model if bits == "none" else model.dequantize()


def test_the_wide_base_is_merged_in_several_pieces(wide_base: BaseFolder) -> None:
    blocks = [*BaseWeights(wide_base, section(wide_base, "nf4")).blocks("model.layers.0.mlp.c_fc.weight")]
    assert [(rows.start, rows.stop) for rows in blocks] == [(0, 768), (768, 1536), (1536, 2304)]


@pytest.mark.parametrize(
    ("kind", "bits", "options"),
    [
        ("lora", "none", {}),
        ("lora", "none", {"dora": True}),
        ("lora", "nf4", {"r": 17}),
        ("lora", "int8", {}),
        ("adalora", "none", {}),
        ("ia3", "none", {}),
        ("oft", "none", {}),
        ("ln_tuning", "none", {}),
        ("c3a", "none", {}),
        ("delora", "none", {}),
        ("fourierft", "none", {}),
        ("gralora", "none", {}),
        ("hira", "none", {}),
        ("miss", "none", {}),
        ("road", "none", {}),
        ("vera", "none", {}),
    ],
)
def test_pieces_give_the_bits_of_peft_s_own_merge_in_memory(
    wide_base: BaseFolder, tmp_path: Path, kind: str, bits: str, options: dict[str, Any]
) -> None:
    folder = adapt(wide_base, tmp_path / "adapter", kind, **options)
    ours = merged(wide_base, bits, [Part(read_adapter(folder))], tmp_path / "out")
    theirs = load_adapter(in_memory(wide_base, bits), folder).merge_and_unload().state_dict()
    assert ours.keys() == theirs.keys() - {"lm_head.weight"}
    apart = {name: float((tensor - theirs[name].float()).abs().max()) for name, tensor in ours.items()}
    # peft multiplies AdaLoRA's and (IA)^3's factors in another order, which is a last bit
    allowed = 2e-7 if kind in ("adalora", "ia3") else 0
    assert max(apart.values()) <= allowed, {name: gap for name, gap in apart.items() if gap > allowed}


def test_an_adapter_that_is_more_than_its_tensors_is_refused(wide_base: BaseFolder, tmp_path: Path) -> None:
    folder = adapt(wide_base, tmp_path / "adapter", "hira", r=4)
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | {"rank_pattern": {"c_fc": 2}}))
    with pytest.raises(ExportError, match="an adapter with rank_pattern can not be merged layer by layer"):
        read_adapter(folder)
    (folder / CONFIG).write_text(json.dumps(config | {"r": 8}))
    with pytest.raises(ExportError, match=r"hira_. has the shape .* and the layer of the base asks for .*8"):
        merged(wide_base, "none", [Part(read_adapter(folder))], tmp_path / "out")
    with pytest.raises(ExportError, match="is not a plain sum of base and adapter; write export.strength=1"):
        merged(wide_base, "none", [Part(read_adapter(folder), 0.5)], tmp_path / "half")


def test_weights_trained_whole_are_written_as_they_are(wide_base: BaseFolder, tmp_path: Path) -> None:
    folder = adapt(wide_base, tmp_path / "adapter", "full")
    learnt = load_file(folder / "adapter_model.safetensors")
    ours = merged(wide_base, "none", [Part(read_adapter(folder))], tmp_path / "out")
    assert len(learnt) == len(ours)
    for key, tensor in learnt.items():
        name = key.removeprefix("base_model.model.").replace(".full_weight", ".weight").replace(".full_bias", ".bias")
        assert torch.equal(ours[name], tensor), name


def test_several_adapters_are_added_by_their_weights_as_peft_adds_them(wide_base: BaseFolder, tmp_path: Path) -> None:
    folders = [adapt(wide_base, tmp_path / name, seed=seed, r=rank) for seed, (name, rank) in enumerate([("one", 4), ("two", 8)])]
    weights = [0.8, -0.5]
    parts = [Part(read_adapter(folder), weight) for folder, weight in zip(folders, weights, strict=True)]
    ours = merged(wide_base, "none", parts, tmp_path / "out")
    model: Any = in_memory(wide_base, "none")
    for name, folder, weight in zip(("one", "two"), folders, weights, strict=True):
        model = load_adapter(model, folder, name=name)
        for module in model.modules():
            if hasattr(module, "scale_layer"):
                module.scale_layer(weight)
    theirs = model.merge_and_unload(adapter_names=["one", "two"]).state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    alone = merged(wide_base, "none", parts[:1], tmp_path / "alone")
    assert not torch.equal(ours["model.layers.0.mlp.c_fc.weight"], alone["model.layers.0.mlp.c_fc.weight"])


def test_an_adapter_that_is_no_sum_can_not_be_one_of_several(wide_base: BaseFolder, tmp_path: Path) -> None:
    plain, dora = adapt(wide_base, tmp_path / "plain"), adapt(wide_base, tmp_path / "dora", dora=True)
    with pytest.raises(ExportError, match="several can not be added up"):
        merged(wide_base, "none", [Part(read_adapter(plain)), Part(read_adapter(dora))], tmp_path / "out")
    assert not [*(tmp_path / "out").iterdir()]


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(2304, 1024), (5000, 257), (1001, 64), (3, 5)])
def test_4_bits_in_pieces_are_4_bits_in_one(shape: tuple[int, int], dtype: torch.dtype, double: bool) -> None:
    from bitsandbytes.nn import Params4bit

    weight = torch.randn(shape, generator=torch.Generator().manual_seed(3)).to(dtype)
    like = Params4bit(torch.empty(0), quant_type="nf4", compress_statistics=double)
    blocks = [*row_blocks(shape, whole=False)]
    read = there_and_back_4bit(lambda rows: weight[rows], blocks, like=like)
    codes, state = functional.quantize_4bit(weight, quant_type="nf4", compress_statistics=double)
    assert torch.equal(torch.cat([read(rows) for rows in blocks]), functional.dequantize_4bit(codes, state))


def on_borders() -> torch.Tensor:
    """Numbers on and beside every border between two codes, at several scales; an empty block; the smallest numbers there are."""
    table = functional.get_4bit_type("nf4", device="cpu")
    borders = (table[:-1] + table[1:]) / 2
    around = [borders, torch.nextafter(borders, torch.tensor(2.0)), torch.nextafter(borders, torch.tensor(-2.0)), torch.ones(19)]
    one = torch.cat(around)
    return torch.stack([one, 0.37 * one, -5.0 * one, torch.zeros(64), 1e-39 * one, 1e-45 * one])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("blocksize", [64, 256])
def test_codes_are_those_of_bitsandbytes_on_every_border(dtype: torch.dtype, blocksize: int) -> None:
    from bitsandbytes.nn import Params4bit

    assert nf4._equal_to_the_bit("nf4", blocksize)  # else the comparison below is of bitsandbytes with itself
    like = Params4bit(torch.empty(0), quant_type="nf4", blocksize=blocksize)
    rows = torch.cat([on_borders(), torch.randn(3 * 4096 + 6, 64, generator=torch.Generator().manual_seed(5))]).to(dtype)[: 3 * 4096]
    codes, state = nf4.quantise(rows, like=like)
    wanted, whole = functional.quantize_4bit(rows, quant_type="nf4", blocksize=blocksize)
    assert torch.equal(codes, wanted) and torch.equal(state.absmax, whole.absmax)
    assert torch.equal(functional.dequantize_4bit(codes, state), functional.dequantize_4bit(wanted, whole))


def test_a_bitsandbytes_that_rounds_otherwise_is_asked_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    from bitsandbytes.nn import Params4bit

    published = functional.quantize_4bit

    def otherwise(rows: torch.Tensor, **options: Any) -> Any:
        codes, state = published(rows, **options)
        return codes ^ 1, state

    monkeypatch.setattr(functional, "quantize_4bit", otherwise)
    nf4._equal_to_the_bit.cache_clear()
    try:
        rows = torch.randn(8, 64)
        codes, _ = nf4.quantise(rows, like=Params4bit(torch.empty(0), quant_type="nf4"))
        assert torch.equal(codes, published(rows, quant_type="nf4")[0] ^ 1)
    finally:
        nf4._equal_to_the_bit.cache_clear()


@given(st.lists(st.integers(1, 40_000), min_size=0, max_size=3).filter(lambda shape: len(shape) < 3 or max(shape) < 500))
def test_blocks_cover_every_row_once_and_start_at_multiples(shape: list[int]) -> None:
    blocks = [*row_blocks(tuple(shape), whole=False)]
    assert blocks[0].start == 0 and blocks[-1].stop == (shape[0] if shape else 1)
    assert all(one.stop == other.start and one.stop % 192 == 0 for one, other in zip(blocks, blocks[1:], strict=False))
    across = math.prod(shape[1:])
    at_most = max(192, (1 << 20) // across) + 47  # rows; fewer than 48 left over go along
    assert all(rows.stop - rows.start <= at_most for rows in blocks)
    assert len(blocks) == 1 or blocks[-1].stop - blocks[-1].start >= 48
    assert len([*row_blocks(tuple(shape), whole=True)]) == 1


def test_a_file_is_what_safetensors_itself_would_write(tmp_path: Path) -> None:
    tensors = {
        "z": torch.randn(7, 3).bfloat16(),
        "a.é": torch.randn(5).half(),
        "steps": torch.arange(4),
        "mask": torch.tensor([True, False, True]),
        "one": torch.tensor(1.5),
        "bytes": torch.arange(9, dtype=torch.uint8),
    }
    save_file(tensors, tmp_path / "theirs.safetensors", metadata={"format": "pt"})
    held = contents(tmp_path / "theirs.safetensors")
    plan = {name: Planned(held[name].shape, held[name].dtype, tensor.nbytes) for name, tensor in tensors.items()}
    write_shards(tmp_path, plan, get=lambda name: iter([tensors[name]]), shard_bytes=1 << 20)
    assert (tmp_path / "model.safetensors").read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()
    assert all(torch.equal(held[name].read(), tensor) for name, tensor in tensors.items())
    assert torch.equal(held["z"].read(slice(2, 6)), tensors["z"][2:6])


def test_a_weight_file_that_ends_early_is_named(wide_base: BaseFolder, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(wide_base.path, copy)
    weights = BaseWeights(read_base(ModelSection(path=str(copy))), section(wide_base, "none"))
    with (copy / "model.safetensors").open("r+b") as file:
        file.truncate(1 << 20)
    (tmp_path / "out").mkdir()
    with pytest.raises(ExportError, match=r"copy/model.safetensors: ends within .*; copy the file again"):
        merge(weights, [], folder=tmp_path / "out", options=MergeOptions())
    with pytest.raises(ExportError, match=r"copy/model.safetensors: no readable weights .*; copy the file again"):
        BaseWeights(read_base(ModelSection(path=str(copy))), section(wide_base, "none"))


CHILD = """
import json, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from finetune.base import read_base
from finetune.merge import BaseWeights, MergeOptions, Part, merge, read_adapter
from finetune.recipe import ModelSection

def status(name):
    return next(int(line.split()[1]) * 1024 for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))

def run(bits, base, adapter, out):
    section = ModelSection(path=base, quantization=bits, dtype="bfloat16")
    out = Path(f"{out}-{bits}")
    out.mkdir()
    merge(BaseWeights(read_base(section), section), [Part(read_adapter(Path(adapter)))], folder=out, options=MergeOptions())

small, large = json.loads(sys.argv[1])
for bits in ("none", "nf4"):
    run(bits, *small)  # libraries are read and warm from here; its tensors are too small to leave room for those of the other
before = status("VmRSS")
for bits in ("none", "nf4"):
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    run(bits, *large)
    print(status("VmHWM") - before)  # not getrusage's figure, which begins with the parent's
"""


def skeleton(folder: Path) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))


def random_adapter(base: BaseFolder, folder: Path) -> Path:
    with known_warnings_off():
        tuned = METHODS["lora"].model_validate({"r": 16})(skeleton(base.path), base.family)
    folder.mkdir()
    weights = {name: 0.01 * torch.randn(weight.shape) for name, weight in tuned.state_dict().items() if ".lora_" in name}
    save_adapter(tuned, folder, base, gathered=weights)
    return folder


def many_shards(folder: Path, base: BaseFolder, **shape: int) -> int:
    """A base like it, but of that shape, of random bfloat16 with a file for each block; gives the bytes of the largest."""
    import shutil

    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(base.path / name, folder / name)
    config = json.loads((base.path / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | shape))
    shapes = {name: weight.shape for name, weight in skeleton(folder).state_dict().items() if name != "lm_head.weight"}
    places = {name: f"model-{name.split('.')[2] if '.layers.' in name else 'rest'}.safetensors" for name in shapes}
    for file in set(places.values()):
        tensors = {name: torch.randn(shapes[name], dtype=torch.bfloat16).mul_(0.02) for name in places if places[name] == file}
        save_file(tensors, folder / file, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return max(path.stat().st_size for path in folder.glob("*.safetensors"))


def test_peak_memory_stays_under_twice_the_largest_file(wide_base: BaseFolder, tmp_path: Path) -> None:
    """All memory that is resident, mapped files in it too: the merge maps none. 5 files of 22 MB; in full precision, then nf4."""
    shapes = {
        "small": {"num_hidden_layers": 1, "hidden_size": 64, "intermediate_size": 128},
        "large": {"num_hidden_layers": 5, "intermediate_size": 4096},
    }
    named = []
    for name, shape in shapes.items():
        folder = tmp_path / name
        folder.mkdir()
        largest = many_shards(folder, wide_base, **shape)
        base = read_base(ModelSection(path=str(folder)))
        named.append([str(folder), str(random_adapter(base, tmp_path / f"{name}-adapter")), str(tmp_path / f"{name}-out")])
    done = subprocess.run([sys.executable, "-c", CHILD, json.dumps(named)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    grown = [int(line) for line in done.stdout.split()]
    assert largest > 20e6 and len(grown) == 2
    assert max(grown) < 2 * largest, f"{[round(each / 1e6) for each in grown]} MB for files of {largest / 1e6:.0f} MB"


@pytest.mark.parametrize("bits", ["none", "nf4"])
def test_a_bfloat16_merge_is_the_float32_one_rounded_once(
    wide_base: BaseFolder, tmp_path: Path, bits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one pass, which is taken, against the usual way; what it reads is bfloat16 too."""
    passed, one_pass = [0], Adding.__call__

    def counted(self: Adding, rows: torch.Tensor, *rest: Any) -> torch.Tensor | None:
        passed[0] += rows.numel()
        return one_pass(self, rows, *rest)

    monkeypatch.setattr(Adding, "__call__", counted)
    part = Part(read_adapter(adapt(wide_base, tmp_path / "adapter", r=4)), 0.7)
    narrow = ModelSection.model_validate({"path": str(wide_base.path), "dtype": "bfloat16", "quantization": bits})
    found: dict[str, dict[str, torch.Tensor]] = {}
    for dtype in ("bfloat16", "float32"):
        out = tmp_path / dtype
        out.mkdir()
        written = merge(BaseWeights(wide_base, narrow), [part], folder=out, options=MergeOptions(dtype=dtype))  # type: ignore[arg-type]
        found[dtype] = {name: tensor for file in written.files for name, tensor in load_file(out / file).items()}
    changed = [name for name, tensor in found["float32"].items() if not torch.equal(tensor, tensor.to(torch.bfloat16).float())]
    assert len(changed) == 6 and passed[0] == sum(found["float32"][name].numel() for name in changed)
    for name, tensor in found["float32"].items():
        assert torch.equal(found["bfloat16"][name], tensor.to(torch.bfloat16)), name
