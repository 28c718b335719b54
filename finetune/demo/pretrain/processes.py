"""One training process a core; they meet over loopback alone."""

from __future__ import annotations

import os
import signal
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist

from finetune.demo.pretrain.train import Learn, Run, Schedule, new_model


class Job(NamedTuple):
    """What every process is told: the arrays of `rows` to read first, while the rate decays, and for validation."""

    shape: dict[str, int]
    schedule: Schedule
    rows: Path
    folder: Path
    first: str = "stable"
    last: str = "final"
    valid: str = "valid"
    learn: Learn = "all"
    weights: Path | None = None  # a checkpoint to start from instead of random weights
    processes: int = 2


def train_everywhere(job: Job) -> None:
    """Trains in `folder` until the minutes are over; goes on from the checkpoint that is there. SIGTERM saves and ends."""
    job.folder.mkdir(parents=True, exist_ok=True)
    meeting = job.folder / "rendezvous"
    meeting.unlink(missing_ok=True)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    started = [get_context("spawn").Process(target=_train, args=(rank, job)) for rank in range(job.processes)]
    for process in started:
        process.start()
    # The first process saves a checkpoint when it is told to stop and tells the others.
    signal.signal(signal.SIGTERM, lambda *_: started[0].terminate())
    for process in started:
        process.join()
    if any(process.exitcode for process in started):
        raise RuntimeError("a training process failed; its traceback stands above")
    meeting.unlink(missing_ok=True)


def _train(rank: int, job: Job) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    dist.init_process_group("gloo", init_method=f"file://{job.folder / 'rendezvous'}", rank=rank, world_size=job.processes)
    model = new_model(job.shape, job.schedule.seed)
    if job.weights is not None:
        model.load_state_dict(torch.load(job.weights)["model"])
    run = Run(model, job.schedule, job.folder, learn=job.learn)
    run.resume()
    stable, final, valid = (np.load(job.rows / f"{name}.npy") for name in (job.first, job.last, job.valid))
    run.train(stable, final, valid)
    dist.destroy_process_group()
