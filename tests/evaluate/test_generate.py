"""Answers from one model in one batch, against the plainest way to get them: one prompt, no cache, one adapter."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from finetune.data.render import Encoder, encode_prompt
from finetune.errors import EvaluateError
from finetune.generate import BatchCompleter
from finetune.records import Answer, FimPrompt, Prompt, Sampling, TextPrompt

if TYPE_CHECKING:
    from peft import PeftModel

GREEDY = Sampling(max_new_tokens=12)
PROMPTS: list[Prompt] = [
    FimPrompt("def add(a, b):\n    return ", "\n\nprint(add(1, 2))\n"),
    TextPrompt("x"),
    FimPrompt("", "}\n"),
    FimPrompt("class A:\n" + "    y = 1\n" * 30, "z" * 40),  # 390 tokens, beyond the tiny model's window of 256
]


def plain_logits(model: PeftModel, adapters: Sequence[str], ids: Sequence[int]) -> Any:
    """Logits at every place of one text alone, without cache, mask or padding."""
    import torch

    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False, adapter_names=[*adapters]).logits[0]


def plain_greedy(model: PeftModel, adapter: str, encoder: Encoder, prompt: Prompt) -> list[int]:
    ids = encode_prompt(prompt, encoder)
    new: list[int] = []
    while len(new) < GREEDY.max_new_tokens:
        token = int(plain_logits(model, [adapter], ids + new)[-1].argmax())
        if token in encoder.stop_ids:
            break
        new.append(token)
    return new


def costs(completer: BatchCompleter, prompts: Sequence[Prompt], continuations: Sequence[str]) -> list[Sequence[float]]:
    """The nats of each continuation after its prompt, one per arm."""
    filled = dict(completer.fill(prompts, continuations, Sampling(max_new_tokens=1)))
    return [filled[index].nats for index in range(len(prompts))]


def texts(answers: Sequence[Answer]) -> list[str]:
    return [answer.text for answer in answers]


@pytest.mark.parametrize(("quantization", "dora"), [("none", False), ("nf4", False), ("none", True)])
def test_a_batch_of_all_lengths_and_arms_says_what_each_says_alone(attach: Any, encoder: Encoder, quantization: str, dora: bool) -> None:
    model = attach(quantization, dora=dora)
    completer = BatchCompleter(model, encoder, {"tuned": "default"}, context_length=512)
    together = completer.complete(PROMPTS, GREEDY)
    for prompt, answers in zip(PROMPTS, together, strict=True):
        assert texts(completer.complete([prompt], GREEDY)[0]) == texts(answers)
    if not dora:
        for prompt, answers in zip(PROMPTS, together, strict=True):
            expected = [plain_greedy(model, adapter, encoder, prompt) for adapter in ("__base__", "default")]
            assert texts(answers) == [encoder.decode(ids).rstrip("\ufffd") for ids in expected]
            assert [answer.tokens for answer in answers] == [len(ids) for ids in expected]
    assert any(base.text != tuned.text for base, tuned in together), "the adapter has no effect: the test shows nothing"


def test_a_prompt_beyond_the_sliding_window_is_in_the_test() -> None:
    prompt = PROMPTS[-1]
    assert isinstance(prompt, FimPrompt)
    assert len(prompt.prefix + prompt.suffix) > 256


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_costs_are_those_of_a_forward_pass_without_a_cache(attach: Any, encoder: Encoder, quantization: str) -> None:
    model = attach(quantization)
    completer = BatchCompleter(model, encoder, {"tuned": "default"}, context_length=512)
    continuations = ["a + b", "=" * 70, "{", "return self"]
    for prompt, text, found in zip(PROMPTS, continuations, costs(completer, PROMPTS, continuations), strict=True):
        prompt_ids, ids = encode_prompt(prompt, encoder), encoder.text(text)
        for adapter, nats in zip(("__base__", "default"), found, strict=True):
            log_chances = plain_logits(model, [adapter], prompt_ids + ids).log_softmax(-1)
            expected = -sum(float(log_chances[len(prompt_ids) + i - 1, token]) for i, token in enumerate(ids))
            assert nats == pytest.approx(expected, rel=2e-2 if quantization == "nf4" else 1e-4)


def test_filling_gives_the_same_answers_and_costs_as_asking_for_each(completer: BatchCompleter) -> None:
    truths = ["a + b", "y", "\n", "pass"]
    filled = dict(completer.fill(PROMPTS, truths, GREEDY))
    assert [texts(filled[i].answers) for i in range(4)] == [texts(answers) for answers in completer.complete(PROMPTS, GREEDY)]
    for index, (prompt, truth) in enumerate(zip(PROMPTS, truths, strict=True)):
        assert filled[index].nats == pytest.approx(costs(completer, [prompt], [truth])[0], rel=1e-4)


def test_an_answers_time_counts_the_prompt_and_not_what_the_truth_costs(attach: Any, encoder: Encoder, monkeypatch: Any) -> None:
    """A clock that moves by a second for each token a row reads: the prompt, then the new tokens one by one."""
    model, now = attach(), 0.0

    def tick(_: Any, __: Any, inputs: dict[str, Any]) -> None:
        nonlocal now
        now += inputs["input_ids"].shape[1]

    monkeypatch.setattr("time.monotonic", lambda: now)
    model.register_forward_pre_hook(tick, with_kwargs=True)
    completer = BatchCompleter(model, encoder, {"tuned": "default"}, context_length=512)
    prompt = PROMPTS[0]
    read = len(encode_prompt(prompt, encoder))
    ((_, filled),) = completer.fill([prompt], ["a + b and much more"], GREEDY)
    for answer in [*completer.complete([prompt], GREEDY)[0], *[*completer.stream(prompt, GREEDY)][-1], *filled.answers]:
        assert answer.first_s == read
        assert answer.seconds == read + answer.tokens - (0 if answer.stopped else 1)


def test_a_stream_grows_and_ends_in_the_finished_answer(completer: BatchCompleter) -> None:
    seen = list(completer.stream(PROMPTS[0], GREEDY))
    for earlier, later in zip(seen, seen[1:], strict=False):
        assert all(b.text.startswith(a.text) and b.tokens >= a.tokens for a, b in zip(earlier, later, strict=True))
    assert all(answer.finished for answer in seen[-1])
    assert not all(answer.finished for answer in seen[0])
    assert texts(seen[-1]) == texts(completer.complete([PROMPTS[0]], GREEDY)[0])
    assert [answer.arm for answer in seen[-1]] == [*completer.arms] == ["base", "tuned"]


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_the_chance_of_each_token_is_that_of_a_pass_without_a_cache(attach: Any, encoder: Encoder, quantization: str) -> None:
    """The pieces join to the answer, whatever it was drawn with; the likeliest come first; a stop token goes by its name."""
    import torch
    from bitsandbytes.nn import Linear4bit

    model = attach(quantization)
    completer = BatchCompleter(model, encoder, {"tuned": "default"}, context_length=512)
    formats = {module.compute_dtype for module in model.modules() if isinstance(module, Linear4bit)}
    near = 2e-2 if torch.bfloat16 in formats else 1e-4  # whichever this CPU multiplies faster
    for sampling in (replace(GREEDY, others=3), replace(GREEDY, others=3, temperature=1.3, top_p=0.9, seed=5)):
        for prompt in PROMPTS:
            (*_, last) = completer.stream(prompt, sampling)
            for adapter, answer in zip(("__base__", "default"), last, strict=True):
                assert "".join(token.text for token in answer.said if not token.stop) == answer.text
                assert len(answer.said) == answer.tokens + answer.stopped
                ids = encode_prompt(prompt, encoder)
                for token in answer.said[:3]:
                    # A byte alone: the first of a character has no text yet, and is skipped over by none of the prompts here.
                    chances = plain_logits(model, [adapter], ids)[-1].softmax(-1)
                    best = chances.topk(3)
                    assert [share for _, share in token.others] == pytest.approx(best.values.tolist(), rel=near)
                    if sampling.temperature == 0:
                        assert token.chance == token.others[0][1]
                    candidates = [i for i in range(len(chances)) if float(chances[i]) == pytest.approx(token.chance, rel=near)]
                    said = [i for i in candidates if encoder.decode([i]) == token.text]
                    if len(said) != 1:
                        break  # half a character: which byte it was is not told by its text
                    ids.append(said[0])


def test_no_chances_are_kept_unless_they_are_asked_for(completer: BatchCompleter) -> None:
    assert all(answer.said == () for pair in completer.complete(PROMPTS, GREEDY) for answer in pair)


def test_some_arms_say_alone_what_they_say_among_all(completer: BatchCompleter) -> None:
    (*_, both) = completer.stream(PROMPTS[0], GREEDY)
    for arms in (["tuned"], ["tuned", "base"]):
        (*_, found) = completer.stream(PROMPTS[0], GREEDY, arms=arms)
        assert [answer.arm for answer in found] == arms
        assert {a.arm: a.text for a in found}.items() <= {a.arm: a.text for a in both}.items()
    for wrong in ([], ["nobody"]):
        with pytest.raises(EvaluateError, match="write some of base, tuned"):
            next(iter(completer.stream(PROMPTS[0], GREEDY, arms=wrong)))


def test_a_sentinel_in_a_prompt_stays_text(completer: BatchCompleter, encoder: Encoder) -> None:
    sentinels = "".join(encoder.family.sentinels)
    prompt = FimPrompt(f"x = '{sentinels}'\n", f"# {sentinels}\n")
    ids = encode_prompt(prompt, encoder)
    assert sum(token in encoder.sentinel_ids for token in ids) == 3, "prefix, suffix and middle: those of the template"
    assert completer.complete([prompt], GREEDY)[0][0].finished


def test_speed_leaves_out_the_reading_of_the_prompt() -> None:
    answer = Answer("base", "abc", 3, 1.5, stopped=True, finished=True, first_s=1.0)
    assert answer.speed == pytest.approx(3 / 0.5), "two more tokens and the stop token came in the half second after the first"
    assert replace(answer, tokens=1, stopped=False).speed is None


def test_closing_a_stream_stops_it_and_leaves_the_model_free(completer: BatchCompleter) -> None:
    stream = completer.stream(PROMPTS[0], GREEDY)
    next(iter(stream))
    stream.close()  # type: ignore[attr-defined]
    assert texts(completer.complete([PROMPTS[0]], GREEDY)[0])
    assert list(stream) == []


def test_two_threads_get_their_own_answers(completer: BatchCompleter) -> None:
    expected = [texts(completer.complete([prompt], GREEDY)[0]) for prompt in PROMPTS]
    found: dict[int, list[str]] = {}

    def ask(index: int) -> None:
        for answers in completer.stream(PROMPTS[index], GREEDY):
            found[index] = texts(answers)

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(PROMPTS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[index] for index in range(len(PROMPTS))] == expected


def test_a_draw_depends_on_its_seed_and_prompt_and_not_on_the_batch(completer: BatchCompleter) -> None:
    hot = Sampling(max_new_tokens=12, temperature=1.0, top_p=0.95, seed=3)
    together = completer.complete(PROMPTS, hot)
    alone = [completer.complete([prompt], hot)[0] for prompt in PROMPTS]
    assert [texts(answers) for answers in together] == [texts(answers) for answers in alone]
    other = completer.complete(PROMPTS, Sampling(max_new_tokens=12, temperature=1.0, top_p=0.95, seed=4))
    assert [texts(answers) for answers in together] != [texts(answers) for answers in other]


def test_a_top_p_of_nearly_nothing_is_greedy(completer: BatchCompleter) -> None:
    cold = Sampling(max_new_tokens=12, temperature=1.0, top_p=1e-6)
    assert [texts(a) for a in completer.complete(PROMPTS, cold)] == [texts(a) for a in completer.complete(PROMPTS, GREEDY)]


def test_an_answer_ends_at_any_stop_token_of_the_family_and_does_not_show_it(attach: Any, encoder: Encoder) -> None:
    """The embedding of the last sentinel is blown up, so that the model soon says it."""
    import torch

    for stop_id in encoder.stop_ids:
        model = attach()
        with torch.no_grad():
            model.get_input_embeddings().weight[stop_id] += 3 * torch.randn(64, generator=torch.Generator().manual_seed(0))
        answers = [a for pair in BatchCompleter(model, encoder, {}, context_length=512).complete(PROMPTS, GREEDY) for a in pair]
        assert any(answer.stopped for answer in answers)
        for answer in answers:
            assert answer.finished
            assert "<file_sep>" not in answer.text and "<|endoftext|>" not in answer.text
            assert answer.stopped == (answer.tokens < GREEDY.max_new_tokens)


def test_half_a_character_is_never_shown(completer: BatchCompleter, encoder: Encoder) -> None:
    """A tokenizer of bytes: an answer is looked at after each byte of a four-byte character."""
    ids = encoder.text("ok \U0001f600")
    shown = [encoder.decode(ids[:n]).rstrip("\ufffd") for n in range(len(ids) + 1)]
    assert shown[-1] == "ok \U0001f600"
    assert set(shown) == {"", "o", "ok", "ok ", "ok \U0001f600"}
    for answers in completer.stream(TextPrompt("é\U0001f600"), Sampling(max_new_tokens=30, temperature=1.5, top_p=1.0)):
        assert not any(answer.text.endswith("\ufffd") for answer in answers)


def test_a_prompt_longer_than_the_context_is_refused_with_its_length(completer: BatchCompleter) -> None:
    with pytest.raises(EvaluateError, match=r"prompt has 505 tokens and up to 12 .* at most 512; shorten the prompt by 5 tokens"):
        completer.complete([TextPrompt("x" * 505)], GREEDY)


@pytest.mark.parametrize("sampling", [Sampling(max_new_tokens=0), Sampling(temperature=-1), Sampling(top_p=0), Sampling(top_p=1.5)])
def test_a_sampling_that_can_not_be_is_refused(completer: BatchCompleter, sampling: Sampling) -> None:
    with pytest.raises(EvaluateError, match="write max_new_tokens"):
        next(iter(completer.stream(PROMPTS[1], sampling)))


def test_an_empty_prompt_goes_on_from_the_end_of_a_document(completer: BatchCompleter) -> None:
    assert all(answer.finished for answer in completer.complete([TextPrompt("")], GREEDY)[0])


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_answering_between_two_training_steps_changes_nothing(attach: Any, encoder: Encoder, quantization: str) -> None:
    """The loss and every gradient after an evaluation are those without it; dropout draws the same numbers (T4)."""

    def gradients(*, evaluate: bool) -> tuple[float, list[Any]]:
        import torch

        model = attach(quantization)
        model.train()
        torch.manual_seed(5)
        if evaluate:
            list(BatchCompleter(model, encoder, {"tuned": "default"}, context_length=512).fill(PROMPTS, ["a"] * 4, GREEDY))
        assert model.training
        ids = torch.arange(40)[None] + 10
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        return loss.item(), [p.grad.clone() for p in model.parameters() if p.requires_grad]

    loss, plain = gradients(evaluate=False)
    loss_after, after = gradients(evaluate=True)
    assert loss == loss_after
    assert len(plain) > 0
    assert all((a == b).all() for a, b in zip(plain, after, strict=True))


def test_a_model_without_adapters_answers_as_base_alone(attach: Any, encoder: Encoder, completer: BatchCompleter) -> None:
    base = BatchCompleter(attach().unload(), encoder, {}, context_length=512)
    assert base.arms == ("base",)
    assert [a[0].text for a in base.complete(PROMPTS, GREEDY)] == [a[0].text for a in completer.complete(PROMPTS, GREEDY)]
    assert all(math.isfinite(nats) for (nats,) in costs(base, PROMPTS, ["x"] * 4))


@pytest.mark.parametrize("architecture", ["GPTBigCode", "Qwen2", "GPT2"])
def test_other_architectures_say_in_a_batch_what_they_say_alone(encoder: Encoder, architecture: str) -> None:
    """Learnt positions, one head of keys for all, no sliding window."""
    import torch
    import transformers

    shape = {"vocab_size": 320, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 512}
    own = {"intermediate_size": 128, "num_key_value_heads": 2} if architecture == "Qwen2" else {}
    torch.manual_seed(3)
    config = getattr(transformers, f"{architecture}Config")(**shape, **own, initializer_range=0.3, bos_token_id=0, eos_token_id=0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    completer = BatchCompleter(model, encoder, {}, context_length=512)
    for prompt, (answer,) in zip(PROMPTS, completer.complete(PROMPTS, GREEDY), strict=True):
        ids = encode_prompt(prompt, encoder)
        for _ in range(answer.tokens):
            with torch.no_grad():
                ids.append(int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        assert encoder.decode(ids[len(ids) - answer.tokens :]).rstrip("\ufffd") == answer.text
    assert len({answer.text for (answer,) in completer.complete(PROMPTS, GREEDY)}) > 1
