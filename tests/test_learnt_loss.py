"""Head and loss over learnt tokens: what they come to when something of the head trains, and when it is not there as one matrix."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from finetune.base import read_base
from finetune.errors import ModelError
from finetune.kernels.head import reader_of
from finetune.kernels.learnt_loss import learnt_logits, learnt_loss
from finetune.methods import WEIGHTS, Full, Lora, Method, PTuning, load_adapter, save_adapter
from finetune.methods.storage import wrap
from finetune.model import load_model
from finetune.quiet import known_warnings_off
from finetune.recipe import ModelSection
from finetune.records import IGNORED

pytestmark = pytest.mark.usefixtures("one_thread")

ROWS, TOKENS, VOCABULARY = 3, 24, 320
ROWS_THAT_TRAIN = [3, 11, 319]


def made(path: Path, *, tied: bool, dtype: str) -> Any:
    """The base; untied, its head is a matrix of its own."""
    section = ModelSection.model_validate({"path": str(path), "dtype": dtype})
    torch.manual_seed(0)
    model: Any = load_model(read_base(section), section)
    model.config.use_cache = False
    if not tied:
        model.config.tie_word_embeddings = False
        model.lm_head.weight = nn.Parameter(torch.randn_like(model.lm_head.weight) * 0.05, requires_grad=False)
    return model


def adapted(path: Path, method: Method, *, tied: bool = True, dtype: str = "float32") -> Any:
    """In training mode."""
    section = ModelSection.model_validate({"path": str(path)})
    return method(made(path, tied=tied, dtype=dtype), read_base(section).family).train()


def with_rows(path: Path, *, tied: bool, dtype: str = "float32") -> Any:
    """LoRA, and rows of the embedding and the head that train beside it."""
    from peft import LoraConfig

    model = made(path, tied=tied, dtype=dtype)
    layers = ["embed_tokens"] if tied else ["embed_tokens", "lm_head"]
    config = LoraConfig(r=2, target_modules=["q_proj"], trainable_token_indices=dict.fromkeys(layers, ROWS_THAT_TRAIN))
    with known_warnings_off():
        return wrap(model, config, name="default").train()


def batch(learnt: float, **more: object) -> dict[str, Any]:
    torch.manual_seed(1)
    ids = torch.randint(0, VOCABULARY, (ROWS, TOKENS))
    return {"input_ids": ids, "labels": ids.masked_fill(torch.rand(ROWS, TOKENS) >= learnt, IGNORED), **more}


def passed(model: Any, inputs: dict[str, Any], within: AbstractContextManager[None], dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """The loss and every gradient; on top of those that are there."""
    with within:
        with nullcontext() if dtype is None else torch.autocast("cpu", dtype):
            loss = model(**inputs).loss
        loss.backward()
    return {"loss": loss.detach()} | {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.requires_grad}


def both(model: Any, inputs: dict[str, Any], kernel: Any = learnt_loss) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Ours and the libraries'."""
    found = []
    for within in (kernel(model), nullcontext()):
        model.zero_grad()
        found.append(passed(model, inputs, within))
    return found[0], found[1]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_trained_copy_is_tied_where_the_base_is(tiny_base: Path, dtype: str) -> None:
    """It is in float32, also of weights in 16 bits: brought there one by one, head and embedding had a copy each."""
    model = adapted(tiny_base, Full(), dtype=dtype).base_model.model
    assert model.lm_head.full_weight["default"] is model.model.embed_tokens.full_weight["default"]
    assert {weight.dtype for weight in model.parameters() if weight.requires_grad} == {torch.float32}


def test_an_adapter_with_two_copies_of_a_tied_weight_is_not_loaded_as_one(tiny_base: Path, tmp_path: Path) -> None:
    """As `full` on a 16-bit base once left them."""
    section = ModelSection.model_validate({"path": str(tiny_base), "dtype": "bfloat16"})
    base = read_base(section)
    save_adapter(adapted(tiny_base, Full(), dtype="bfloat16"), tmp_path, base)
    weights = load_file(tmp_path / WEIGHTS)
    head, embedding = (f"base_model.model.{name}.full_weight" for name in ("lm_head", "model.embed_tokens"))
    (kept,) = weights.keys() & {head, embedding}
    twin = ({head, embedding} - {kept}).pop()
    save_file({**weights, twin: weights[kept].clone()}, tmp_path / WEIGHTS)
    load_adapter(load_model(base, section), tmp_path)
    save_file({**weights, twin: weights[kept] + 1}, tmp_path / WEIGHTS)
    with pytest.raises(ModelError, match="one weight in this base, differ in it.*; train it again on this base"):
        load_adapter(load_model(base, section), tmp_path)


@pytest.mark.parametrize("learnt", [1.0, 0.3])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_a_head_that_trains_has_the_libraries_gradient(tiny_base: Path, tied: bool, learnt: float) -> None:
    model = adapted(tiny_base, Full(), tied=tied)
    head, embedding = (
        model.base_model.model.lm_head.full_weight["default"],
        model.base_model.model.model.embed_tokens.full_weight["default"],
    )
    assert (head is embedding) == tied
    ours, theirs = both(model, batch(learnt, num_items_in_batch=50))
    assert "base_model.model.lm_head.full_weight.default" in theirs or tied
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_rows_of_a_head_that_train_have_the_libraries_gradient(tiny_base: Path, tied: bool) -> None:
    model = with_rows(tiny_base, tied=tied)
    ours, theirs = both(model, batch(0.6))
    deltas = [name for name in theirs if "trainable_tokens_delta" in name]
    assert len(deltas) == (1 if tied else 2) and all(float(theirs[name].norm()) > 0 for name in deltas)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_gradients_of_several_passes_add_up(tiny_base: Path) -> None:
    model, inputs = adapted(tiny_base, Full()), batch(0.5)
    once = passed(model, inputs, learnt_loss(model))
    twice = passed(model, inputs, learnt_loss(model))
    torch.testing.assert_close({name: value / 2 for name, value in twice.items() if name != "loss"} | {"loss": once["loss"]}, once)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("rows", [False, True], ids=["full", "rows"])
