from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.miners import Bench
from finetune.data.miners.fim import Fim
from finetune.data.miners.notebooks import Notebooks
from finetune.data.notebooks import MAX_OUTPUT, NOTEBOOK, as_script, cells_of, merged, script_of
from finetune.data.render import Encoder, encode_sample
from finetune.families import FAMILIES
from finetune.records import IGNORED, Cell, NotebookSample, Origin, SourceFile

STARCODER2, STARCODER, SANTACODER = FAMILIES[:3]
ORIGIN = Origin("repo", "commit", "a.ipynb")


def notebook(*cells: dict[str, Any], **metadata: Any) -> str:
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


def code(source: str | list[str], *outputs: dict[str, Any]) -> dict[str, Any]:
    return {"cell_type": "code", "source": source, "outputs": outputs}


def words(source: str | list[str]) -> dict[str, Any]:
    return {"cell_type": "markdown", "source": source}


PAGE = notebook(
    words(["# Numbers\n", "\n", "Six times seven."]),
    code(["x = 6 * 7\n", "x"], {"output_type": "execute_result", "data": {"text/plain": "42", "text/html": "<b>42</b>"}}),
    code(""),
    code(
        "print('done')",
        {"output_type": "stream", "name": "stdout", "text": ["done\n"]},
        {"output_type": "stream", "name": "stderr", "text": "!"},
    ),
)
SCRIPT = """# %% [markdown]
# # Numbers
#
# Six times seven.
# %%
x = 6 * 7
x
# %% [output]
# 42
# %%
print('done')
# %% [output]
# done
"""
CELLS = [Cell("text", "# Numbers\n\nSix times seven."), Cell("code", "x = 6 * 7\nx", "42"), Cell("code", "print('done')", "done")]


@pytest.fixture(scope="module")
def jupyter_encoder(byte_tokenizer: Any) -> Encoder:
    assert STARCODER2.jupyter is not None
    return Encoder(byte_tokenizer([*STARCODER2.sentinels, *STARCODER2.jupyter.all]) / "tokenizer.json", STARCODER2)


def test_a_notebook_becomes_a_script_and_its_cells_again() -> None:
    assert as_script(PAGE, NOTEBOOK) == (SCRIPT, None)
    assert cells_of(SCRIPT) == CELLS


def test_another_language_is_left_as_it_is() -> None:
    assert as_script('{"cells": 3}', "JSON").text == '{"cells": 3}'


lines = st.lists(
    st.sampled_from(["", "x = 1", "# %%", "# %% [output]", r"# \%% a", "%%time", "  y", "# a", "//", "ünï", "\r"]), min_size=1
).map("\n".join)
sources = (lines | st.text(st.characters(exclude_categories=("Cs",)), min_size=1)).map(lambda text: text.strip("\n")).filter(str.strip)
cells = st.builds(Cell, st.just("text"), sources) | st.builds(Cell, st.just("code"), sources, st.just("") | sources)


@given(st.lists(cells, min_size=1), st.sampled_from(["#", "//", "--", "%", ";"]))
def test_any_cells_come_back_from_their_script(cells: list[Cell], mark: str) -> None:
    assert cells_of(script_of(cells, mark)) == cells


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no json", "broken_notebook"),
        ('{"cells": 3}', "broken_notebook"),
        ("[]", "broken_notebook"),
        ('{"cells": [{"source": "x"}]}', "broken_notebook"),
        ("[" * 100_000, "broken_notebook"),
        (notebook(), "empty"),
        (notebook(code("  \n")), "empty"),
        (notebook(code("x = '\0'")), "binary"),
    ],
)
def test_what_is_no_notebook_has_a_reason(text: str, reason: str) -> None:
    assert as_script(text, NOTEBOOK) == ("", reason)


