"""What `finetune check` says of methods, before torch is loaded."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from finetune.check import require_sound, summary
from finetune.errors import RecipeError
from finetune.methods import METHODS
from finetune.recipe import dump_recipe, parse_recipe


def faults(base: Path, *overrides: str) -> str:
    try:
        require_sound(parse_recipe("", [f"model.path={base}", "data.row_length=256", *overrides], name="run"))
    except RecipeError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", ["p_tuning", "prompt", "prefix"])
def test_prompt_learning_with_packing_is_refused(tiny_base: Path, kind: str) -> None:
    """T2: peft drops the positions that keep packed samples apart."""
    settings = (f"adapter={kind}", "export=adapter", "train.gradient_checkpointing=false")
    said = faults(tiny_base, *settings)
    assert said.count("\n") == 0 and "mix the samples that share a row; write data.packing=false" in said
    assert not faults(tiny_base, *settings, "data.packing=false")


def test_prefix_tuning_with_gradient_checkpointing_is_refused(tiny_base: Path) -> None:
    """T3: checkpointing drops the keys and values that the prefix is made of."""
    settings = ("adapter=prefix", "export=adapter", "data.packing=false")
    assert "write train.gradient_checkpointing=false" in faults(tiny_base, *settings, "train.gradient_checkpointing=true")
    assert not faults(tiny_base, *settings, "train.gradient_checkpointing=false")


def test_a_merge_into_files_that_are_quantised_themselves_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "gptq", "bits": 4}}))
    for form in ("merged", "gguf"):
        assert f"export: found {form}, but the files of {base} are quantised themselves" in faults(base, f"export={form}")
    assert not faults(base, "export=adapter")


@pytest.mark.parametrize("bits", ["nf4", "int8"])
def test_full_fine_tuning_of_a_quantised_base_is_refused(tiny_base: Path, bits: str) -> None:
    said = faults(tiny_base, "adapter=full", f"model.quantization={bits}")
    assert f"adapter=full: found model.quantization={bits}, on which this method does not train; write model.quantization=none" in said


def test_pissa_is_refused_with_the_reason(tiny_base: Path) -> None:
    """T7: without its adapter the model is no longer the base."""
    assert "adapter=pissa: it changes the weights of the base" in faults(tiny_base, "adapter=pissa")


@pytest.mark.parametrize("kind", [kind for kind, method in METHODS if method.refused])
def test_a_method_that_is_not_sound_is_refused_with_its_reason_and_with_one_that_is(tiny_base: Path, kind: str) -> None:
    said = faults(tiny_base, f"adapter={kind}")
    assert said == f"adapter={kind}: {METHODS[kind].refused}"
    assert not METHODS[said.rpartition("; write adapter=")[2]].refused


@pytest.mark.parametrize("kind", [kind for kind, method in METHODS if not method.refused])
def test_merging_what_can_not_be_merged_is_refused(tiny_base: Path, kind: str) -> None:
    method = METHODS[kind]
    settings = [f"adapter={kind}", f"data.packing={str(method.packs).lower()}", "train.gradient_checkpointing=false"]
    said = faults(tiny_base, *settings, "export=merged")
    assert (not said) if method.merges else f"a {kind} adapter can not be merged into the weights; write export=adapter" in said
    assert not faults(tiny_base, *settings, "export=adapter")


@pytest.mark.parametrize("kind", [kind for kind, method in METHODS if not method.refused])
def test_without_a_word_about_it_a_method_is_exported_in_a_form_it_has(tiny_base: Path, kind: str) -> None:
    method = METHODS[kind]
    settings = [f"adapter={kind}", f"data.packing={str(method.packs).lower()}", "train.gradient_checkpointing=false"]
    recipe = parse_recipe("", [*settings, f"model.path={tiny_base}"], name="tried")
    assert not faults(tiny_base, *settings) and [exporter.kind for exporter in recipe.export] == ["merged" if method.merges else "adapter"]
    assert ("can not be merged into the weights" in summary(recipe)) is not method.merges
    assert parse_recipe(dump_recipe(recipe)).export == recipe.export


@pytest.mark.parametrize("form", ["merged", "gguf"])
@pytest.mark.parametrize("option", ["strength: 0.8", "adapters: [{path: runs/other}]"])
@pytest.mark.parametrize(("method", "sums"), [("lora", True), ("adalora", True), ("{kind: lora, dora: true}", False), ("oft", False)])
def test_scaling_what_is_no_sum_is_refused(tiny_base: Path, method: str, sums: bool, option: str, form: str) -> None:
    said = faults(tiny_base, f"adapter={method}", f"export={{kind: {form}, {option}}}")
    assert (not said) if sums else "not a plain sum that can be scaled and added; write export.strength=1" in said


@pytest.mark.parametrize("base", ["nf4", "in_place"])
def test_merging_inside_4_bits_is_refused_with_the_reason(tiny_base: Path, base: str) -> None:
    said = faults(tiny_base, "model.quantization=nf4", f"export.merge_base={base}")
    assert "rounding to so few levels loses most of what was learnt" in said and "write dequantized or original" in said


def test_learnt_prompts_need_their_place_in_the_context(tiny_base: Path) -> None:
    settings = ("adapter={kind: p_tuning, tokens: 30}", "export=adapter", "data.packing=false")
    assert "of which p_tuning takes 30 for itself; write data.row_length=482 or less" in faults(tiny_base, *settings, "data.row_length=500")
    assert not faults(tiny_base, *settings, "data.row_length=482")


def test_rows_beyond_the_attention_window_are_told_and_beyond_the_context_refused(tiny_base: Path) -> None:
    """The tiny base reads 512 tokens and sees 256 back."""
    lengths = {
        length: parse_recipe("", [f"model.path={tiny_base}", f"data.row_length={length}"], name="tried") for length in (256, 257, 513)
    }
    assert "rows of 256 tokens\n" in summary(lengths[256])
    assert "rows of 257 tokens, of which a sample's attention reaches 256 back" in summary(lengths[257])
    with pytest.raises(
        RecipeError, match=r"data\.row_length: found 513, but .* reads at most 512 tokens; write data\.row_length=512 or less"
    ):
        require_sound(lengths[513])


def test_an_unknown_method_and_an_unknown_option_are_named_with_the_nearest(tiny_base: Path) -> None:
    assert "no method is called 'adapter_x'; did you mean adapter_" in faults(tiny_base, "adapter=adapter_x")
    assert "did you mean size?" in faults(tiny_base, "adapter={kind: adapter_h, sise: 3}")
    assert "start_r of more than r=8" in faults(tiny_base, "adapter={kind: adalora, start_r: 8}")


def test_every_fault_is_said_at_once(tiny_base: Path) -> None:
    said = faults(tiny_base, "adapter=prefix", "train.gradient_checkpointing=true", "export=merged")
    assert all(f"write {cure}" in said for cure in ("data.packing=false", "train.gradient_checkpointing=false", "export=adapter"))


def test_methods_are_judged_without_torch(tiny_base: Path) -> None:
    code = (
        "import sys; from finetune.check import require_sound; from finetune.methods import METHODS\n"
        "from finetune.recipe import parse_recipe\n"
        f"[parse_recipe('', [f'adapter={{kind}}']) for kind, _ in METHODS]\n"
        f"require_sound(parse_recipe('', ['model.path={tiny_base}', 'data.row_length=256', 'adapter=full'], name='run'))\n"
        "assert not {'torch', 'peft', 'transformers', 'numpy'} & {name.split('.')[0] for name in sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
