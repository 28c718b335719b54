"""THE table of model families: sentinels, stop tokens, LoRA targets, licence duties.

One frozen row per family; a new family is a new row. Sources: the vocabularies of the published tokenizers,
StarCoder 2 paper (arXiv 2402.19173) table 5, Qwen2.5-Coder report (arXiv 2409.12186), Astraios (arXiv 2401.00788);
those of the later rows stand beside them.
"""

from __future__ import annotations

from dataclasses import replace

from finetune.families.family import CommitTokens, Family, FimTokens, JupyterTokens, Layout, RepositoryFormat

_JUPYTER = ("<jupyter_start>", "<jupyter_text>", "<jupyter_code>", "<jupyter_output>", "<empty_output>")
UNDERSCORE = FimTokens("<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>")
_OPENRAIL = "bigcode-openrail-m"
_OPENRAIL_URL = "https://www.bigcode-project.org/docs/pages/bigcode-openrail/"

_ATTENTION = ("q_proj", "k_proj", "v_proj")
_LLAMA_LINEAR = (*_ATTENTION, "o_proj", "gate_proj", "up_proj", "down_proj")
_SUFFIX_FIRST: Layout = ("<suffix>", "suffix", "<prefix>", "prefix", "<middle>")
_DEEPSEEK = FimTokens("<\uff5cfim\u2581begin\uff5c>", "<\uff5cfim\u2581end\uff5c>", "<\uff5cfim\u2581hole\uff5c>", spm=None)
_DEEPSEEK_END = "<\uff5cend\u2581of\u2581sentence\uff5c>"
_OWN = "see the base model"

_QWEN = Family(
    name="qwen2.5-coder",
    model_types=("qwen2",),
    end="<|endoftext|>",
    stop=("<|endoftext|>", "<|file_sep|>", "<|im_end|>"),
    fim=FimTokens("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"),
    repo_name="<|repo_name|>",
    file_sep="<|file_sep|>",
    repository=RepositoryFormat("<|repo_name|>", "<|file_sep|>", line_end="\n", path_in_prefix=False, always_named=True, holes="last"),
    lora_targets=_LLAMA_LINEAR,
    attention_in=_ATTENTION,
    mlp_in=("gate_proj", "up_proj"),
    mlp_out=("down_proj",),
    licence=_OWN,
)

# The linear layers of Llama, which Mistral, Gemma, StableLM and Granite share; a row says what else it has.
_LLAMA = Family(
    name="llama",
    model_types=("llama",),
    end="</s>",
    stop=("</s>",),
    fim=None,
    repo_name=None,
    file_sep=None,
    lora_targets=_LLAMA_LINEAR,
    attention_in=_ATTENTION,
    mlp_in=("gate_proj", "up_proj"),
    mlp_out=("down_proj",),
    licence=_OWN,
)