def test_outputs_are_words_alone_and_short() -> None:
    outputs = [
        ({"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": ["..."]}, "ValueError: no"),
        ({"output_type": "display_data", "data": {"image/png": "iVBOR", "text/plain": "<Figure size 640x480 with 1 Axes>"}}, ""),
        ({"output_type": "execute_result", "data": {"text/plain": "[<Line2D at 0x7f00>]"}}, "[]"),
        ({"output_type": "stream", "name": "stdout", "text": "\x1b[31mred\x1b[0m"}, "red"),
        ({"output_type": "stream", "name": "stdout", "text": "line\n" * 500}, "line\n" * (MAX_OUTPUT // 5) + "..."),
        ({"output_type": "stream", "name": "stdout", "text": "a" * 5000}, "a" * MAX_OUTPUT + "\n..."),
    ]
    for output, expected in outputs:
        assert cells_of(as_script(notebook(code("x", output)), NOTEBOOK).text)[0].output == expected


def test_a_notebook_of_format_3_and_one_in_another_language() -> None:
    old = {"worksheets": [{"cells": [
        {"cell_type": "heading", "level": 2, "source": "Title"},
        {"cell_type": "code", "input": "1", "outputs": [{"output_type": "pyout", "text": "1"}]},
    ]}], "metadata": {}}  # fmt: skip
    assert cells_of(as_script(json.dumps(old), NOTEBOOK).text) == [Cell("text", "## Title"), Cell("code", "1", "1")]
    scala = as_script(notebook(words("Hi"), code("val x = 1"), kernelspec={"language": "scala"}), NOTEBOOK).text
    assert scala == "// %% [markdown]\n// Hi\n// %%\nval x = 1\n"


def test_half_a_character_does_not_stop_a_build() -> None:
    as_script('{"cells": [{"cell_type": "code", "source": "x = \\"\\ud800\\""}]}', NOTEBOOK).text.encode()


def test_a_sample_is_starcoder_2s_to_the_token(jupyter_encoder: Encoder) -> None:
    bench = Bench(jupyter_encoder, 512, 0)
    (sample,) = Notebooks()(SourceFile(ORIGIN, NOTEBOOK, SCRIPT), bench)
    encoded = encode_sample(sample, jupyter_encoder, learn="answer")
    assert jupyter_encoder.decode(encoded.input_ids) == (
        "<jupyter_start><jupyter_text># Numbers\n\nSix times seven.<jupyter_code>x = 6 * 7\nx\nprint('done')"
        "<jupyter_output>done<|endoftext|>"
    )
    learnt = [token for token, label in zip(encoded.input_ids, encoded.labels, strict=True) if label != IGNORED]
    assert jupyter_encoder.decode(learnt) == "x = 6 * 7\nx\nprint('done')<|endoftext|>"


def test_an_output_that_is_empty_says_so_and_outputs_can_be_left_out(jupyter_encoder: Encoder) -> None:
    item = SourceFile(ORIGIN, NOTEBOOK, "# %%\nx = 1\n# %% [markdown]\n# <jupyter_code>\n# %%\nx\n# %% [output]\n# 1\n")
    bench = Bench(jupyter_encoder, 512, 0)
    for miner, end in ((Notebooks(), "1"), (Notebooks(outputs=False), "<empty_output>")):
        ids = encode_sample(miner(item, bench)[0], jupyter_encoder, learn="all").input_ids  # type: ignore[arg-type]
        expected = (
            "<jupyter_start><jupyter_code>x = 1<jupyter_output><empty_output><jupyter_text><jupyter_code><jupyter_code>x<jupyter_output>"
        )
        assert jupyter_encoder.decode(ids) == expected + end + "<|endoftext|>"
        # One of the two <jupyter_code> in a row is a control token, the other is the user's text.
        assert list(ids).count(jupyter_encoder.token("<jupyter_code>")) == 2


def test_a_script_is_the_code_of_all_cells(jupyter_encoder: Encoder) -> None:
    (sample,) = Notebooks(form="script")(SourceFile(ORIGIN, NOTEBOOK, SCRIPT), Bench(jupyter_encoder, 512, 0))
    ids = encode_sample(sample, jupyter_encoder, learn="all").input_ids  # type: ignore[arg-type]
    assert jupyter_encoder.decode(ids) == "<jupyter_script>x = 6 * 7\nx\n\nprint('done')<|endoftext|>"
    prose = SourceFile(ORIGIN, NOTEBOOK, "# %% [markdown]\n# a\n")
    assert Notebooks(form="script")(prose, Bench(jupyter_encoder, 512, 0)) == "notebook_without_code"


def test_who_takes_a_notebook_depends_on_the_tokens_of_the_family(jupyter_encoder: Encoder, encoder_of: Any, byte_tokenizer: Any) -> None:
    item, other = SourceFile(ORIGIN, NOTEBOOK, SCRIPT), SourceFile(Origin("r", "c", "a.py"), "Python", "x = 1\n")
    mine, without = Bench(jupyter_encoder, 512, 0), Bench(encoder_of(SANTACODER), 512, 0)
    assert (Fim()(item, mine), Notebooks()(other, mine)) == ("notebook", "no_notebook")
    assert Notebooks()(item, without) == "no_notebook_tokens"
    assert not isinstance(Fim()(item, without), str)
    assert STARCODER.jupyter is not None
    first = Bench(Encoder(byte_tokenizer([*STARCODER.sentinels, *STARCODER.jupyter.all]) / "tokenizer.json", STARCODER), 512, 0)
    assert not isinstance(Notebooks()(item, first), str)
    assert Notebooks(form="script")(item, first) == "no_notebook_tokens"


@given(st.lists(cells, min_size=1, max_size=6))
def test_a_notebook_in_parts_keeps_its_words(jupyter_encoder: Encoder, cells: list[Cell]) -> None:
    bench = Bench(jupyter_encoder, 64, 0)
    todo, parts = [NotebookSample(ORIGIN, tuple(merged(cells)))], list[NotebookSample]()
    while todo:
        sample = todo.pop(0)
        smaller = Notebooks().smaller(sample, bench)
        todo[:0] = [part for part in smaller if isinstance(part, NotebookSample)]
        if not smaller:
            parts.append(sample)
    whole = "".join(cell.source + cell.output for cell in merged(cells))
    assert "".join(cell.source + cell.output for part in parts for cell in part.cells).replace("\n", "") == whole.replace("\n", "")
