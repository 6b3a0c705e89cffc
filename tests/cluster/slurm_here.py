"""A SLURM of one node on this machine, for the tests: munged, slurmctld and slurmd on the loopback device."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue")
PACKAGES = "slurm-wlm munge slurm-wlm-torque"
START_SECONDS = 240
MEMORY_MB = 8000

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CryptoType=crypto/munge
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,batch_sched_delay=0
MpiDefault=none
ReturnToService=2
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=second Nodes={host} MaxTime=INFINITE State=UP
"""


def missing_programs() -> list[str]:
    """Return what has to be installed."""
    return [name for name in PROGRAMS if _program(name) is None]


@contextmanager
def running_slurm(folder: Path) -> Iterator[Path]:
    """Start SLURM with its files in a folder; yield its configuration; stop it and its jobs at the end."""
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(parents=True)
    (folder / "munge").chmod(0o700)
    key = folder / "munge" / "key"
    key.touch(0o600)
    key.write_bytes(secrets.token_bytes(128))
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(
            host=socket.gethostname().split(".")[0],
            user=_user(),
            folder=folder,
            controller_port=_free_port(),
            node_port=_free_port(),
            cpus=os.cpu_count(),
            memory=MEMORY_MB,
        )
    )
    munge = [f"--{name.replace('_', '-')}={folder / 'munge' / name}" for name in ("pid_file", "log_file")]
    munge += [f"--{name}-file={folder / 'munge' / name}" for name in ("key", "seed")]
    with ExitStack() as stack:
        _start(stack, folder, "munged", "--force", "--foreground", *munge, f"--socket={folder}/munge/socket")
        _wait((folder / "munge" / "socket").exists)
        before = os.environ.get("SLURM_CONF")
        os.environ["SLURM_CONF"] = str(configuration)
        stack.callback(_restore, before)
        _start(stack, folder, "slurmctld", "-D", "-f", str(configuration))
        _start(stack, folder, "slurmd", "-D", "-f", str(configuration))
        _wait(lambda: "idle" in _answer("sinfo", "--noheader", "--format=%T"))
        stack.callback(_answer, "scancel", f"--user={os.getuid()}", "--signal=KILL")
        yield configuration


def states(job: str) -> dict[str, str]:
    """Return the states of the tasks of a job by their numbers."""
    answer = _answer("scontrol", "--oneliner", "show", "job", job)
    found = {}
    for line in answer.splitlines():
        values = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if "JobState" in values:
            found[values.get("ArrayTaskId", "")] = values["JobState"]
    return found


def wait_for(job: str, seconds: float) -> None:
    """Wait until a job is no longer in the queue."""
    _wait(lambda: not _answer("squeue", "--noheader", "--jobs", job, "--format=%T").strip(), seconds)


def _wait(condition, seconds: float = START_SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{seconds} s have passed")
        time.sleep(0.1)


def _start(stack: ExitStack, folder: Path, name: str, *arguments: str) -> None:
    log = stack.enter_context((folder / f"{name}.out").open("w"))
    # a session of its own: an interrupted test still stops them one after the other
    process = subprocess.Popen(
        [_program(name), *arguments], stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    stack.callback(_stop, process)


def _stop(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _answer(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _restore(before: str | None) -> None:
    os.environ.pop("SLURM_CONF")
    if before is not None:
        os.environ["SLURM_CONF"] = before


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
