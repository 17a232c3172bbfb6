"""Do tasks on a Slurm cluster, through submitit. Tasks that are submitted together form one job array."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fmnist_sweep.errors import ConfigError
from fmnist_sweep.sweeps.executors import Executor, T, Task, WorkerError, queue
from fmnist_sweep.sweeps.executors.local import LocalExecutor

POLL_SECONDS = 10.0
GONE = "gone"  # Slurm forgets jobs minutes after their end
OWN_END = {"CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "OUT_OF_MEMORY"}  # such jobs would end the same way again
ENDED = OWN_END | {"BOOT_FAIL", "LAUNCH_FAILED", "NODE_FAIL", "PREEMPTED", "TIMEOUT", GONE}
SHARED = ("cpus_per_task", "gpus_per_node", "mem_gb", "name", "timeout_min")  # submitit's names for all clusters


@dataclass
class _Element:
    """An element of a job array: the tasks that one job does at the same time."""

    tasks: Sequence[Task[Any]]
    names: Sequence[str]
    futures: Sequence[Future[Any]]
    job: Any = None
    losses: int = 0
    ended: bool = False


class SlurmExecutor(Executor):
    """An executor on a Slurm cluster. Settings have the names and meanings of hydra-submitit-launcher.

    A job that is preempted or reaches its time limit ends its epoch and is queued again. A job that is lost with its
    node is submitted again. Each may happen up to `max_num_timeout` times. A poll makes one call of `squeue` and reads
    the folder of results, for any number of jobs. Slurm accounting is not needed.

    Args:
        folder: the folder for jobs, their output and results, which every node must see. Each executor makes its own
            subfolder.
        array_parallelism: how many jobs of an array run at a time.
        cpus_per_task: how many tasks a job does at a time, each on one core.
        gpus_per_node: 1 for jobs that do one task at a time, on a GPU.
        max_num_timeout: how often a job may be lost or run out of time.
        detach: True to leave jobs to Slurm when this process ends.
        parameters: further parameters of submitit's `SlurmExecutor`, such as partition, account, qos, mem_gb,
            timeout_min, setup or additional_parameters.
    """

    def __init__(
        self,
        folder: Path,
        *,
        array_parallelism: int,
        cpus_per_task: int = 1,
        gpus_per_node: int | None = None,
        max_num_timeout: int = 3,
        detach: bool = False,
        **parameters: Any,
    ):
        try:
            import submitit
        except ImportError as error:
            raise ConfigError("Slurm needs submitit; pip install submitit, or '.[slurm]' in the clone") from error
        if (gpus_per_node or 0) > 1:
            raise ConfigError(
                f"gpus_per_node={gpus_per_node}: a job takes one GPU; set gpus_per_node=1 and raise array_parallelism"
            )
        self.tasks_of_job = 1 if gpus_per_node else cpus_per_task
        self.slots = array_parallelism * self.tasks_of_job
        # Since Slurm 22.05, srun does not inherit --cpus-per-task from the job.
        further_for_srun = parameters.pop("srun_args", None) or []
        parameters = {
            "name": "fmnist_sweep",
            **parameters,
            "array_parallelism": array_parallelism,
            "cpus_per_task": cpus_per_task,
            "gpus_per_node": gpus_per_node,
            "srun_args": [f"--cpus-per-task={cpus_per_task}", *further_for_srun],
        }
        self.detach = detach
        # Results are unpickled. The folder's name cannot be guessed, so nobody can put files there in advance.
        self._folder = folder.absolute() / f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{secrets.token_hex(8)}"
        try:
            self._slurm = submitit.AutoExecutor(self._folder, cluster="slurm", slurm_max_num_timeout=max_num_timeout)
        except RuntimeError as error:
            raise ConfigError("there is no Slurm here (no srun): start from a login node of the cluster") from error
        self._slurm.update_parameters(
            **{k if k in SHARED else f"slurm_{k}": v for k, v in parameters.items() if v is not None}
        )
        self._most_losses = max_num_timeout
        self._elements: list[_Element] = []
        self._stopping = False
        self._submitting = threading.Lock()
        self._closing = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        if self._elements and not self.detach:
            self.kill()
        self._watcher.join()

    def submit(self, tasks: Sequence[Task[T]], names: Sequence[Sequence[str]] = ()) -> list[Future[T]]:
        futures: list[Future[T]] = [Future() for _ in tasks]
        elements = []
        for start in range(0, len(tasks), self.tasks_of_job):
            part = slice(start, start + self.tasks_of_job)
            elements.append(_Element(tasks[part], [name for of_task in names[part] for name in of_task], futures[part]))
        if elements:
            self._submit(elements)
        self._elements += elements
        return futures

    def queued(self) -> set[str]:
        left = {
            job: names
            for folder, job, names in queue.noted(self._folder.parent)
            if folder != self._folder and not (folder / f"{job}_0_result.pkl").exists()
        }
        states = self._states(sorted({job.split("_")[0] for job in left})) if left else {}
        going_on = [names for job, names in left.items() if states is None or states.get(job, GONE) not in ENDED]
        return {name for names in going_on for name in names}

    def death(self, error: BaseException) -> str | None:
        return str(error) if isinstance(error, WorkerError) else None

    def stop(self) -> None:
        self._stopping = True
        self._ask_to_stop()

    def kill(self) -> None:
        self._cancel()

    def _submit(self, elements: Sequence[_Element]) -> None:
        try:
            # One thread at a time, because each restores the stream that it found.
            with self._submitting, contextlib.redirect_stderr(_OtherThreads()):
                jobs = self._slurm.submit_array([Job(element.tasks) for element in elements])
        except RuntimeError as error:
            partitions = subprocess.run(["sinfo", "--noheader", "--format=%R"], capture_output=True, text=True)
            known = f"; its partitions are {', '.join(partitions.stdout.split())}" if partitions.stdout else ""
            refusal = _last_line(str(error)).rpartition("failed: ")[2]
            raise ConfigError(f"Slurm refused the job: {refusal}{known}") from error
        for element, job in zip(elements, jobs, strict=True):
            element.job, element.ended = job, False
            queue.note(self._folder, job.job_id, element.names)

    def _ask_to_stop(self) -> None:
        self._cancel("--state=PENDING")
        self._cancel("--signal=INT")

    def _cancel(self, *arguments: str) -> None:
        if arrays := self._arrays():  # without an id, scancel would cancel all jobs of the user
            subprocess.run(["scancel", *arguments, *arrays], capture_output=True, check=False)

    def _arrays(self) -> list[str]:
        return sorted({element.job.job_id.split("_")[0] for element in self._elements})

    def _watch(self) -> None:
        while not self._closing.wait(POLL_SECONDS):
            try:
                self._poll()
            except Exception as error:  # otherwise the sweep would wait forever
                for element in self._elements:
                    _settle(element, [error] * len(element.tasks))
                self._elements = []

    def _poll(self) -> None:
        if not self._elements:
            return
        if self._stopping:  # at each poll, because a job that had just started may miss the signal
            self._ask_to_stop()
        states, results = self._states(self._arrays()), set(os.listdir(self._folder))
        lost = []
        for element in list(self._elements):
            state = states.get(element.job.job_id, GONE) if states is not None else "unknown"
            if element.job.paths.result_pickle.name in results:
                _settle(element, _result(element))
            elif state not in ENDED:
                if state == "RUNNING":
                    _begin(element)
                continue
            elif not element.ended:  # its result may still be in transit on a network file system
                element.ended = True
                continue
            elif self._stopping:
                _settle(element, [CancelledError()] * len(element.tasks))
            elif state not in OWN_END and element.losses < self._most_losses:
                element.losses += 1
                lost.append(element)
                continue
            else:
                _settle(element, [WorkerError(_why(element, state))] * len(element.tasks))
            self._elements.remove(element)
        if lost:
            self._submit(lost)

    def _states(self, arrays: Sequence[str]) -> dict[str, str] | None:
        """Return Slurm's state of each job of these arrays, by job id; None if Slurm does not answer."""
        command = ["squeue", "--noheader", "--array", "--states=all", "--format=%i %T %r"]
        asked = subprocess.run([*command, f"--jobs={','.join(arrays)}"], capture_output=True, text=True)
        if asked.returncode and "Invalid job id" not in asked.stderr:
            return None
        lines = (line.split(maxsplit=2) for line in asked.stdout.splitlines())
        return {job: "LAUNCH_FAILED" if why == "JobLaunchFailure" else state for job, state, why in lines}


