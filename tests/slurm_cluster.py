"""A real Slurm of two nodes on this machine, without systemd: Debian's slurm-wlm and munge, run as root."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

NODES = ("node1", "node2")
CPUS = 2  # of a node


class SlurmCluster:
    """Daemons whose state lies in one folder; `SLURM_CONF` points to them while the cluster is up."""

    def __init__(self, folder: Path, daemons: ExitStack):
        self.configuration = folder / "slurm.conf"
        self._folder = folder
        self._daemons = daemons
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start everything and wait until both nodes are idle."""
        socket_path, key = self._folder / "munge.socket", self._folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        files = [f"--{kind}-file={self._folder}/munge.{kind}" for kind in ("key", "pid", "log", "seed")]
        self._run("munged", "--foreground", "--force", f"--socket={socket_path}", *files)
        ports = _free_ports(1 + len(NODES))
        host, has = socket.gethostname(), f"CPUs={CPUS} RealMemory=4000"
        nodes = [
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} {has}"
            for name, port in zip(NODES, ports[1:], strict=True)
        ]
        text = _CONFIGURATION.format(
            folder=self._folder, host=host, port=ports[0], socket=socket_path, nodes="\n".join(nodes)
        )
        self.configuration.write_text(text)
        (self._folder / "state").mkdir()
        _wait(socket_path.exists)
        self._run("slurmctld", "-D", "-f", str(self.configuration))
        for name in NODES:
            self.start_node(name)
        _wait(lambda: self.ask("sinfo", "--noheader", "--format=%T").split() == ["idle"])

    def start_node(self, name: str) -> None:
        """Start a node, or start one again that was killed."""
        (self._folder / name).mkdir(exist_ok=True)
        self._nodes[name] = self._run("slurmd", "-D", "-N", name, "-f", str(self.configuration))

    def kill_node(self, name: str) -> None:
        """End a node and all that runs on it, as a power cut would: nothing of it can tell the others."""
        self._nodes[name].kill()
        self._nodes[name].wait()
        steps = self._steps(name)
        for process in [*steps, *(child for step in steps for child in step.children(recursive=True))]:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def ask(self, *command: str) -> str:
        """Return the output of a command of Slurm."""
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout

    def _run(self, *command: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{command[0]}.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        self._daemons.callback(_end, process)
        return process

    def _steps(self, node: str) -> list[psutil.Process]:
        """The processes in which a node runs its jobs; they are no children of its daemon, but share its log."""
        log = str(self._folder / node / "slurmd.log")
        return [
            process
            for process in psutil.process_iter(["name", "open_files"])
            if process.info["name"].startswith("slurmstepd")
            and any(file.path == log for file in process.info["open_files"] or ())
        ]


@contextmanager
def slurm_cluster(folder: Path) -> Iterator[SlurmCluster]:
    """A cluster that is up; nothing of it is left in the end."""
    before = os.environ.get("SLURM_CONF")
    with ExitStack() as daemons:
        cluster = SlurmCluster(folder, daemons)
        os.environ["SLURM_CONF"] = str(cluster.configuration)
        try:
            cluster.start()
            yield cluster
        finally:
            for name in NODES:
                cluster.kill_node(name)
            del os.environ["SLURM_CONF"]
            if before is not None:
                os.environ["SLURM_CONF"] = before


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as sockets:
        free = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for one in free:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in free]


def _wait(holds: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "Slurm does not come up; see its logs"
        time.sleep(0.1)


# cred_expire is how long a job that is requeued must wait before it starts again; a node that is silent for
# SlurmdTimeout is down, and its jobs are requeued.
_CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={socket},cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmdPidFile={folder}/%n/slurmd.pid
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdLogFile={folder}/%n/slurmd.log
SlurmctldLogFile={folder}/slurmctld.log
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
JobRequeue=1
ReturnToService=1
SlurmdTimeout=2
MessageTimeout=3
KillWait=5
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""
