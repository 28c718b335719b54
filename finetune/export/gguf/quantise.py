"""A 16-bit GGUF file quantised tensor by tensor, with llama.cpp's own quantisers and its own choice of format for each tensor.

The engine's wheel exports the quantiser of one tensor, not the program that walks over a file; the walk is here.
"""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from finetune.deploy.llama import quantise_rows
from finetune.export.gguf import Quantisation
from finetune.export.gguf.converter import gguf

_AT_ONCE = 1 << 22  # numbers that a core holds in float32 together: 16 MB


class Mix(NamedTuple):
    """ggml formats of a file: most tensors, the head, the tensors that count most, and the file's own type."""

    most: str
    head: str
    careful: str
    file_type: str


MIXES = {
    "q8_0": Mix("Q8_0", "Q8_0", "Q8_0", "MOSTLY_Q8_0"),
    "q6_k": Mix("Q6_K", "Q6_K", "Q6_K", "MOSTLY_Q6_K"),
    "q5_k_m": Mix("Q5_K", "Q6_K", "Q6_K", "MOSTLY_Q5_K_M"),
    "q4_k_m": Mix("Q4_K", "Q6_K", "Q6_K", "MOSTLY_Q4_K_M"),
}
# K-formats pack 256 numbers at a time; a row of another length takes the next format that packs 32, as llama.cpp does.
_INSTEAD = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
_CAREFUL = ("attn_v.weight", "ffn_down.weight")
_KEPT = ("position_embd.weight", "token_types.weight")


def format_of(name: str, row: int, *, mix: Mix, blocks: int, tied: bool) -> str:
    """The ggml format of a matrix `name` whose rows hold `row` numbers; `tied`: the head is the embedding."""
    chosen = mix.most
    if name == "output.weight" or (tied and name == "token_embd.weight"):
        chosen = mix.head
    elif name.endswith(_CAREFUL) and _counts_more(_block(name), blocks):
        chosen = mix.careful
    if chosen.endswith("_K") and row % 256:
        chosen = _INSTEAD[chosen]
    return chosen if row % 32 == 0 else "F16"


def _counts_more(block: int, blocks: int) -> bool:
    """llama.cpp's rule: the first and the last eighth of the blocks, and every third between them."""
    return block < blocks // 8 or block >= 7 * blocks // 8 or (block - blocks // 8) % 3 == 2


def _block(name: str) -> int:
    found = re.match(r"blk\.(\d+)\.", name)
    return int(found[1]) if found else 0


def quantise(task: Quantisation) -> None:
    """Write `task.target`; memory holds the file's largest tensor once, packed, and some rows of it for each core in float32."""
    module = gguf()
    mix = MIXES[task.type]
    reader = module.GGUFReader(task.source)
    architecture = reader.get_field("general.architecture").contents()
    writer = module.GGUFWriter(task.target, architecture)
    _copy_metadata(module, reader, writer, mix)
    names = {tensor.name for tensor in reader.tensors}
    blocks = reader.get_field(f"{architecture}.block_count").contents()
    formats = []
    for tensor in reader.tensors:
        kept = len(tensor.shape) != 2 or not tensor.name.endswith(".weight") or tensor.name in _KEPT
        name = format_of(tensor.name, int(tensor.shape[0]), mix=mix, blocks=blocks, tied="output.weight" not in names)
        formats.append(tensor.tensor_type if kept else module.GGMLQuantizationType[name])
        _announce(module, writer, tensor, formats[-1])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor, kind in zip(reader.tensors, formats, strict=True):
        writer.write_tensor_data(tensor.data if kind == tensor.tensor_type else _packed(module, tensor, kind))
    writer.close()


def _copy_metadata(module: Any, reader: Any, writer: Any, mix: Mix) -> None:
    own = (module.Keys.General.ARCHITECTURE, module.Keys.General.FILE_TYPE, module.Keys.General.QUANTIZATION_VERSION)
    for field in reader.fields.values():
        if field.name in own or field.name.startswith("GGUF."):
            continue
        array = field.types[0] == module.GGUFValueType.ARRAY
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=field.types[-1] if array else None)
    writer.add_file_type(module.LlamaFileType[mix.file_type])
    writer.add_quantization_version(module.GGML_QUANT_VERSION)


def _row_bytes(module: Any, row: int, kind: Any) -> int:
    block, size = module.GGML_QUANT_SIZES[kind]
    return int(row // block * size)


def _announce(module: Any, writer: Any, tensor: Any, kind: Any) -> None:
    if kind == tensor.tensor_type:
        writer.add_tensor_info(tensor.name, tensor.data.shape, tensor.data.dtype, tensor.data.nbytes, raw_dtype=kind)
        return
    row, rows = (int(length) for length in tensor.shape)
    width = _row_bytes(module, row, kind)
    import numpy as np

    # the writer turns a shape in bytes into one in numbers, for uint8 alone
    floats = kind == module.GGMLQuantizationType.F16
    shape, dtype = ((rows, row), np.dtype(np.float16)) if floats else ((rows, width), np.dtype(np.uint8))
    writer.add_tensor_info(tensor.name, shape, dtype, rows * width, raw_dtype=kind)


def _packed(module: Any, tensor: Any, kind: Any) -> Any:
    """The tensor in another format, some rows at a time on every core: a row is packed by itself, so cores change no bit."""
    import numpy as np

    row, rows = (int(length) for length in tensor.shape)
    width = _row_bytes(module, row, kind)
    out = np.empty((rows, width), np.uint8)
    step = max(1, _AT_ONCE // row)

    def pack(start: int) -> None:
        part = module.quants.dequantize(tensor.data[start : start + step], tensor.tensor_type).astype(np.float32)
        if kind == module.GGMLQuantizationType.F16:
            out[start : start + step] = part.astype(np.float16).view(np.uint8)
        else:
            out[start : start + step] = quantise_rows(part, int(kind), row_bytes=width)

    with ThreadPoolExecutor(os.cpu_count()) as cores:  # the quantiser holds no lock of Python's
        for _ in cores.map(pack, range(0, rows, step)):
            pass
    return out