class _OtherThreads(io.TextIOBase):
    """Standard error without the output of this thread, because submitit prints the errors that it raises."""

    def __init__(self) -> None:
        self._stream, self._thread = sys.stderr, threading.get_ident()

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() == self._thread else self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()


@dataclass
class Job:
    """The callable of an array's element, which submitit calls on the node."""

    tasks: Sequence[Task[Any]]

    def __call__(self) -> list[Any]:
        """Do the tasks in processes on this node. Return the result or the error of each."""
        asked: list[int] = []
        queue_again = signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # Python's helper processes inherit this
        with LocalExecutor(len(self.tasks)) as workers:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
                signal.signal(number, lambda number, _: asked.append(number))
            futures = workers.submit(self.tasks)
            while not all(future.done() for future in futures):
                time.sleep(0.5)
                if asked:
                    workers.stop()
            results = [_outcome(workers, future) for future in futures]
        if signal.SIGUSR2 in asked and callable(queue_again):
            queue_again(signal.SIGUSR2, None)  # submitit's handler, which also ends this process
        if signal.SIGTERM in asked:
            sys.exit("asked to end")  # without a result: Slurm's state then decides if the job runs again
        return results

    def checkpoint(self) -> Any:
        """Return the job that submitit queues again: the same one, which resumes from the store."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


def _outcome(workers: Executor, future: Future[Any]) -> Any:
    try:
        return future.result()
    except CancelledError:
        return []
    except Exception as error:
        death = workers.death(error)
        return error if death is None else WorkerError(death)


def _result(element: _Element) -> Sequence[Any]:
    """Return the results of a job's tasks; an error for each task if the job itself failed."""
    outcome, result = pickle.loads(element.job.paths.result_pickle.read_bytes())
    return result if outcome == "success" else [WorkerError(_last_line(result))] * len(element.tasks)


def _begin(element: _Element) -> None:
    for future in element.futures:
        if not future.running():
            future.set_running_or_notify_cancel()


def _settle(element: _Element, results: Sequence[Any]) -> None:
    for future, result in zip(element.futures, results, strict=True):
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)


def _why(element: _Element, state: str) -> str:
    """Explain why a job left no result: the job's id, its Slurm state and the last line that it printed."""
    try:
        printed = element.job.paths.stderr.read_text(errors="replace")
    except OSError:
        printed = ""
    own = "\n".join(line for line in printed.splitlines() if not line.startswith("srun:"))
    return ": ".join(filter(None, [f"job {element.job.job_id} {state.lower()}", _last_line(own)]))


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "").strip()
