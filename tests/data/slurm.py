"""A Slurm of one node, this machine, that ends with its block: its own munged, slurmctld and slurmd on ports of 127.0.0.1."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from secrets import token_bytes

from watching import bounded

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun")
MISSING = [name for name in PROGRAMS if shutil.which(name) is None]
_CONF = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SwitchType=switch/none
MpiDefault=none
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=4000 State=UNKNOWN
PartitionName=cpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@contextmanager
def one_node(folder: Path) -> Iterator[Mapping[str, str]]:
    """The environment for whoever gives it work. The path of `folder` must be short: munged's socket lies in it."""
    host = socket.gethostname().partition(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (key := folder / "munge.key").write_bytes(token_bytes(128))
    key.chmod(0o600)
    values = {"host": host, "user": getpass.getuser(), "folder": folder, "ports": _ports(2), "cores": os.cpu_count()}
    (folder / "slurm.conf").write_text(_CONF.format(**values))
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
    munged = ["munged", "--force", "--foreground", f"--key-file={key}", f"--socket={folder}/munge.socket"]
    munged += [f"--{name}={folder}/munge.{name}" for name in ("pid-file", "log-file", "seed-file")]
    with ExitStack() as stack:
        stack.enter_context(_daemon(munged, "Created socket", environment))
        stack.enter_context(_daemon(["slurmctld", "-D"], "Running as primary controller", environment))
        stack.enter_context(_daemon(["slurmd", "-D"], "slurmd started", environment))
        yield environment


@contextmanager
def _daemon(command: Sequence[str], sign: str, environment: Mapping[str, str]) -> Iterator[None]:
    """A program that runs until the block ends, which begins when it has said that it is ready."""
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said: list[str] = []
        try:
            with bounded(process, seconds=60):
                for line in process.stderr:
                    said.append(line)
                    if sign in line:
                        break
                else:
                    raise AssertionError(f"{command[0]} has ended: {''.join(said)}")
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield
        finally:
            process.terminate()


def _ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
