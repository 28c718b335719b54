"""STEP serve: a run's export answered by a real engine on this machine, until it is stopped.

vLLM serves safetensors, llama.cpp serves GGUF; the first of the two that is installed and has an export to serve is taken. Nothing of
ours stands between a client and the engine.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

from finetune.base import read_base
from finetune.deploy import llama
from finetune.deploy.settings import (
    ADAPTER,
    MODEL,
    PORT,
    Served,
    editor_settings,
    infills_as_trained,
    taken_by_vllm,
    told_the_ends,
    vllm_arguments,
    vllm_dtype,
)
from finetune.errors import ExportError, FinetuneError
from finetune.methods import CONFIG, check_adapter_base
from finetune.run import Run
from finetune.serve.exports import Exported, exports_of, form_to_serve

__all__ = ["Options", "serve", "serving"]

EngineName = Literal["auto", "llama", "vllm"]
_OTHER_PROMPTS = (
    "llama.vim and llama.vscode: not for this model. This server's /infill writes its prompts otherwise than training did; "
    "take a client that writes them itself."
)


@dataclass(frozen=True, slots=True)
class Options:
    """How to serve. `export`: the name of a folder in run/export, empty: the best there is. `parallel`: requests answered at once.

    `vllm`: further words for vLLM's own command line.
    """

    address: llama.Address = llama.Address(port=PORT)
    engine: EngineName = "auto"
    export: str = ""
    parallel: int = 1
    vllm: tuple[str, ...] = ()


def serve(run: Run, options: Options, *, say: Callable[[str], None]) -> None:
    """Answer until SIGINT, SIGTERM, SIGHUP or SIGQUIT; `say` gets what to paste where as soon as the server listens."""
    engine, exported = _choose(run, options)
    if engine == "vllm":
        _vllm(run, exported, options, say=say)
        return
    stop = threading.Event()
    with _on_stop(stop.set), serving(run, exported, options) as text:
        say(text)
        stop.wait()
    say("stopped")


@contextmanager
def _on_stop(act: Callable[[], object]) -> Iterator[None]:
    """Within the block SIGINT and SIGTERM call this and nothing else; so do those of a terminal, but for who ignores them (nohup)."""
    terminal = [number for number in (signal.SIGHUP, signal.SIGQUIT) if signal.getsignal(number) is signal.SIG_DFL]
    before = {number: signal.signal(number, lambda *_: act()) for number in (signal.SIGINT, signal.SIGTERM, *terminal)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def serving(run: Run, exported: Exported, options: Options) -> Iterator[str]:
    """llama.cpp answering while the block lasts; gives what to tell the user."""
    base = read_base(run.recipe.model)
    beside = exported.folder / ADAPTER
    adapters = [beside] if exported.form == "gguf_lora" else []
    files = llama.Files(exported.folder / MODEL, adapters, run.recipe.name)
    with llama.Llama(files, context=exported.context, address=options.address, parallel=options.parallel) as engine:
        infill = infills_as_trained(engine, base.family)
        served = Served(run.recipe.name, engine.url, base.family, exported.context, key=options.address.key, infill=infill)
        yield _text(served, "llama.cpp", exported)


def _choose(run: Run, options: Options) -> tuple[Literal["llama", "vllm"], Exported]:
    """The engine and the export it serves. Raises FinetuneError with what is missing and how to get it."""
    _require_guarded(options.address)
    llama.require_free(options.address)
    found = [one for one in exports_of(run, options.export) if one.form != "adapter" or taken_by_vllm(one.folder)]
    vllm = shutil.which("vllm") is not None
    if options.engine == "vllm" and not vllm:
        raise FinetuneError("--engine vllm: vLLM is not installed; type: pip install vllm, or leave the option out")
    for engine, forms, ready in (("vllm", ("merged", "adapter"), vllm), ("llama", ("gguf_lora", "gguf"), llama.installed())):
        exported = next((one for form in forms for one in found if one.form == form), None)
        if options.engine in ("auto", engine) and ready and exported is not None:
            if engine == "vllm":
                return "vllm", exported
            if options.vllm:
                raise FinetuneError("--vllm: llama.cpp serves this export; leave it out or write --engine vllm")
            return "llama", exported
    raise _nothing_to_serve(run, options, found, vllm=vllm)


def _nothing_to_serve(run: Run, options: Options, found: list[Exported], *, vllm: bool) -> FinetuneError:
    if not vllm and not llama.installed():
        return FinetuneError("no engine is installed; type: pip install 'octotune[deploy]' for llama.cpp, or pip install vllm")
    form = form_to_serve(run)
    wanted = "merged" if options.engine == "vllm" else form
    there = ", ".join(one.folder.name for one in found) or "no export of the adapter that lies there now which an engine takes"
    return ExportError(f"{run.export}: found {there}; type: finetune export {run.folder} export={wanted}")


def _require_guarded(address: llama.Address) -> None:
    """Raises FinetuneError for an address that others reach, without a key: the model knows the code it learnt from."""
    try:
        loopback = address.host == "localhost" or ip_address(address.host).is_loopback
    except ValueError as error:
        raise FinetuneError(f"--host: found {address.host!r}; write an address, for example 127.0.0.1") from error
    if not loopback and not address.key:
        raise FinetuneError(
            f"--host {address.host}: whoever reaches this machine could ask a model that knows private code; write --api-key KEY as well"
        )


def _vllm(run: Run, exported: Exported, options: Options, *, say: Callable[[str], None]) -> None:
    """vLLM's own server as a child process; it writes to the terminal itself."""
    base = read_base(run.recipe.model)
    address, context = options.address, base.context_length or exported.context
    beside = base.path if exported.form == "adapter" else None
    if beside is not None:
        check_adapter_base(exported.folder, base)
    words = vllm_arguments(
        run.recipe.name,
        folder=str(exported.folder),
        base=None if beside is None else str(beside),
        context=context,
        rank=_rank(exported),
        dtype=vllm_dtype(exported.folder) if beside is None else vllm_dtype(beside, exported.computed_in),
    )
    words += told_the_ends(exported.folder) if beside else []
    words += ["--host", address.host, "--port", str(address.port), *options.vllm]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", **({"VLLM_API_KEY": address.key} if address.key else {})}
    host = f"[{address.host}]" if ":" in address.host else address.host
    served = Served(run.recipe.name, f"http://{host}:{address.port}", base.family, context, key=address.key, infill=False, llama=False)
    say(_text(served, "vLLM", exported))
    code = _until_stopped(words, environment)
    if code is None:
        say("stopped")
    elif code != 0:
        raise FinetuneError(f"vLLM ended with exit code {code}; what it said stands above")


