"""Settings of editors and runtimes: the prompt of training in each client's own words, for every family."""

from __future__ import annotations

import json
import re
import tomllib

import pytest
import yaml

from finetune.data.render import Encoder, encode_prompt
from finetune.deploy.settings import Served, editor_settings, modelfile, stop_words, tabby_model, template, vllm_arguments
from finetune.families import FAMILIES, Family, plain_family
from finetune.records import FimPrompt

FIM = [family for family in FAMILIES if family.fim is not None]
PREFIX_FIRST = [family for family in FIM if family.fim is not None and family.fim.psm is not None]
PREFIX, SUFFIX = "def f(x):\n    ", "\n    return x\n"


def served(family: Family, **changes: object) -> dict[str, str]:
    return editor_settings(Served(name="tuned", url="http://127.0.0.1:8012", family=family, context=4096, **changes))  # type: ignore[arg-type]


def filled(text: str, prefix: str, suffix: str) -> str:
    """The template as its client fills it."""
    return text.replace(prefix, PREFIX).replace(suffix, SUFFIX)


@pytest.mark.parametrize("family", FIM, ids=lambda family: family.name)
def test_every_template_is_the_prompt_that_training_wrote(family: Family, byte_tokenizer) -> None:  # type: ignore[no-untyped-def]
    encoder = Encoder(byte_tokenizer(family.sentinels) / "tokenizer.json", family)
    wanted = encoder.decode(encode_prompt(FimPrompt(PREFIX, SUFFIX), encoder))
    files = served(family)
    model = yaml.safe_load(files["continue.yaml"])["models"][0]
    tabby = tomllib.loads(files["tabby-config.toml"])["model"]["completion"]["http"]
    ollama = re.search(
        r'"""\{\{ if .Suffix \}\}(.*)\{\{ else \}\}\{\{ .Prompt \}\}\{\{ end \}\}"""', modelfile(family, context=8, adapter=False)
    )
    assert ollama is not None
    assert template(family, PREFIX, SUFFIX) == wanted
    assert filled(model["promptTemplates"]["autocomplete"], "{{{prefix}}}", "{{{suffix}}}") == wanted
    assert filled(tabby["prompt_template"], "{prefix}", "{suffix}") == wanted
    assert filled(json.loads(tabby_model(family))["prompt_template"], "{prefix}", "{suffix}") == wanted
    assert filled(ollama[1], "{{ .Prompt }}", "{{ .Suffix }}") == wanted
    if family.fim is not None and family.fim.psm is not None:
        llm = json.loads(files["llm-vscode.json"])
        fim = {key.removeprefix("llm.fillInTheMiddle."): value for key, value in llm.items()}
        assert fim["enabled"] is True
        assert f"{fim['prefix']}{PREFIX}{fim['suffix']}{SUFFIX}{fim['middle']}" == wanted


def test_llm_vscode_is_told_in_words_that_it_declares() -> None:
    """Those of its package.json, release 0.2.2; a key that is none is passed over and StarCoder's sentinels are asked with."""
    declared = {"backend", "configTemplate", "contextWindow", "modelId", "requestBody", "tokenizer", "tokensToClear", "url"}
    declared |= {f"fillInTheMiddle.{key}" for key in ("enabled", "prefix", "middle", "suffix")}
    assert {key.removeprefix("llm.") for key in json.loads(served(FIM[0])["llm-vscode.json"])} == declared


@pytest.mark.parametrize("family", PREFIX_FIRST, ids=lambda family: family.name)
def test_every_stop_token_is_in_every_list(family: Family) -> None:
    files = served(family)
    lists = [
        yaml.safe_load(files["continue.yaml"])["models"][0]["defaultCompletionOptions"]["stop"],
        json.loads(files["llm-vscode.json"])["llm.requestBody"]["stop"],
        tomllib.loads(files["tabby-config.toml"])["model"]["completion"]["http"]["additional_stop_words"],
        re.findall(r'^PARAMETER stop "(.*)"$', modelfile(family, context=8, adapter=True), re.MULTILINE),
    ]
    assert lists == [stop_words(family)] * 4
    assert all(f'"{word}"' in files["llm.nvim.lua"] for word in family.stop)  # as it is: LuaJIT reads no \uXXXX
    assert set(family.stop) <= set(stop_words(family)) and (family.file_sep is None or family.file_sep in stop_words(family))


@pytest.mark.parametrize("family", [family for family in FIM if family not in PREFIX_FIRST], ids=lambda family: family.name)
def test_a_client_that_writes_the_prefix_first_is_left_out_for_a_model_that_reads_the_suffix_first(family: Family) -> None:
    assert not {"llm-vscode.json", "llm.nvim.lua"} & served(family).keys()
    assert yaml.safe_load(served(family)["continue.yaml"])["models"][0]["defaultCompletionOptions"]["stop"] == stop_words(family)


