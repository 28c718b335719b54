"""llama.cpp's own engine and HTTP server, as the wheel `xllamacpp` carries them; the only module that knows that wheel."""

from __future__ import annotations

import ctypes
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from finetune.errors import FinetuneError

if TYPE_CHECKING:
    import numpy as np

MISSING = "llama.cpp is not installed; type: pip install 'octotune[deploy]'"


def installed() -> bool:
    """Whether llama.cpp can be started here."""
    return find_spec("xllamacpp") is not None


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens; port 0 takes a free one. Who has no `key` is refused, when there is one."""

    host: str = "127.0.0.1"
    port: int = 0
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Files:
    """What a server loads: a model, adapters beside it, the name it goes by."""

    model: Path
    adapters: Sequence[Path] = ()
    name: str = "model"


class Llama:
    """A running llama.cpp server in this process, with a context in tokens for each of `parallel` requests.

    Adapters are numbered in the order given and added to every answer at full strength; a request can say otherwise
    (`lora`: [{id, scale}]). Raises FinetuneError without the wheel, for a port in use and for a file it can not read.
    """

    def __init__(self, files: Files, *, context: int, address: Address = Address(), parallel: int = 1) -> None:
        if not installed():
            raise FinetuneError(MISSING)
        for path in (files.model, *files.adapters):
            if not path.is_file():
                raise FinetuneError(f"{path}: no such file; export again")
        require_free(address)
        self._key = address.key
        self._server = _start(files, context=context, address=address, parallel=max(parallel, 1))
        self._get("/lora-adapters")  # its loop answers: to end one before its loop begins is to wait for ever

    @property
    def url(self) -> str:
        """Where it listens."""
        url: str = self._server.listening_address
        return url

    def complete(self, prompt: Sequence[int], *, tokens: int) -> list[int]:
        """The greedy tokens that follow, up to `tokens`; fewer when a stop token came, which may be the last of them."""
        ids: list[int] = self._post("/completion", {"prompt": [*prompt], "n_predict": tokens, "temperature": 0, "return_tokens": True})[
            "tokens"
        ]
        return ids

    def distribution(self, prompt: Sequence[int], *, entries: int, say: int) -> Mapping[int, float]:
        """The log probability of every id as the next token; the model has `entries` of them.

        `say`: a whole character's id. What is told of are the logits; that token is then said whatever they are, since the server
        keeps back what it knows of a stop token or of half a character.
        """
        request = {
            "prompt": [*prompt],
            "max_tokens": 1,
            "n_probs": entries,
            "logit_bias": [[say, 1e6]],
            "temperature": 0,
            "cache_prompt": True,
        }
        answer: Any = self._server.handle_completions(request)
        if "error" in answer:
            raise RuntimeError(f"llama.cpp refused: {json.dumps(answer['error'])}")
        tops = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        return {top["id"]: top["logprob"] for top in tops}

    def tokens(self, text: str, *, special: bool = False) -> list[int]:
        """The ids of a text as the server cuts it; sentinels in it stay text. `special`: with what the server puts before a prompt."""
        ids: list[int] = self._post("/tokenize", {"content": text, "add_special": special, "parse_special": False})["tokens"]
        return ids

    def text(self, ids: Sequence[int]) -> str:
        """What the server writes for these ids, sentinels written out."""
        text: str = self._post("/detokenize", {"tokens": [*ids]})["content"]
        return text

    def infill_prompt(self, prefix: str, suffix: str) -> str | None:
        """The prompt that /infill makes of two texts, sentinels written out; None for a model it can not infill with."""
        try:
            prompt: str = self._post("/infill", {"input_prefix": prefix, "input_suffix": suffix, "n_predict": 1})["prompt"]
        except urllib.error.HTTPError as error:
            if error.code in (400, 501):
                return None
            raise
        return prompt

    def _get(self, path: str) -> Any:
        return self._ask(urllib.request.Request(self.url + path))

    def _post(self, path: str, body: Mapping[str, object]) -> Any:
        return self._ask(urllib.request.Request(self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}))

    def _ask(self, request: urllib.request.Request) -> Any:
        if self._key:
            request.add_header("Authorization", f"Bearer {self._key}")
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def close(self) -> None:
        """Stop answering; the server ends when nothing holds it."""
        self._server = None

    def __enter__(self) -> Llama:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _start(files: Files, *, context: int, address: Address, parallel: int) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(files.model)
    params.model_alias = {files.name}
    params.n_ctx, params.n_parallel, params.n_batch = context * parallel, parallel, max(context, params.n_batch)
    params.kv_unified = False
    params.hostnames, params.port = [address.host], address.port
    params.api_keys = [address.key] if address.key else []
    params.ui, params.offline, params.warmup, params.verbosity = False, True, False, -1
    params.lora_adapters = [_adapter(path) for path in files.adapters]
    params.lora_init_without_apply = False
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise FinetuneError(
            f"{files.model}: llama.cpp can not serve it ({error}); export again, "
            f"or free memory for the file and a context of {context} tokens"
        ) from error


def _adapter(path: Path) -> Any:
    import xllamacpp

    adapter = xllamacpp.CommonAdapterLoraInfo()
    adapter.path, adapter.scale = str(path), 1.0
    return adapter


def require_free(address: Address) -> None:
    """Raises FinetuneError when the port is taken or the host is not this machine's."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            raise FinetuneError(
                f"{address.host}:{address.port} can not be listened on ({error.strerror}); write --port ANOTHER, or --port 0 for a free one"
            ) from error


def quantise_rows(rows: np.ndarray, kind: int, *, row_bytes: int) -> np.ndarray:
    """float32 rows as llama.cpp's own quantiser packs them: uint8, `row_bytes` each. `kind` is ggml's number of the format."""
    import numpy as np
    import xllamacpp

    library = ctypes.CDLL(xllamacpp.xllamacpp.__file__)
    chunk = library.ggml_quantize_chunk
    chunk.restype = ctypes.c_size_t
    chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
    given = np.ascontiguousarray(rows, dtype=np.float32)
    packed = np.empty((len(given), row_bytes), np.uint8)
    written = chunk(kind, given.ctypes.data, packed.ctypes.data, 0, given.shape[0], given.shape[1], None)
    if written != packed.nbytes:
        raise RuntimeError(f"llama.cpp's quantiser wrote {written} bytes where {packed.nbytes} were expected")
    return packed
