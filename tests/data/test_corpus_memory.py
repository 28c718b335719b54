"""What the stages of a whole corpus hold in memory: blocks, and nothing that grows with its files, samples, changes or instructions."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import stand_in

from finetune.base import read_base
from finetune.data import pack, room, spool, store, tables
from finetune.data.build.job import Job, Task
from finetune.data.build.join import join, read_joined
from finetune.data.build.samples import SampleWriter, sizes_of
from finetune.data.build.settle import PLACE, settle_all
from finetune.data.build.shuffle import Shuffle
from finetune.data.build.tools import Tools, open_tools
from finetune.data.build.write import write
from finetune.data.dedup import near
from finetune.data.mine import Mined
from finetune.data.room import Disk
from finetune.files import staged_folder
from finetune.recipe import Recipe
from finetune.records import Origin
from finetune.run import open_run

Make = Callable[..., Recipe]
FEW, MANY = 3, 7  # shards


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held of batches of one size, whatever the corpus, is so small that what grows is seen beside it."""
    sizes = (
        (near, "KEYED", 64),
        (room, "_LISTED", 64),
        (spool, "_OPEN", 2),
        (tables, "_BATCH", 32),
        (tables, "_LARGER", 1),
        (store, "_BATCH", 4),
        (pack, "LOOK_AHEAD", 64),
    )
    for module, name, size in sizes:
        monkeypatch.setattr(module, name, size)


@pytest.fixture
def recipe(recipe_of: Make) -> Recipe:
    """Blocks of 640 rows; one band of all bins."""
    return recipe_of(shard_mb=0.082, near_duplicates={"threshold": 1.0}, miners=["docstrings", "commits"])


def peak(work: Callable[[], object]) -> int:
    """The most bytes that Python and numpy held more than before."""
    gc.collect()
    tracemalloc.start()
    work()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def stage_peak(job: Job, tools: Tools, stage: str) -> int:
    """The peak of a stage of the whole corpus, done as `stages.perform` does it."""
    with staged_folder(job.place(stage)) as folder:
        return peak(lambda: {"join": join, "settle": settle_all}[stage](Task(job, tools, folder)))


@pytest.fixture
def tools(recipe: Recipe) -> Tools:
    return open_tools(recipe, read_base(recipe.model))


def joined(tools: Tools, folder: Path, *, shards: int, files: int) -> tuple[Job, int]:
    """A job of so many files a shard that has been joined, and the peak of that."""
    job = stand_in.job_of(tools.recipe, folder, shards=shards)
    stand_in.clean(job, files)
    return job, stage_peak(job, tools, "join")


def test_join_holds_nothing_that_grows_with_the_files(tools: Tools, tmp_path: Path) -> None:
    """In memory it took 140 bytes a file, and 1 kB for each of the third with a near-copy."""
    files = 1400
    joined(tools, tmp_path / "warm", shards=2, files=100)  # what is imported and compiled stays
    _, few = joined(tools, tmp_path / "few", shards=FEW, files=files)
    job, many = joined(tools, tmp_path / "many", shards=MANY, files=files)
    assert many - few < 30 * files * (MANY - FEW)
    keeper = read_joined(job).keeper
    shared = -(-files // stand_in.COPIED)
    assert (keeper[: shared * stand_in.COPIED : stand_in.COPIED] >= 0).sum() > 0, "one of the shards keeps them"
    assert (keeper >= 0).sum() >= (MANY - 1) * shared + MANY * files // stand_in.SIMILAR // 2


def settled(tools: Tools, folder: Path, *, shards: int, files: int) -> int:
    """The peak of the stage; files, samples, changes and instructions are as many."""
    job, _ = joined(tools, folder, shards=shards, files=files)
    stand_in.teach(job, files)
    return stage_peak(job, tools, "settle")


def test_settle_holds_nothing_that_grows_with_changes_or_instructions(tools: Tools, tmp_path: Path) -> None:
    """In memory it took 100 bytes a change and 200 an instruction. What Python keeps of objects that are gone grows to 160 kB."""
    files = 200
    settled(tools, tmp_path / "warm", shards=2, files=files)
    few = settled(tools, tmp_path / "few", shards=4, files=files)
    many = settled(tools, tmp_path / "many", shards=12, files=files)
    assert many - few < 150 * files * 8


def written(tools: Tools, folder: Path, *, times: int) -> int:
    """The peak of putting a list of a thousand samples into rows, and as many times as this."""
    folder.mkdir()
    with SampleWriter(folder / "samples", wide=False) as samples:
        for number in range(1000):
            origin = Origin("part", "c" * 40, f"file{number}.py")
            samples.append(Mined(origin, "fim", 0, stand_in.ENCODED, (origin,)), valid=False)
    places = np.empty(1000, dtype=PLACE)
    places["stays"] = True

    def work() -> None:
        shuffle, sizes = Shuffle(Disk(folder, block=640)), np.load(sizes_of(folder / "samples"))
        for draw in range(times):
            places["order"] = np.random.default_rng(draw).integers(1 << 63, size=1000)
            shuffle.add(folder / "samples", places, sizes)
        with tables.open_table(tables.SampleRow, folder / "samples.parquet") as table:
            rows = shuffle.rows("train", table, row_length=tools.recipe.data.row_length, pad_id=0)
            store.write_rows(rows, folder / "train", vocabulary_size=320)
        assert table.rows == 1000 * times

    return peak(work)


def test_write_holds_nothing_that_grows_with_samples(tools: Tools, tmp_path: Path) -> None:
    """In memory it took 28 bytes a sample, and 48 while they were put in order."""
    written(tools, tmp_path / "warm", times=1)
    few, many = (written(tools, tmp_path / str(times), times=times) for times in (2, 6))
    assert many - few < 10 * 1000 * (6 - 2)


def test_what_comes_before_and_after_write_is_right_where_blocks_are_small(tools: Tools, tmp_path: Path) -> None:
    """Copies across shards, and held-out changes that are like what is trained on."""
    job, _ = joined(tools, tmp_path / "job", shards=3, files=120)
    stand_in.teach(job, 120)
    stage_peak(job, tools, "settle")
    stand_in.prove(job, 120)
    report = write(open_run(tools.recipe), job, tools, [])
    assert report.changes.dropped == {"copy": 2 * 2, "near_train": report.changes.dropped["near_train"]}
    assert report.files.dropped == {"same_question": 2 * 2}
    assert report.changes.dropped["near_train"] > 0
