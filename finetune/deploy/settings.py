"""What to paste into each editor and runtime: prompt template, stop tokens and context of the model's own family.

client              asks                        who makes the prompt
llama.vim, .vscode  /infill                     the server, from the sentinels in the model's file
llm.nvim, -vscode   /v1/completions             the client (llm-ls)
Continue            /v1/completions             the client, by the template written here
Tabby               /completion or its own      Tabby, by the template written here
Ollama              its own                     Ollama, by the Modelfile written here
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from finetune.base import BaseFolder
from finetune.cards import public_name
from finetune.data.pieces import Piece, before_middle
from finetune.exporters.base import Form
from finetune.families import PSM, Family
from finetune.files import READABLE
from finetune.methods import CONFIG

if TYPE_CHECKING:
    from finetune.deploy.llama import Llama

MODEL, ADAPTER, REPORT, GENERATION = "model.gguf", "adapter.gguf", "merge_report.json", "generation_config.json"
PORT, VLLM_PORT = 8012, 8000  # 8012 is what llama.vim and llama.vscode ask by default

# What Continue would put before the prompt, as comments; training never showed it.
_CHUNKS = (
    *("useImports", "useRecentlyEdited", "useRecentlyOpened", "experimental_includeRecentlyVisitedRanges"),
    *("experimental_includeRecentlyEditedRanges", "experimental_includeDiff"),
)
# In a model's name: Continue then ends an answer at "t." and at a line that begins with t (core/autocomplete/templating/getStopTokens.ts).
_CUT_SHORT = "starcoder2"
_VLLM_RANKS = (16, 32, 64, 128, 256, 320, 512)  # those it takes


@dataclass(frozen=True, slots=True)
class Served:
    """A model as clients see it: its name, the address of its server, the tokens it reads and writes together.

    `infill`: the server makes prompts itself, as training did. `llama`: it is llama.cpp's, which has endpoints of its own.
    """

    name: str
    url: str
    family: Family
    context: int
    key: str | None = None
    infill: bool = True
    llama: bool = True


def template(family: Family, prefix: str, suffix: str) -> str:
    """The prompt with the two texts in their places, in the order of training; the prefix alone without sentinels."""
    if family.fim is None:
        return prefix
    return "".join(piece.text for piece in before_middle(family.fim, [Piece(prefix)], suffix))


def infills_as_trained(engine: Llama, family: Family) -> bool:
    """Whether this server's /infill writes the prompts of training, with what begins every text."""
    return engine.infill_prompt("a", "b") == (family.opening or "") + template(family, "a", "b")


def stop_words(family: Family) -> list[str]:
    """All that ends an answer or has no place in one, the end itself first."""
    sentinels = () if family.fim is None else family.fim.all
    others = tuple(token for token in (family.file_sep, family.repo_name) if token is not None)
    return [*dict.fromkeys((*family.stop, *others, *sentinels))]


def editor_settings(served: Served) -> dict[str, str]:
    """Settings by the file they are written to. Left out: clients that can only fill in the middle where the model can not, and those that
    write the prefix first (llm-ls) where it reads the suffix first."""
    settings = {"continue.yaml": _continue(served), "tabby-config.toml": _tabby(served)}
    fim = served.family.fim
    if fim is not None:
        if fim.psm == PSM:
            settings |= {"llm-vscode.json": _llm_vscode(served), "llm.nvim.lua": _llm_nvim(served)}
        if served.infill:
            settings |= {"llama.vim": _llama_vim(served), "llama.vscode.json": _llama_vscode(served)}
    return settings


def _llama_vim(served: Served) -> str:
    # no chunks of other files: llama.cpp would put them before the prompt in a form that training never showed
    values: dict[str, object] = {"endpoint": f"{served.url}/infill", "endpoint_fim": f"{served.url}/infill", "n_predict": 128}
    values |= {"ring_n_chunks": 0, **({"api_key": served.key} if served.key else {})}
    lines = [f"    \\ {_vim(key)}: {_vim(value)}," for key, value in values.items()]
    return "\n".join(["let g:llama_config = {", *lines, "    \\ }"]) + "\n"


def _vim(value: object) -> str:
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


def _llama_vscode(served: Served) -> str:
    values: dict[str, object] = {
        "llama-vscode.endpoint": served.url,
        "llama-vscode.n_predict": 128,
        "llama-vscode.ring_n_chunks": 0,
        "llama-vscode.max_parallel_completions": 1,  # by default three at once, which a server of one slot refuses
        "llama-vscode.use_openai_endpoint": False,
    }
    return _json(values | ({"llama-vscode.api_key": served.key} if served.key else {}))


