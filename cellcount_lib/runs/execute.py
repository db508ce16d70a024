"""One run: a chapter executed by papermill, in a process of its own, with a record at the end.

This process waits for the kernel: it imports torch only where something went wrong before.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellcount_lib.errors import DataError, InputError, unknown_name
from cellcount_lib.fingerprint import digest
from cellcount_lib.machine import end_with
from cellcount_lib.records import NOTEBOOK, RECORD, Record, now, read_record, write_record

OWNER = "CELLCOUNT_OWNER"  # number of the process that started the runs: with it, they end
THREADS = "CELLCOUNT_THREADS"  # of one run
OF_LIBRARIES = (  # what Snakemake sets to one
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS"),
    *("NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
)


@dataclass(frozen=True)
class Job:
    """A run with its place on this machine."""

    chapter: Path  # the notebook
    parameters: Mapping[str, Any]  # those that make the run what it is
    folder: Path  # where it leaves everything
    places: Mapping[str, Any]  # further parameters: ``out``, ``root``, ``run_folder``


def execute(job: Job) -> Record:
    """Execute a run and return its record; an error inside it becomes a record that says so."""
    check_parameters(job)
    started = now()
    start = time.perf_counter()
    job.folder.mkdir(parents=True, exist_ok=True)
    _drop_old_checkpoint(job)
    path = job.folder / RECORD
    path.unlink(missing_ok=True)
    try:
        with _gpu(job.folder.parent):
            _papermill(job)
        if not path.exists():
            raise DataError(f"{job.chapter.name} ended without leaving {path}")
        return read_record(path)
    except Exception as error:
        from cellcount_lib.runs.identity import identity_of

        record = Record(
            status="failed",
            reason=reason(error),
            chapter=job.chapter.stem,
            parameters=job.parameters,
            identity=identity_of(job.chapter, job.parameters, data=None),
            protocol=str(job.parameters.get("protocol", "")),
            protocol_scale=None,
            cutoff=None,
            scores={},
            images=[],
            history=[],
            seconds={"total": round(time.perf_counter() - start, 2)},
            started=started,
        )
        write_record(job.folder, record)
        return record


def check_parameters(job: Job) -> None:
    """Refuse parameters that the chapter does not have: papermill itself would only warn."""
    known = _parameter_names(job.chapter)
    for name in (*job.parameters, *job.places):
        if name not in known:
            raise unknown_name(f"parameter of {job.chapter.stem}", name, known)


def _parameter_names(chapter: Path) -> list[str]:
    import ast

    cells = json.loads(chapter.read_text())["cells"]
    tagged = [c for c in cells if "parameters" in c["metadata"].get("tags", ())]
    if len(tagged) != 1:
        raise InputError(f"{chapter}: expected one cell tagged 'parameters', found {len(tagged)}")
    tree = ast.parse("".join(tagged[0]["source"]))
    assigned = (node.targets[0] for node in tree.body if isinstance(node, ast.Assign))
    return [target.id for target in assigned if isinstance(target, ast.Name)]


def reason(error: BaseException) -> str:
    """Say in one line why a run failed: the error of the chapter, not papermill's report of it."""
    name, value = getattr(error, "ename", None), getattr(error, "evalue", None)
    if name is None:
        name, value = type(error).__name__, str(error)
    lines = str(value).strip().splitlines()
    return f"{name}: {lines[0] if lines else 'no message'}"


def _papermill(job: Job) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # where jsonschema finds this package it makes a grammar of web addresses, for two seconds
        sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
        import papermill

    os.environ.setdefault("CELLCOUNT_PROGRESS", "0")
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    # papermill fills in what stands between braces in a path
    chapter, notebook = (
        str(path).replace("{", "{{").replace("}", "}}")
        for path in (job.chapter, job.folder / NOTEBOOK)
    )
    papermill.execute_notebook(
        chapter,
        notebook,
        parameters={**job.parameters, **job.places},
        kernel_name="python3",
        progress_bar=False,
        log_output=False,
        cwd=str(job.chapter.parent),
        request_save_on_cell_execute=True,
    )


def _drop_old_checkpoint(job: Job) -> None:
    """Remove the checkpoint of an interrupted run that other code began: it cannot be continued."""
    path = job.folder / "checkpoint.safetensors"
    if not path.exists():
        return
    from safetensors import SafetensorError, safe_open

    from cellcount_lib.runs.identity import code_of

    try:
        with safe_open(path, framework="np") as file:
            began = json.loads(file.metadata()["about"])["settings"]["code"]
    except (SafetensorError, KeyError, TypeError, ValueError):
        return  # the training says what is wrong with it
    if began != digest(code_of(job.parameters)):
        print(f"{job.folder.name}: the code has changed since it was interrupted; it begins anew")
        path.unlink()


@contextmanager
def _gpu(folder: Path) -> Iterator[None]:
    """Take a GPU that no other run of this folder uses, if CUDA_VISIBLE_DEVICES names several."""
    import fcntl

    visible = [d for d in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if d]
    if len(visible) < 2:
        yield
        return
    while True:
        for device in visible:
            lock = (folder / f".gpu-{device}.lock").open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            os.environ["CUDA_VISIBLE_DEVICES"] = device
            try:
                yield
            finally:
                lock.close()
            return
        time.sleep(1)


def take_threads() -> None:
    """Use the cores that are this run's own: Snakemake tells every job to use one thread."""
    threads = os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get(THREADS)
    if threads:
        os.environ |= dict.fromkeys(OF_LIBRARIES, threads)


def main(plan: Path, run_id: str) -> int:
    """Execute one run of a plan that `launch` has written; 0 if it left a record."""
    if owner := os.environ.get(OWNER):
        end_with(int(owner))
    take_threads()
    values = json.loads(plan.read_text())
    asked = values["runs"][run_id]
    try:
        record = execute(
            Job(
                chapter=Path(asked["chapter"]),
                parameters=asked["parameters"],
                folder=Path(asked["folder"]),
                places=asked["places"],
            )
        )
    except Exception:
        traceback.print_exc(file=sys.stderr)
        return 1
    print(f"{run_id}: {record.summary()}")
    return 0