def test_under_autocast_the_error_is_no_larger_than_the_libraries(tiny_base: Path, dtype: str, rows: bool) -> None:
    """Of weights in float32 and in bfloat16; what trains has a gradient in float32 either way."""

    def trained_in(dtype: str) -> Any:
        return with_rows(tiny_base, tied=True, dtype=dtype) if rows else adapted(tiny_base, Full(), dtype=dtype)

    inputs, model = batch(0.5), trained_in(dtype)
    exact_model = trained_in("float32")
    exact_model.load_state_dict({name: value.float() for name, value in model.state_dict().items()})
    exact = passed(exact_model, inputs, nullcontext())
    ours = passed(model, inputs, learnt_loss(model), torch.bfloat16)
    model.zero_grad()
    theirs = passed(model, inputs, nullcontext(), torch.bfloat16)
    trained = next(name for name in exact if "embed_tokens" in name)
    assert ours[trained].dtype == torch.float32
    errors = [float((each[trained] - exact[trained]).norm() / exact[trained].norm()) for each in (ours, theirs)]
    assert errors[0] < 1.1 * errors[1] < 0.1


def test_a_head_that_trains_gives_no_logits_and_keeps_none(tiny_base: Path) -> None:
    model = adapted(tiny_base, Full())
    with learnt_loss(model):
        assert model(**batch(1.0)).logits.shape == (ROWS, 0, VOCABULARY)
    assert "forward" not in vars(model.base_model.model.lm_head)
    with torch.no_grad(), learnt_loss(model):
        held_out = model.eval()(**batch(0.5)).loss
    torch.testing.assert_close(held_out, model(**batch(0.5)).loss.detach())


def test_without_its_adapter_a_head_is_the_bases(tiny_base: Path) -> None:
    for model in (adapted(tiny_base, Full()), with_rows(tiny_base, tied=True)):
        with torch.no_grad():
            for weight in (each for each in model.parameters() if each.requires_grad):
                weight.add_(0.01)
        with model.disable_adapter(), torch.no_grad():
            expected = model(**batch(0.5)).loss
            with learnt_loss(model):
                torch.testing.assert_close(model(**batch(0.5)).loss, expected)
        with torch.no_grad():
            assert not torch.isclose(model(**batch(0.5)).loss, expected)


def biased(path: Path) -> Any:
    """A model whose head has a bias: no matrix alone says what it does."""
    model = adapted(path, Lora(dropout=0))
    head = model.base_model.model.lm_head
    head.bias = nn.Parameter(torch.randn(VOCABULARY) * 0.1, requires_grad=False)
    assert reader_of(head) is None
    return model


@pytest.mark.parametrize("learnt", [1.0, 0.3, 0.0])
@pytest.mark.parametrize("items", [None, 50])
def test_logits_are_those_of_learnt_tokens_whatever_the_head_is(tiny_base: Path, learnt: float, items: int | None) -> None:
    """In pieces over processes, or with a bias, the head itself computes them."""
    inputs = batch(learnt) | ({} if items is None else {"num_items_in_batch": items})
    count = int((inputs["labels"][:, 1:] != IGNORED).sum())
    if not count and items is None:
        pytest.skip("a mean of nothing")
    for model, kernel in ((biased(tiny_base), learnt_loss), (adapted(tiny_base, Full()), learnt_logits)):
        ours, theirs = both(model, inputs, kernel)
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
        with kernel(model):
            assert model(**inputs).logits.shape == (1, count, VOCABULARY)
        assert model(**inputs).logits.shape == (ROWS, TOKENS, VOCABULARY)
        assert not model._forward_pre_hooks and not model.base_model.model.lm_head._forward_pre_hooks


def test_a_prompt_before_the_rows_is_not_learnt(tiny_base: Path) -> None:
    model = adapted(tiny_base, PTuning())
    for kernel in (learnt_loss, learnt_logits):
        torch.testing.assert_close(*both(model, batch(0.5), kernel), atol=1e-6, rtol=1e-5)


def test_what_a_model_does_to_its_logits_is_done(tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}
    torch.manual_seed(0)
    auto: Any = AutoModelForCausalLM
    model = auto.from_config(AutoConfig.for_model("cohere", vocab_size=VOCABULARY, logit_scale=0.25, **shape))
    torch.testing.assert_close(*both(model, batch(0.5)), atol=1e-6, rtol=1e-5)
    with learnt_loss(model):
        assert model(**batch(0.5)).logits.shape[:1] == (1,)


@pytest.mark.parametrize("method", [Lora(dropout=0), Full()], ids=["lora", "full"])
def test_a_model_in_pieces_comes_to_the_same(tiny_base: Path, tmp_path: Path, method: Method) -> None:
    """FSDP2's own pieces, of one process."""
    from torch import distributed
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    inputs, model, whole = batch(0.3, num_items_in_batch=50), adapted(tiny_base, method), adapted(tiny_base, method)
    expected = passed(whole, inputs, nullcontext())
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        for each in (*model.base_model.model.model.layers, model):
            fully_shard(each, mesh=mesh)
        found = passed(model, inputs, learnt_logits(model))
    finally:
        distributed.destroy_process_group()
    torch.testing.assert_close(
        {name: getattr(value, "_local_tensor", value) for name, value in found.items()}, expected, atol=1e-6, rtol=1e-5
    )