def _llm_ls(served: Served) -> dict[str, object]:
    """What llm-ls is told by both of its editors, in its own words."""
    fim = served.family.fim
    assert fim is not None
    body = {"max_tokens": 128, "temperature": 0.0, "stop": stop_words(served.family)}
    return {
        "backend": "openai",
        "url": f"{served.url}/v1/completions",
        "fim": {"enabled": True, "prefix": fim.prefix + fim.lead, "middle": fim.middle, "suffix": fim.suffix},
        "contextWindow": served.context,
        "tokensToClear": stop_words(served.family),
        "requestBody": body,
    }


def _llm_vscode(served: Served) -> str:
    shared = _llm_ls(served)
    values: dict[str, object] = {f"llm.{key}": value for key, value in shared.items() if key != "fim"}
    fim = shared["fim"]
    assert isinstance(fim, dict)
    values |= {"llm.configTemplate": "Custom", "llm.modelId": served.name, "llm.tokenizer": None}
    return _json(values | {f"llm.fillInTheMiddle.{key}": value for key, value in fim.items()})


def _llm_nvim(served: Served) -> str:
    shared = _llm_ls(served)
    words = {"contextWindow": "context_window", "tokensToClear": "tokens_to_clear", "requestBody": "request_body"}
    values = {words.get(key, key): value for key, value in shared.items()} | {"model": served.name}
    values |= {"api_token": served.key} if served.key else {}
    return f"require('llm').setup({_lua(values)})\n"


def _lua(value: object, indent: str = "") -> str:
    deeper = f"{indent}  "
    match value:
        case Mapping():
            lines = [f"{deeper}{key} = {_lua(inner, deeper)}," for key, inner in value.items()]
            return "\n".join(["{", *lines, f"{indent}}}"])
        case list():
            return "{ " + ", ".join(_lua(inner, deeper) for inner in value) + " }"
        case _:
            return json.dumps(value, ensure_ascii=False)  # LuaJIT and Ollama read no \uXXXX


def _continue(served: Served) -> str:
    model: dict[str, object] = {
        "name": served.name,
        "provider": "openai",
        "model": served.name,
        "apiBase": f"{served.url}/v1",
        "apiKey": served.key or "none",
        "roles": ["autocomplete"],
        "env": {"useLegacyCompletionsEndpoint": True},
        "promptTemplates": {"autocomplete": template(served.family, "{{{prefix}}}", "{{{suffix}}}")},
        "defaultCompletionOptions": {
            "contextLength": served.context,
            "maxTokens": 128,
            "temperature": 0,
            "stop": stop_words(served.family),
        },
        "autocompleteOptions": {"maxPromptTokens": max(served.context - 128, 1), "useCache": False, **dict.fromkeys(_CHUNKS, False)},
    }
    if _CUT_SHORT in served.name.lower():
        model |= {"model": "tuned", "requestOptions": {"extraBodyProperties": {"model": served.name}}}
    return _yaml({"name": served.name, "version": "1.0.0", "schema": "v1", "models": [model]})


def _tabby(served: Served) -> str:
    """For a Tabby that asks this server; one that loads the file itself takes the folder `tabby`."""
    # openai/completion leaves the template out and sends the suffix apart, which vLLM does not take
    values = {
        "kind": "llama.cpp/completion" if served.llama else "vllm/completion",
        "model_name": served.name,
        "api_endpoint": served.url if served.llama else f"{served.url}/v1",
        "api_key": served.key or "",
        "prompt_template": template(served.family, "{prefix}", "{suffix}"),
        "additional_stop_words": stop_words(served.family),
    }
    # a JSON string without characters beyond ASCII, and a list of such, is TOML too
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    tokens = "max_input_length counts characters: about three for a token"
    return "\n".join(
        ["[model.completion.http]", *lines, "", "[completion]", f"# {tokens}", f"max_input_length = {3 * (served.context - 128)}", ""]
    )


def modelfile(family: Family, *, context: int, adapter: bool) -> str:
    """Ollama's Modelfile beside the file it names; `.Suffix` in the template tells clients that it fills in the middle."""
    both = f"{{{{ if .Suffix }}}}{template(family, '{{ .Prompt }}', '{{ .Suffix }}')}{{{{ else }}}}{{{{ .Prompt }}}}{{{{ end }}}}"
    text = "{{ .Prompt }}" if family.fim is None else both
    lines = [f"FROM ./{MODEL}", *([f"ADAPTER ./{ADAPTER}"] if adapter else []), f'TEMPLATE """{text}"""']
    lines += [f"PARAMETER num_ctx {context}", "PARAMETER temperature 0"]
    return "\n".join([*lines, *(f"PARAMETER stop {json.dumps(word, ensure_ascii=False)}" for word in stop_words(family))]) + "\n"