def _until_stopped(words: Sequence[str], environment: Mapping[str, str]) -> int | None:
    """Runs a program to its end; gives its exit code, None where this process was told to stop, which the program then was too."""
    asked: list[bool] = []
    started: list[subprocess.Popen[bytes]] = []

    def stop() -> None:
        asked.append(True)
        for engine in started:
            engine.send_signal(signal.SIGINT)

    # In a session of its own: it is told to stop once, by us, whether Ctrl+C was typed or we alone were told to.
    with _on_stop(stop), subprocess.Popen(words, env=environment, start_new_session=True) as engine:
        started.append(engine)
        if asked:  # while it was started
            engine.send_signal(signal.SIGINT)
        code = engine.wait()
    return None if asked else code


def _rank(exported: Exported) -> int:
    config = exported.folder / CONFIG
    return int(json.loads(config.read_text(encoding="utf-8"))["r"]) if config.is_file() else 0


def _text(served: Served, engine: str, exported: Exported) -> str:
    """Where it listens, how to ask for the base model alone, and the settings of each editor."""
    lines = [
        f"{served.name}: {exported.folder} by {engine} at {served.url}",
        f"  context {served.context} tokens, prompt and answer together; a longer prompt is refused"
        + (", /infill keeps what is nearest to the cursor" if served.infill else ""),
        f"  OpenAI    {served.url}/v1/completions, model {served.name}",
    ]
    lines += [f"  infill    {served.url}/infill"] if served.infill else []
    if exported.form == "gguf_lora":
        lines.append('  the base  add "lora": [{"id": 0, "scale": 0.0}] to a request')
    if exported.form == "adapter":
        lines.append("  the base  model base")
    lines.append("  stop it   Ctrl+C")
    settings = editor_settings(served)
    if served.llama and served.family.fim is not None and not served.infill:
        lines.append(_OTHER_PROMPTS)
    return "\n".join([*lines, *(f"\n--- {name}\n{text.rstrip()}" for name, text in settings.items())])