FAMILIES: tuple[Family, ...] = (
    Family(
        name="starcoder2",
        model_types=("starcoder2",),
        end="<|endoftext|>",
        stop=("<|endoftext|>", "<file_sep>"),
        fim=UNDERSCORE,
        repo_name="<repo_name>",
        file_sep="<file_sep>",
        repository=RepositoryFormat("<repo_name>", "<file_sep>"),
        jupyter=JupyterTokens(*_JUPYTER, script="<jupyter_script>"),
        placeholders=("<NAME>", "<EMAIL>", "<KEY>", "<PASSWORD>"),
        lora_targets=("q_proj", "k_proj", "v_proj", "o_proj", "c_fc", "c_proj"),
        attention_in=("q_proj", "k_proj", "v_proj"),
        mlp_in=("c_fc",),
        mlp_out=("c_proj",),
        licence=_OPENRAIL,
        licence_url=_OPENRAIL_URL,
    ),
    Family(
        name="starcoder",
        model_types=("gpt_bigcode",),
        end="<|endoftext|>",
        stop=("<|endoftext|>", "<filename>"),
        fim=UNDERSCORE,
        repo_name="<reponame>",
        file_sep="<filename>",
        repository=RepositoryFormat("<reponame>", "<filename>", several=False, stars="<gh_stars>"),
        jupyter=JupyterTokens(*_JUPYTER, script=None),
        commit=CommitTokens("<commit_before>", "<commit_msg>", "<commit_after>"),
        lora_targets=("c_attn", "c_proj"),  # Astraios's: of attention and feed-forward, but not the first of the feed-forward
        attention_in=("c_attn",),
        mlp_in=("c_fc",),
        mlp_out=("mlp.c_proj",),
        licence=_OPENRAIL,
        licence_url=_OPENRAIL_URL,
    ),
    Family(
        name="santacoder",
        model_types=("gpt_bigcode", "gpt2"),
        end="<|endoftext|>",
        stop=("<|endoftext|>",),
        fim=FimTokens("<fim-prefix>", "<fim-middle>", "<fim-suffix>", "<fim-pad>"),
        repo_name=None,
        file_sep=None,
        lora_targets=("c_attn", "c_proj"),  # Astraios's: of attention and feed-forward, but not the first of the feed-forward
        attention_in=("c_attn",),
        mlp_in=("c_fc",),
        mlp_out=("mlp.c_proj",),
        licence=_OPENRAIL,
        licence_url=_OPENRAIL_URL,
    ),
    _QWEN,
    # README of QwenLM/Qwen3-Coder. Its repository format is documented for Qwen2.5-Coder alone; experts have no linear layers of their own.
    replace(_QWEN, name="qwen3-coder", model_types=("qwen3_moe", "qwen3"), repository=None, lora_targets=()),
    # Model card of JetBrains/Mellum-4b-base, arXiv 2510.05788: suffix first, the path of each file before it. Granite's sentinels are
    # the same ones, the words of a dialogue are its own.
    replace(
        _LLAMA,
        name="mellum",
        end="<|endoftext|>",
        stop=("<|endoftext|>", "<filename>"),
        fim=replace(UNDERSCORE, psm=None, spm=_SUFFIX_FIRST),
        file_sep="<filename>",
        repository=RepositoryFormat(None, "<filename>", path_in_prefix=False, always_named=True, holes="last"),
        marks=("<assistant>", "<think>"),
    ),
    # arXiv 2405.04324: StarCoder's tokenizer and both orders, in Llama (3B, 8B) and in gpt_bigcode (20B, 34B: named in the recipe).
    replace(
        _LLAMA,
        name="granite-code",
        end="<|endoftext|>",
        stop=("<|endoftext|>", "<filename>"),
        fim=UNDERSCORE,
        repo_name="<reponame>",
        file_sep="<filename>",
    ),
    # arXiv 2308.12950 section 2.3 and llama/generation.py of meta-llama/codellama: both orders, a space before the prefix and no other.
    replace(
        _LLAMA,
        name="codellama",
        stop=("</s>", "\u2581<EOT>"),
        fim=FimTokens("\u2581<PRE>", "\u2581<MID>", "\u2581<SUF>", lead=" ", end="\u2581<EOT>"),
    ),
    # arXiv 2401.14196 section 3.1 and README of deepseek-ai/DeepSeek-Coder: prefix first alone.
    replace(_LLAMA, name="deepseek-coder", end=_DEEPSEEK_END, stop=(_DEEPSEEK_END, "<|EOT|>"), fim=_DEEPSEEK),
    # README of deepseek-ai/DeepSeek-Coder-V2, arXiv 2406.11931: the Lite model alone was trained on holes. LoRA in its attention: peft
    # takes the names of the feed-forward for those of all experts' joined matrices, which no merge here knows.
    replace(
        _LLAMA,
        name="deepseek-coder-v2",
        model_types=("deepseek_v2",),
        end=_DEEPSEEK_END,
        stop=(_DEEPSEEK_END,),
        fim=_DEEPSEEK,
        lora_targets=("q_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"),
        attention_in=("q_proj", "kv_a_proj_with_mqa"),
        mlp_in=(),
        mlp_out=(),
    ),
    # ai.google.dev/gemma/docs/codegemma/prompt-structure: a middle ends where the next file begins; the page has prefix first alone.
    replace(
        _LLAMA,
        name="codegemma",
        model_types=("gemma",),
        end="<eos>",
        stop=("<eos>", "<|file_separator|>"),
        fim=FimTokens("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<pad>", spm=None, end="<|file_separator|>"),
        file_sep="<|file_separator|>",
    ),
    # encode_fim of mistralai/mistral-common: suffix first, nothing before the middle, a space before the prefix and no other.
    replace(
        _LLAMA,
        name="codestral",
        model_types=("mistral",),
        fim=FimTokens("[PREFIX]", None, "[SUFFIX]", psm=None, spm=_SUFFIX_FIRST[:-1], lead=" "),
    ),
    # Model card of stabilityai/stable-code-3b, which shows prefix first alone.
    replace(
        _LLAMA,
        name="stable-code",
        model_types=("stablelm",),
        end="<|endoftext|>",
        stop=("<|endoftext|>",),
        fim=FimTokens("<fim_prefix>", "<fim_middle>", "<fim_suffix>", spm=None),
    ),
)