def test_a_model_that_can_not_fill_in_gets_completion_alone() -> None:
    files = served(plain_family("</s>"))
    assert sorted(files) == ["continue.yaml", "tabby-config.toml"]
    assert yaml.safe_load(files["continue.yaml"])["models"][0]["promptTemplates"]["autocomplete"] == "{{{prefix}}}"
    assert 'TEMPLATE """{{ .Prompt }}"""' in modelfile(plain_family("</s>"), context=8, adapter=False)
    assert json.loads(tabby_model(plain_family("</s>"))) == {}


def test_a_server_whose_infill_differs_is_not_offered_to_clients_that_ask_for_it() -> None:
    assert {"llama.vim", "llama.vscode.json"} & served(FIM[0]).keys()
    assert not {"llama.vim", "llama.vscode.json"} & served(FIM[0], infill=False).keys()


def test_a_key_reaches_the_clients_that_send_one() -> None:
    files = served(FIM[0], key="it's secret")
    assert "'api_key': 'it''s secret'" in files["llama.vim"]
    assert yaml.safe_load(files["continue.yaml"])["models"][0]["apiKey"] == "it's secret"
    assert tomllib.loads(files["tabby-config.toml"])["model"]["completion"]["http"]["api_key"] == "it's secret"
    assert not [name for name, text in served(FIM[0]).items() if "secret" in text]


def test_tabby_fills_in_the_template_for_either_engine() -> None:
    """Of `openai/completion` it passes over the template and sends the suffix apart, which vLLM refuses (Tabby's completion/mod.rs)."""
    asked = [tomllib.loads(served(FIM[0], llama=llama)["tabby-config.toml"])["model"]["completion"]["http"] for llama in (True, False)]
    assert [http["kind"] for http in asked] == ["llama.cpp/completion", "vllm/completion"]
    assert [http["api_endpoint"] for http in asked] == ["http://127.0.0.1:8012", "http://127.0.0.1:8012/v1"]


def test_ollamas_file_names_the_files_beside_it() -> None:
    text = modelfile(FIM[0], context=4096, adapter=True)
    assert text.startswith("FROM ./model.gguf\nADAPTER ./adapter.gguf\nTEMPLATE") and "PARAMETER num_ctx 4096\n" in text
    assert 'PARAMETER stop "<file_sep>"\n' in text


def test_continue_does_not_see_a_name_at_which_it_cuts_answers_short() -> None:
    """At "starcoder2" it adds the stop words "t." and a first t of a line; the server is told the name all the same."""
    named = Served("my-StarCoder2-3b", "http://127.0.0.1:8000", FIM[0], 4096)
    model = yaml.safe_load(editor_settings(named)["continue.yaml"])["models"][0]
    assert "starcoder2" not in model["model"].lower()
    assert model["requestOptions"]["extraBodyProperties"] == {"model": "my-StarCoder2-3b"}
    plain = yaml.safe_load(editor_settings(Served("shop", named.url, FIM[0], 4096))["continue.yaml"])["models"][0]
    assert plain["model"] == "shop" and "requestOptions" not in plain


def test_vllm_is_told_not_to_round_float32_weights() -> None:
    words = vllm_arguments("tuned", folder="here", base=None, context=8, rank=0, dtype="float32")
    assert words[words.index("--dtype") + 1] == "float32"
    assert "--dtype" not in vllm_arguments("tuned", folder="here", base=None, context=8, rank=0)


def test_vllm_serves_base_and_adapter_from_one_process() -> None:
    words = vllm_arguments("tuned", folder="here", base="bigcode/starcoder2-3b", context=16384, rank=20)
    assert words[:3] == ["vllm", "serve", "bigcode/starcoder2-3b"] and "--enable-lora" in words
    assert words[words.index("--max-lora-rank") + 1] == "32" and words[-2:] == ["--lora-modules", "tuned=here"]
    assert vllm_arguments("tuned", folder="here", base=None, context=16384, rank=0)[:5] == [
        "vllm",
        "serve",
        "here",
        "--served-model-name",
        "tuned",
    ]


@pytest.mark.parametrize("folder", ["runs/r=8/adapter", "runs/a,b/adapter"])
def test_vllm_is_told_a_folder_that_its_short_form_can_not_name(folder: str) -> None:
    words = vllm_arguments("tuned", folder=folder, base="base", context=8, rank=8)
    assert json.loads(words[-1]) == {"name": "tuned", "path": folder}