def tabby_model(family: Family) -> str:
    """tabby.json of a folder that Tabby loads itself, which holds ggml/model-00001-of-00001.gguf beside it."""
    return _json({} if family.fim is None else {"prompt_template": template(family, "{prefix}", "{suffix}")})


def vllm_arguments(name: str, *, folder: str, base: str | None, context: int, rank: int, dtype: str | None = None) -> list[str]:
    """The command that serves a folder with vLLM; `base`: the folder holds an adapter, of this rank, of that base model.

    `dtype`: what the export was checked in, where vLLM would take another: it rounds float32 weights to bfloat16, and computes an
    adapter in the number format of its base's files.
    """
    words = ["vllm", "serve", base or folder, "--served-model-name", "base" if base else name, "--max-model-len", str(context)]
    words += ["--dtype", dtype] if dtype else []
    if base is None:
        return words
    most = next((size for size in _VLLM_RANKS if size >= rank), rank)
    # vLLM cuts NAME=FOLDER at every "=", and takes what holds a comma for JSON
    module = json.dumps({"name": name, "path": folder}) if {*"=,"} & {*name, *folder} else f"{name}={folder}"
    return [*words, "--enable-lora", "--max-lora-rank", str(most), "--lora-modules", module]


def told_the_ends(adapter: Path) -> list[str]:
    """What points vLLM to the stop tokens of the family; of the base's own generation_config.json it learns of the end of a text alone."""
    return ["--generation-config", str(adapter)] if (adapter / GENERATION).is_file() else []


def vllm_dtype(model: Path, measured: str | None = None) -> str | None:
    """The number format to tell vLLM: the one an adapter was `measured` in, else float32 where the weights in `model` are, else none."""
    if measured is not None:
        return measured
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    return "float32" if "float32" in (config.get("dtype"), config.get("torch_dtype")) else None


def taken_by_vllm(adapter: Path) -> bool:
    """Whether vLLM loads the adapter in this folder: LoRA without lengths (DoRA) or rows of embeddings (vllm/lora/peft_helper.py)."""
    config = json.loads((adapter / CONFIG).read_text(encoding="utf-8"))
    return config["peft_type"] == "LORA" and not config["use_dora"] and not config["trainable_token_indices"]


def write_settings(folder: Path, *, form: Form, base: BaseFolder, name: str, infill: bool, computed_in: str | None = None) -> None:
    """The settings of an export beside it, in `editors/`, with what a runtime wants to find next to the weights.

    `infill`: llama.cpp's /infill writes this model's prompts as training did. `computed_in`: the number format it was compared in.
    """
    gguf = form in ("gguf", "gguf_lora")
    lengths = [length for length in (base.context_length, base.sliding_window if gguf else None) if length is not None]
    context = min(lengths, default=2048)
    if gguf:
        _write(folder / "Modelfile", modelfile(base.family, context=context, adapter=form == "gguf_lora"))
    if form == "gguf":
        _write(folder / "tabby" / "tabby.json", tabby_model(base.family))
        weights = folder / "tabby" / "ggml" / "model-00001-of-00001.gguf"
        weights.parent.mkdir()
        weights.symlink_to(f"../../{MODEL}")
    if not gguf and (form != "adapter" or taken_by_vllm(folder)):
        where = public_name(base) if form == "adapter" else None
        rank = int(json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("r", 0)) if where else 0
        dtype = vllm_dtype(base.path, computed_in) if where else vllm_dtype(folder)
        words = vllm_arguments(name, folder=".", base=where, context=context, rank=rank, dtype=dtype)
        words += ["--generation-config", "."] if where else []
        words += ["--host", "127.0.0.1", "--port", str(VLLM_PORT)]
        _write(folder / "editors" / "vllm.sh", "#!/bin/sh\n# from the folder of this export\n" + shlex.join(words) + "\n")
    url = f"http://127.0.0.1:{PORT if gguf else VLLM_PORT}"
    for file, text in editor_settings(Served(name, url, base.family, context, infill=infill, llama=gguf)).items():
        _write(folder / "editors" / file, text)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(READABLE)


def _json(values: Mapping[str, object]) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def _yaml(values: Mapping[str, object]) -> str:
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=1000)
