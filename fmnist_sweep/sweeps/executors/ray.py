"""Do tasks as Ray tasks, on a cluster or on a Ray instance of this machine."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, wait
from typing import Any

from fmnist_sweep.errors import ConfigError
from fmnist_sweep.sweeps.executors import Executor, T, Task, WorkerError


class RayExecutor(Executor):
    """An executor on a Ray cluster. Ray restarts a task elsewhere if it is lost with its worker or node.

    Args:
        address: address of a running cluster, or `auto` for the one that Ray finds; None starts one on this machine.
        num_cpus: CPU cores per task.
        num_gpus: GPUs per task; may be a fraction.
        max_retries: how often a lost task is restarted.
    """

    def __init__(self, address: str | None = None, num_cpus: float = 1, num_gpus: float = 0, max_retries: int = 3):
        if address is None:
            # Ray reads these when it is imported. They disable usage reports and keep a token out of the user's home.
            own = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex()}
            os.environ.update({name: value for name, value in own.items() if name not in os.environ})
        try:
            import ray
        except ImportError as error:
            raise ConfigError("Ray is not installed; pip install ray, or '.[ray]' in the clone") from error
        self._ray = ray
        host, _, port = (address or "").rpartition(":")
        try:
            if host:  # Ray itself would keep trying for minutes
                socket.create_connection((host, int(port)), timeout=5).close()
            ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError, RuntimeError) as error:
            problem = f"address={address}: no Ray cluster answers"
            raise ConfigError(f"{problem}; start one with `ray start --head`") from error
        there = ray.cluster_resources()
        wanted = {"CPU": num_cpus, "GPU": num_gpus}
        self.slots = int(min(there.get(kind, 0) // number for kind, number in wanted.items() if number))
        self.tasks_of_job = 1
        if not self.slots:
            ray.shutdown()
            raise ConfigError(f"num_cpus={num_cpus}, num_gpus={num_gpus}: the Ray cluster has only {there}")
        self._begin = ray.remote(
            num_returns="streaming", num_cpus=num_cpus, num_gpus=num_gpus, max_retries=max_retries
        )(_carry_out)
        self._stopping = False
        self._tasks: list[Any] = []
        self._futures: list[Future[Any]] = []
        self._loop = asyncio.new_event_loop()
        self._follower = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._follower.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
        wait(self._futures, timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._follower.join()
        self._loop.close()
        self._ray.shutdown()

    def submit(self, tasks: Sequence[Task[T]], names: Sequence[Sequence[str]] = ()) -> list[Future[T]]:
        futures: list[Future[T]] = [Future() for _ in tasks]
        begun = [self._begin.remote(task) for task in tasks]
        for task, future in zip(begun, futures, strict=True):
            asyncio.run_coroutine_threadsafe(self._follow(task, future), self._loop)
        self._tasks += begun
        self._futures += futures
        if self._stopping:  # stop() was called before there was a task to cancel
            self.stop()
        return futures

    def death(self, error: BaseException) -> str | None:
        return str(error) if isinstance(error, WorkerError) else None

    def stop(self) -> None:
        self._stopping = True
        for task in self._tasks:
            self._ray.cancel(task)

    def kill(self) -> None:
        for task in self._tasks:
            self._ray.cancel(task, force=True)

    async def _follow(self, task: Any, future: Future[Any]) -> None:
        """Set a future running when its task starts, and give it the task's result or exception."""
        errors = self._ray.exceptions
        try:
            await (await anext(task))
            future.set_running_or_notify_cancel()
            future.set_result(await (await anext(task)))
        except (errors.TaskCancelledError, StopAsyncIteration):
            future.set_exception(CancelledError())
        except errors.RayTaskError as error:
            future.set_exception(error.cause)
        except Exception as error:  # an error of Ray itself; without any exception the caller would wait forever
            future.set_exception(WorkerError(str(error).partition("\n")[0]))


def _carry_out(task: Task[T]) -> Iterator[T | None]:
    """Do a task in a Ray worker. Ray cancels it by interrupting the main thread (SIGINT)."""
    asked: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: asked.append(number))
    yield None
    yield task(lambda: bool(asked))
