"""Files of a repository side by side, in the formats of the families, and never a held-out file beside another."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from finetune.base import DEMO
from finetune.data.mine import Mined, mine
from finetune.data.miners import Bench, Miner
from finetune.data.miners.fim import Fim
from finetune.data.miners.repository import Repository
from finetune.data.render import Encoder, encode_prompt, encode_sample
from finetune.data.secrets import Redactor
from finetune.data.tally import Tally
from finetune.errors import DataError
from finetune.families import FAMILIES, Family
from finetune.records import IGNORED, ContextPrompt, ContextSample, FimSample, Form, Origin, Side, SourceFile

ROOT = Path(__file__).parents[2]
STARCODER2, STARCODER, SANTACODER, QWEN = FAMILIES[:4]


def part(path: str, prefix: str, middle: str = "", suffix: str = "", form: Form = "plain") -> FimSample:
    origin = Origin("acme/shop", "c0ffee", path)
    return FimSample(origin, "", prefix, "", "plain") if form == "plain" else FimSample(origin, prefix, middle, suffix, form)


TWO = (part("lib/a.py", "A\n"), part("b.py", "P", "M", "S\n", "psm"))
SPM = (part("lib/a.py", "p", "m", "s", "spm"), part("b.py", "B\n"))
NAMED = {
    "starcoder2": "<repo_name>acme/shop<file_sep>lib/a.py\nA\n<file_sep><fim_prefix>b.py\nP<fim_suffix>S\n<fim_middle>M<|endoftext|>",
    "qwen2.5-coder": "<|repo_name|>acme/shop\n<|file_sep|>lib/a.py\nA\n\n<|file_sep|>b.py\n"
    "<|fim_prefix|>P<|fim_suffix|>S\n<|fim_middle|>M<|endoftext|>",
}


@pytest.mark.parametrize("family", [STARCODER2, QWEN], ids=lambda family: family.name)
def test_files_stand_side_by_side_in_their_familys_format(encoder_of, family: Family) -> None:
    encoder = encoder_of(family)
    assert encoder.decode(encode_sample(ContextSample(TWO, named=True), encoder, learn="all").input_ids) == NAMED[family.name]


def test_starcoder_2_writes_no_path_where_it_writes_no_name(encoder: Encoder) -> None:
    written = encoder.decode(encode_sample(ContextSample(TWO, named=False), encoder, learn="all").input_ids)
    assert written == "<file_sep>A\n<file_sep><fim_prefix>P<fim_suffix>S\n<fim_middle>M<|endoftext|>"


def test_the_path_stands_inside_the_prefix_suffix_first_too(encoder: Encoder) -> None:
    written = encoder.decode(encode_sample(ContextSample(SPM, named=True), encoder, learn="all").input_ids)
    assert written == "<repo_name>acme/shop<file_sep><fim_prefix><fim_suffix>s<fim_middle>lib/a.py\npm<file_sep>b.py\nB\n<|endoftext|>"


def test_answers_and_what_stops_them_are_learnt_names_and_paths_are_not(encoder: Encoder) -> None:
    encoded = encode_sample(ContextSample(SPM, named=True), encoder, learn="answer")
    learnt = [token for token, label in zip(encoded.input_ids, encoded.labels, strict=True) if label != IGNORED]
    assert encoder.decode(learnt) == "m<file_sep>B\n<|endoftext|>"
    assert encoder.token("<file_sep>") in encoder.stop_ids


@pytest.mark.parametrize("family", [STARCODER2, QWEN], ids=lambda family: family.name)
def test_a_prompt_with_context_is_the_beginning_of_its_training_sample(encoder_of, family: Family) -> None:
    encoder = encoder_of(family)
    sample = ContextSample(TWO, named=True)
    prompt = encode_prompt(ContextPrompt(sample), encoder)
    ids = list(encode_sample(sample, encoder, learn="all").input_ids)
    assert ids == [*prompt, *encoder.text("M"), encoder.end_id]


@pytest.mark.parametrize(
    ("sample", "written"),
    [
        (
            ContextSample((part("a.py", "A\n"),), True, True, "10-100"),
            "<reponame>acme/shop<filename>a.py<gh_stars>10-100\nA\n<|endoftext|>",
        ),
        (ContextSample((part("a.py", "A\n"),), False, True), "<filename>a.py\nA\n<|endoftext|>"),
        (ContextSample((part("a.py", "A\n"),), False, False), "A\n<|endoftext|>"),
        (
            ContextSample((part("a.py", "P", "M", "S", "psm"),), True, False),
            "<fim_prefix><reponame>acme/shop\nP<fim_suffix>S<fim_middle>M<|endoftext|>",
        ),
        (
            ContextSample((part("a.py", "P", "M", "S", "spm"),), False, True, "0"),
            "<fim_prefix><fim_suffix>S<fim_middle><filename>a.py<gh_stars>0\nPM<|endoftext|>",
        ),
    ],
)
def test_starcoder_1_reads_what_is_known_of_a_file_before_it(encoder_of, sample: ContextSample, written: str) -> None:
    encoder = encoder_of(STARCODER)
    assert encoder.decode(encode_sample(sample, encoder, learn="all").input_ids) == written


def test_a_hole_before_the_last_file_is_refused_where_the_family_has_none(encoder_of) -> None:
    with pytest.raises(DataError, match="in the last file of a sample alone, found one in lib/a.py"):
        encode_sample(ContextSample(SPM, named=True), encoder_of(QWEN), learn="all")


def test_a_family_without_a_format_is_told_what_to_write(encoder_of) -> None:
    with pytest.raises(DataError, match=r"santacoder has no format for files side by side.*write data.miners=\[fim, commits\]"):
        gather(FILES, Repository(), encoder_of(SANTACODER))


def source(path: str, text: str, repo: str = "acme/shop") -> SourceFile:
    return SourceFile(Origin(repo, "c0ffee", path), "Python", text)


FILES = [source(f"m{number:02}.py", f"import m{number + 1:02}\nVALUE = {number}\n") for number in range(30)]


def side_of(origin: Origin) -> Side:
    return "valid" if origin.path.endswith(("3.py", "7.py")) else "train"


def gather(files: Sequence[SourceFile], miner: Miner, encoder: Encoder, *, row_length: int = 200, seed: int = 0) -> list[ContextSample]:
    samples = miner.join(files, Bench(encoder, row_length, seed, side=side_of)).samples
    assert all(isinstance(sample, ContextSample) for sample in samples)
    return [sample for sample in samples if isinstance(sample, ContextSample)]


def test_every_file_is_in_a_sample_once_behind_what_it_imports(encoder: Encoder) -> None:
    samples = gather(FILES, Repository(), encoder)
    parts = [each for sample in samples for each in sample.parts]
    assert Counter(each.origin.path for each in parts) == Counter(file.origin.path for file in FILES)
    assert {each.origin.path: each.text for each in parts} == {file.origin.path: file.text for file in FILES}
    assert any(len(sample.parts) > 2 for sample in samples)
    places = {each.origin.path: place for place, each in enumerate(parts)}
    for file, imported in pairwise(FILES):
        if side_of(file.origin) == side_of(imported.origin):
            assert places[imported.origin.path] < places[file.origin.path]


def test_names_are_written_without_what_is_secret_in_them_and_origins_keep_it(encoder: Encoder) -> None:
    mail, key = "jane.doe@corp-mail.io", "AKIAQYLPMN5HHHFPZAM2"
    files = [source(f"users/{mail}/{key}_{number}.py", "VALUE = 1\n" * 6) for number in range(3)]
    redactor = Redactor()
    bench = Bench(encoder, 300, 0, side=side_of, clean=lambda name: redactor.name(name)[0])
    samples = Repository(name_rate=1).join(files, bench).samples
    samples = [each for sample in samples for each in (sample, *Repository(name_rate=1).smaller(sample, bench))]
    written = [encoder.decode(encode_sample(sample, encoder, learn="all").input_ids) for sample in samples]
    assert len(written) > 2 and all("users/<EMAIL>/<KEY>" in text and mail not in text and key not in text for text in written)
    assert {part.origin.path for sample in samples for part in sample.parts} == {file.origin.path for file in files}


def test_held_out_files_stand_beside_held_out_files_alone(encoder: Encoder) -> None:
    samples = gather(FILES, Repository(order="random"), encoder)
    sides = [{side_of(each.origin) for each in sample.parts} for sample in samples]
    assert all(len(side) == 1 for side in sides)
    assert {*map(frozenset, sides)} == {frozenset({"train"}), frozenset({"valid"})}


def test_names_and_holes_come_at_starcoder_2s_rates(encoder: Encoder) -> None:
    rates = Repository()
    assert (rates.name_rate, rates.fim_rate, rates.file_fim_rate, rates.spm_rate, rates.metadata_rate) == (0.5, 0.5, 0.5, 0.5, 0.2)
    files = [source(f"f{number}.py", "value = 1\nother = 2\n" * 3) for number in range(1500)]
    samples = gather(files, Repository(), encoder, row_length=400)
    assert len(samples) > 200
    assert sum(sample.named for sample in samples) / len(samples) == pytest.approx(0.5, abs=0.1)
    candidates = [sample for sample in samples if any(each.form != "plain" for each in sample.parts)]
    assert len(candidates) / len(samples) == pytest.approx(0.5, abs=0.1)
    forms = Counter(each.form for sample in samples for each in sample.parts)
    assert (forms["psm"] + forms["spm"]) / forms.total() == pytest.approx(0.25, abs=0.05)
    assert forms["spm"] / (forms["psm"] + forms["spm"]) == pytest.approx(0.5, abs=0.07)


def test_starcoder_1s_metadata_come_at_their_rate_one_file_a_sample(encoder_of) -> None:
    files = [source(f"f{number}.py", "value = 1\n") for number in range(600)]
    samples = gather(files, Repository(stars=42), encoder_of(STARCODER))
    assert all(len(sample.parts) == 1 for sample in samples)
    for known in (
        sum(sample.named for sample in samples),
        sum(sample.path for sample in samples),
        sum(sample.stars == "10-100" for sample in samples),
    ):
        assert known / len(samples) == pytest.approx(0.2, abs=0.05)
    assert all(sample.stars is None for sample in gather(files, Repository(), encoder_of(STARCODER)))


@pytest.mark.parametrize(
    ("stars", "bucket"),
    [(0, "0"), (1, "1-10"), (10, "1-10"), (11, "10-100"), (100, "10-100"), (101, "100-1000"), (1000, "100-1000"), (1001, "1000+")],
)
def test_stars_are_told_in_starcoder_1s_buckets(encoder_of, stars: int, bucket: str) -> None:
    samples = gather([source(f"f{number}.py", "value = 1\n") for number in range(30)], Repository(stars=stars), encoder_of(STARCODER))
    assert {sample.stars for sample in samples} == {None, bucket}


def test_qwens_samples_are_named_and_have_their_hole_in_the_last_file(encoder_of) -> None:
    encoder = encoder_of(QWEN)
    samples = gather(FILES, Repository(fim_rate=1, file_fim_rate=1), encoder)
    assert all(sample.named for sample in samples)
    assert all(each.form == "plain" for sample in samples for each in sample.parts[:-1])
    assert all(sample.parts[-1].form != "plain" for sample in samples)
    for sample in samples:
        encode_sample(sample, encoder, learn="all")


def test_samples_do_not_depend_on_the_order_of_the_files(encoder: Encoder) -> None:
    for order in ("imports", "random"):
        miner = Repository(order=order)
        assert gather(FILES, miner, encoder) == gather(FILES[::-1], miner, encoder)
        assert gather(FILES, miner, encoder) != gather(FILES, miner, encoder, seed=1)


def mined(files: Sequence[SourceFile], miners: Sequence[Miner], encoder: Encoder, *, row_length: int) -> tuple[list[Mined], Tally]:
    tally = Tally(read=len(files))
    bench = Bench(encoder, row_length, 0, side=side_of)
    return [*mine(files, miners, bench, learn="answer", tally=tally)], tally


def test_every_file_is_counted_once_beside_other_miners(encoder: Encoder) -> None:
    files = [*FILES, source("empty.py", ""), source(f"{'deep/' * 60}far.py", "a = 1\n"), source("other.py", "b = 2\n", repo="acme/other")]
    made, tally = mined(files, [Repository()], encoder, row_length=200)
    assert (tally.kept, tally.lost) == (31, 0)
    assert tally.dropped == {"empty": 1, "path_longer_than_a_row": 1}
    assert {each.origin.repo for each in made} == {"acme/shop", "acme/other"}
    both, tally = mined(files, [Fim(), Repository()], encoder, row_length=200)
    assert (tally.kept, tally.lost, tally.dropped) == (32, 0, {"empty": 1})
    assert Counter(each.miner for each in both)["repository"] == len(made)
    assert len({each.order for each in both}) == len(both)


def test_one_repository_does_not_change_anothers_samples(encoder: Encoder) -> None:
    other = [source(f"x{number}.py", "x = 1\n", repo="other") for number in range(9)]
    alone, _ = mined(FILES, [Repository()], encoder, row_length=200)
    beside, _ = mined([*FILES, *other], [Repository()], encoder, row_length=200)
    assert [each for each in beside if each.origin.repo == "acme/shop"] == alone


def project_files() -> list[SourceFile]:
    from finetune.data.languages import language_of

    paths = [
        path
        for folder in ("finetune", "app", "tests", "docs")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in {".py", ".md"}
    ]
    return [source(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) for path in paths if language_of(str(path), "")]


@pytest.mark.parametrize(
    "miner", [Fim(syntax_share=0.3), Fim(line_share=0, block_share=0), Repository(syntax_share=0.3)], ids=["fim", "spans", "repository"]
)
def test_no_middle_is_cut_in_a_real_project(miner: Miner) -> None:
    """Every window that was planned comes out whole, ends in a stop token, and the windows join to their files: 0 violations."""
    whole_middles(project_files(), miner, Encoder(DEMO / "tokenizer.json", STARCODER2))


@pytest.mark.slow
@pytest.mark.skipif(
    "OCTOTUNE_REPOSITORIES" not in os.environ, reason="set OCTOTUNE_REPOSITORIES to paths of git repositories, with : between"
)
@pytest.mark.parametrize("miner", [Fim(syntax_share=0.3), Repository(syntax_share=0.3)], ids=["fim", "repository"])
def test_no_middle_is_cut_in_other_repositories(miner: Miner) -> None:
    from finetune.data.repos import open_repositories, read_files

    repositories = open_repositories(os.environ["OCTOTUNE_REPOSITORIES"].split(":"), "HEAD")
    files = [file for repository in repositories for file in read_files(repository, Tally())]
    whole_middles(files, miner, Encoder(DEMO / "tokenizer.json", STARCODER2))


def whole_middles(files: Sequence[SourceFile], miner: Miner, encoder: Encoder) -> None:
    row_length = 256
    made, tally = mined(files, [miner], encoder, row_length=row_length)
    assert tally.kept == sum(1 for file in files if file.text)
    fim = encoder.family.fim
    assert fim is not None
    opened, middle = encoder.token(fim.prefix), encoder.token(fim.middle)
    written, holes = Counter[str](), 0
    for each in made:
        ids = each.encoded.input_ids
        assert len(ids) <= row_length
        assert ids[-1] == each.encoded.labels[-1] == encoder.end_id
        # A middle that was begun is ended by a learnt stop token, and all that is between was there: nothing was cut off.
        assert ids.count(opened) == ids.count(middle)
        holes += ids.count(middle)
        written.update(encoder.decode([token for token in ids if token not in encoder.sentinel_ids]))
    assert holes > 100
    if isinstance(miner, Fim):
        assert written == sum((Counter(file.text) for file in files), Counter())
    else:
        missing = sum((Counter(file.text) for file in files), Counter()) - written
        assert not missing


def test_a_recipe_that_asks_for_context_without_a_format_is_refused_at_once(byte_tokenizer) -> None:
    from finetune.check import require_sound
    from finetune.errors import FinetuneError
    from finetune.recipe import Recipe

    folder = byte_tokenizer(SANTACODER.sentinels)
    (folder / "config.json").write_text('{"model_type": "gpt_bigcode", "vocab_size": 320, "n_positions": 4096}')
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    recipe = Recipe.model_validate({"model": {"path": str(folder)}, "data": {"miners": ["fim", "repository"]}})
    with pytest.raises(FinetuneError, match=r"data\.miners\.1: found repository.*santacoder.*write data\.miners\.1=fim"):
        require_sound(recipe)
