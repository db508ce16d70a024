"""What this machine has, and what each job still lacks: ``cellcount doctor``."""

import importlib.metadata
import importlib.util
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from cellcount_lib.machine import REPORTED, processor, version


@dataclass(frozen=True)
class Job:
    """Something a person wants to do, and what it needs."""

    name: str
    command: str
    modules: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    extra: str = ""


JOBS = (
    Job("use the library and the simulator", "cellcount simulate", ("numpy", "skimage", "edt")),
    Job("download a dataset", "cellcount download", ("requests", "tqdm")),
    Job("count cells", "cellcount predict", ("onnxruntime", "skimage", "edt")),
    Job(
        "count for a laboratory",
        "cellcount serve",
        ("fastapi", "uvicorn", "argon2", "fastapi_offline"),
        (),
        "serve",
    ),
    Job(
        "read CZI, ND2 and LIF",
        "cellcount predict",
        ("pylibCZIrw", "nd2", "liffile"),
        (),
        "microscopy",
    ),
    Job("train networks", "cellcount train", ("torch", "fastai", "kornia"), (), "train"),
    Job("export networks", "cellcount export", ("onnx", "onnxscript", "torch"), (), "export"),
    Job(
        "run the benchmark",
        "cellcount run",
        ("papermill", "snakemake", "jsonschema", "ipykernel"),
        (),
        "run",
    ),
    Job("render the book", "make book", ("jupyter_book", "papermill"), ("make",), "book"),
    Job("run the checks", "make test", ("pytest", "ruff", "mypy"), ("make",), "dev"),
    Job("run on a SLURM cluster", "sbatch", ("snakemake",), ("sbatch", "squeue"), "hpc"),
)


def missing_for(job: Job) -> list[str]:
    """List what a job lacks on this machine, and what to do about it."""
    modules = [m for m in job.modules if importlib.util.find_spec(m) is None]
    programs = [p for p in job.programs if shutil.which(p) is None]
    todo = []
    if modules:
        target = f"cellcount-book[{job.extra}]" if job.extra else "cellcount-book"
        todo.append(f"{', '.join(modules)} (pip install '{target}')")
    todo += [f"the program {p}" for p in programs]
    return todo


def accelerators() -> list[str]:
    """Name and memory of every GPU that torch can use (imports torch: about three seconds)."""
    import torch

    cards = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    names = [f"{card.name}, {card.total_memory / 2**30:.0f} GiB" for card in cards]
    return [*names, *(["Apple GPU (mps)"] if torch.backends.mps.is_available() else [])]


def gib(size: float) -> str:
    """Bytes as GiB with one decimal."""
    return f"{size / 2**30:.1f} GiB"


def report(root: Path) -> list[tuple[str, list[tuple[str, str]]]]:
    """Collect sections of (name, value) lines; `root` is the folder that holds the datasets."""
    import psutil

    from cellcount_lib.data.download import present

    memory = psutil.virtual_memory()
    disk = shutil.disk_usage(next(p for p in (root, *root.resolve().parents) if p.exists()))
    has_torch = importlib.util.find_spec("torch") is not None
    gpus = accelerators() if has_torch else ["unknown without torch"]
    machine = [
        ("Python", f"{platform.python_version()} ({sys.executable})"),
        ("System", f"{platform.system()} {platform.release()}, {platform.machine()}"),
        ("Processor", processor()),
        ("GPU", "; ".join(gpus) or "none: training uses the processor"),
        ("Memory", f"{gib(memory.available)} free of {gib(memory.total)}"),
        ("Disk", f"{gib(disk.free)} free at {root.resolve()}"),
    ]
    packages = [(name, version(name) or "not installed") for name in REPORTED]
    jobs = []
    for job in JOBS:
        todo = missing_for(job)
        jobs.append((job.name, f"missing: {'; '.join(todo)}" if todo else f"ready ({job.command})"))
    return [
        ("Machine", machine),
        ("Packages", packages),
        (f"Datasets in {root}", list(present(root).items())),
        ("What you can do here", jobs),
    ]
