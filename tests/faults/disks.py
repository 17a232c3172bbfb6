"""Faults of disks and files: calls that fail, no space, lost power, damaged files, folders that vanish or close."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

from faults import work
from faults.calls import ERRORS, KINDS, Call, Calls, Disk
from faults.cases import Case
from faults.damages import damage, damages
from fmnist_sweep.config.identity import trajectory_name
from fmnist_sweep.store.run_directory import RunDirectory


def fresh(folder: Path) -> None:
    """Nothing has been trained."""


def interrupted(folder: Path) -> None:
    """Training was stopped after the first epoch."""
    work.train(folder, until=2)


def killed(folder: Path) -> None:
    """Training was killed after the second epoch, so no run says how it stands."""
    seen = folder.with_name("seen")
    work.train(folder, on_row=lambda rows: shutil.copytree(folder, seen) if rows == 3 else None)
    shutil.rmtree(folder)
    seen.rename(folder)


def finished(folder: Path) -> None:
    """All is done."""
    work.train(folder)


def longer(folder: Path) -> None:
    """The longest run is done, from which another is to be cut."""
    work.train(folder, configs=[work.LONG])


BEFORE = {before.__name__: before for before in (fresh, interrupted, longer, finished)}


def failing_calls() -> list[Case]:
    """A call of the store fails, each kind at each place."""
    cases = []
    for state, before in BEFORE.items():
        again = {"rerun": True} if before is finished else {}
        with work.small(), work.store_after(before) as folder:
            calls = Calls(folder)
            with calls.watched():
                work.train(folder, **again)
        for kind in KINDS:
            for number in range(1, calls.counted[kind] + 1):
                for error in ERRORS[kind]:
                    case = functools.partial(_fail, before, kind, number, error, again)
                    cases.append(Case(f"{state}/{kind}-{number}-error-{error}", case))
    return cases


def _fail(
    before: Callable[[Path], None], kind: str, number: int, error: int, again: dict[str, bool], _: Random
) -> None:
    with work.store_after(before) as folder:
        with Calls(folder, (kind, number, error)).watched():
            problem = work.train(folder, **again)
        work.require(work.said(folder, problem), "nothing says what happened")
        work.complete(folder)


def full_disk() -> list[Case]:
    """A disk of each size, from nothing to enough; only root may make one."""
    if os.geteuid() != 0:
        return []
    with work.small(), work.store_after(finished) as folder:
        pages = sum(-(-path.stat().st_size // 4096) for path in folder.rglob("*") if path.is_file())
    return [Case(f"{size}-pages", functools.partial(_fill, size)) for size in range(1, pages + 24)]


def _fill(pages: int, _: Random) -> None:
    with tempfile.TemporaryDirectory(prefix="faults-", dir=work.PLACE) as place:
        mount = ["mount", "-t", "tmpfs", "tmpfs", place, "-o"]
        subprocess.run([*mount, f"size={4 * pages}k"], check=True)
        try:
            folder = Path(place).resolve() / "store"
            with suppress(OSError):
                folder.mkdir()
            problem = work.train(folder)
            work.require(work.said(folder, problem), "nothing says what happened")
            subprocess.run([*mount[:-1], "-o", "remount,size=64m"], check=True)
            work.complete(folder)
        finally:
            subprocess.run(["umount", place], check=True)


def lost_power() -> list[Case]:
    """The power goes between any two calls; what was not synced is lost, or a part by chance; or the process alone."""
    cases = []
    for state, before in BEFORE.items():
        again = {"rerun": True} if before is finished else {}
        count = len(_recorded(before, **again)[0])
        for cut in range(1, count + 1):
            for draw in range(5):
                case = functools.partial(_lose_power, before, again, cut, draw)
                cases.append(Case(f"{state}/call-{cut}-draw-{draw}", case))
    return cases


@functools.cache
def _recorded(before: Callable[[Path], None], **how: bool) -> tuple[list[Call], Path]:
    """The calls that training made, and where it made them."""
    with work.small(), work.store_after(before) as folder:
        calls = Calls(folder)
        with calls.watched():
            work.train(folder, **how)
    return calls.made, folder


def _lose_power(before: Callable[[Path], None], again: dict[str, bool], cut: int, draw: int, random: Random) -> None:
    calls, recorded = _recorded(before, **again)
    with work.store_after(before) as folder:
        disk = Disk(folder)
        promised: dict[Path, object] = {}
        for kind, path, more in calls[:cut]:
            where = _moved(path, recorded, folder)
            if kind == "promise":
                promised[where] = "done" if "done" in (more, promised.get(where)) else more
            else:
                disk.apply((kind, where, _moved(more, recorded, folder) if kind == "rename" else more))
        disk.lose_power(random, (0, 0.3, 0.5, 0.7, 1)[draw])
        for run, what in promised.items():
            if what == "done":
                work.require(RunDirectory(run).inspect().status == "done", f"{run.name} was done and is lost")
            else:
                furthest = work.held(folder).get(trajectory_name(run.name), 0)
                work.require(furthest >= int(str(what)), f"{run.name}: checkpoint {what} is lost")
        work.complete(folder)


def _moved(path: Path, recorded: Path, folder: Path) -> Path:
    return folder / path.relative_to(recorded) if path.is_relative_to(recorded) else path


def damaged_files() -> list[Case]:
    """A file of a run directory is cut at a length of interest, has bits flipped, bytes more or zeros, or is gone."""
    cases = []
    for before in (interrupted, killed, finished):
        with work.small(), work.store_after(before) as folder:
            files = sorted(path for path in folder.glob("*/*") if path.is_file())
            for path in files:
                place = f"{path.parent.name}/{path.name}"
                for kind in damages(path.read_bytes(), flips=6):
                    case = functools.partial(_damage, before, place, kind)
                    cases.append(Case(f"{before.__name__}/{place}/{kind}", case))
    return cases


def _damage(before: Callable[[Path], None], place: str, name: str, random: Random) -> None:
    with work.store_after(before) as folder:
        damage(folder / place, name, random)
        work.complete(folder)


def vanishing_folders() -> list[Case]:
    """During the sweep a run's directory, or the store, is removed, renamed or, as root, mounted read-only."""
    return [
        Case(f"{what}-of-{victim}-after-row-{row}", functools.partial(_vanish, what, victim, row))
        for what in ("removal", "renaming", *(["closing"] if os.geteuid() == 0 else []))
        for victim in ("run", "store")
        for row in range(1, work.EPOCHS + 1)
    ]


def _vanish(what: str, victim: str, row: int, random: Random) -> None:
    with work.store_after(fresh) as folder:
        there = random.choice([job.directory for job in work.jobs(folder)]) if victim == "run" else folder
        closed = []

        def act(rows: int) -> None:
            if rows != row or not there.exists():
                return
            if what == "removal":
                shutil.rmtree(there)
            elif what == "renaming":
                there.rename(there.with_name(f"{there.name}.away"))
            else:  # root may write whatever the permissions say, but not what is mounted read-only
                subprocess.run(["mount", "--bind", str(there), str(there)], check=True)
                closed.append(there)
                subprocess.run(["mount", "-o", "remount,bind,ro", str(there)], check=True)

        try:
            problem = work.train(folder, on_row=act)
        finally:
            for path in closed:
                subprocess.run(["umount", str(path)], check=True)
        if what == "closing" and victim == "run":
            lost = {trajectory_name(there.name)}
            for job in work.jobs(folder):
                if trajectory_name(job.name) not in lost:
                    work.require(RunDirectory(job.directory).status() == "done", f"{job.name} fell with {there.name}")
        del problem  # where nothing can be written, the closing table alone can tell
        folder.mkdir(exist_ok=True)
        work.complete(folder)
