"""Many runs: a plan for Snakemake, which schedules them here or on SLURM.

Snakemake decides what runs when; what a run is, and whether it is there, is ours. A plan holds the
runs that are to be executed; their records are the targets. Whoever ends this process ends the
runs and Snakemake: they look for it (`machine.end_with`).
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from cellcount_lib.data.cache import VARIABLE as CACHE
from cellcount_lib.errors import InputError
from cellcount_lib.files import write_whole
from cellcount_lib.fingerprint import digest
from cellcount_lib.machine import cores
from cellcount_lib.records import NOTEBOOK, RECORD
from cellcount_lib.runs.execute import OWNER, THREADS
from cellcount_lib.runs.grid import Run, project
from cellcount_lib.runs.status import State, chapter_of

PLANS = ".plans"


def to_do(states: Sequence[State], *, refresh: bool = False) -> list[State]:
    """Return the runs to execute: those that are missing or have failed, and with `refresh` stale.

    A run whose needed run is executed again is executed again, too. A kept run is executed only
    where another one needs its weights or heatmaps.
    """
    wanted = {"missing", "failed"} | ({"stale"} if refresh else set())
    chosen: set[str] = set()
    for state in states:
        again = state.state != "kept" and any(need in chosen for need in state.run.needs)
        if state.state in wanted or again:
            chosen.add(state.run.id)
    for state in reversed(states):  # what is needed stands before what needs it
        if state.run.id in chosen:
            needed = set(state.run.needs)
            chosen |= {s.run.id for s in states if s.run.id in needed and s.state == "kept"}
    return [state for state in states if state.run.id in chosen]


def write_plan(chosen: Sequence[State], folder: Path, *, root: Path | None) -> Path:
    """Write the plan that the Snakefile reads; old records are put aside, so that they are made."""
    runs = {}
    for state in chosen:
        run = state.run
        record = state.folder / RECORD
        if record.exists():
            os.replace(record, state.folder / f"previous-{RECORD}")
            # a stale or failed run begins anew; an interrupted one has no record and goes on
            (state.folder / "checkpoint.safetensors").unlink(missing_ok=True)
        runs[run.id] = {
            "chapter": str(chapter_of(run)),
            "parameters": dict(run.parameters),
            "folder": str(state.folder),
            # for Snakemake, which fills in what stands between braces: no word of the reader's
            "record": f"{run.id}/{RECORD}",
            "notebook": f"{run.id}/{NOTEBOOK}",
            "needs": [n for n in run.needs if n in {s.run.id for s in chosen}],
            "places": _places(run, state.folder, root),
        }
    path = folder / PLANS / f"{int(time.time())}-{os.getpid()}.json"
    write_whole(path, json.dumps({"runs": runs}, indent=1))
    return path


def _places(run: Run, folder: Path, root: Path | None) -> dict[str, Any]:
    places: dict[str, Any] = {"out": str(folder)}
    if root is not None:
        places["root"] = str(root.resolve())
    if run.parameters.get("run"):
        places["run_folder"] = str(folder.parent / run.parameters["run"])
    return places


def snakemake(plan: Path, *, jobs: int | None = None, slurm: Path | None = None) -> int:
    """Execute a plan; return Snakemake's exit code.

    `jobs` is the number of runs at a time: one by default, or what the profile of a cluster says.
    With `slurm`, the folder of such a profile, runs become SLURM jobs.
    """
    if find_spec("snakemake") is None:
        raise InputError("snakemake is missing; install it with: pip install 'cellcount-book[run]'")
    work = plan.parent.parent
    command = [
        *(sys.executable, "-m", "cellcount_lib.runs.leash", str(os.getpid())),
        *("--snakefile", str(project() / "workflow" / "Snakefile")),
        *("--directory", str(work), "--config", f"plan={plan.relative_to(work)}"),
        # a record is written whole: one that a killed run has left is good, and stays
        *("--keep-going", "--keep-incomplete", "--rerun-incomplete", "--rerun-triggers", "mtime"),
        *("--nolock", "--quiet", "all"),
    ]
    if slurm is None:
        jobs = jobs or 1
        command += ["--cores", str(jobs)]
    else:
        name = f"cellcount{digest(str(work))[:8]}"
        if left := cancel_left(name):
            print(f"cancelled {left} jobs that an earlier, killed command had left in the queue")
        command += ["--workflow-profile", str(slurm.resolve()), "--executor", "slurm"]
        command += ["--slurm-jobname-prefix", name]
    if jobs is not None:
        command += ["--jobs", str(jobs)]
    environment = os.environ | {"PYTHONNOUSERSITE": "1"}
    environment.setdefault(CACHE, str(work.parent / ".pictures"))
    if slurm is None and jobs is not None:
        environment[OWNER] = str(os.getpid())
        # Runs beside each other share the cores; threads that wait for each other's cores crawl.
        share = max(1, cores() // jobs)
        environment[THREADS] = os.environ.get("OMP_NUM_THREADS") or str(share)
    log = plan.with_suffix(".log")
    with log.open("w") as file, _ended(command, environment, file) as process:
        code = process.wait()
    return code


def cancel_left(name: str) -> int:
    """Cancel the SLURM jobs whose names begin with `name`; return how many there were.

    A command that was killed could not cancel them, and a second job of the same run would write
    into the same folder.
    """
    asked = subprocess.run(
        ["squeue", "--me", "--noheader", "--format", "%i %j"], capture_output=True, text=True
    )
    lines = (line.split(maxsplit=1) for line in asked.stdout.splitlines())
    mine = [job for job, job_name in lines if job_name.startswith(name)]
    if mine:
        subprocess.run(["scancel", *mine], check=True)
    return len(mine)


@contextmanager
def _ended(command: list[str], environment: dict[str, str], log: Any) -> Iterator[psutil.Popen]:
    """Start Snakemake and make sure that all of it is over when the block is left, however."""
    process = psutil.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                before[number] = signal.signal(number, end)
    try:
        yield process
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if process.poll() is None:
            runs = process.children(recursive=True)
            process.send_signal(signal.SIGINT)  # Snakemake cancels its SLURM jobs
            for run in runs:
                with contextlib.suppress(psutil.NoSuchProcess):
                    run.terminate()
            for left in psutil.wait_procs([process, *runs], timeout=10)[1]:
                left.kill()
