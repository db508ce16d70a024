"""This machine: its processor, the versions of packages, and work spread over its cores."""

import contextlib
import ctypes
import importlib.metadata
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

# The packages whose versions decide a number, in the order a reader would ask for them.
REPORTED = (
    "cellcount-book",
    "torch",
    "torchvision",
    "fastai",
    "kornia",
    "numpy",
    "scipy",
    "scikit-image",
    "edt",
    "pandas",
)


def version(package: str) -> str | None:
    """Installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def processor() -> str:
    """Model name of the CPU and the cores this process may use."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return f"{model}, {cores()} cores"


def cores() -> int:
    """Return the number of cores that this process may use, by affinity and container limits."""
    import joblib

    return int(joblib.cpu_count())


def keep_freed_memory() -> None:
    """Let glibc keep the memory of freed arrays for the next ones, in this process.

    It would give back that of every large array, and each page of the next one is then a trap into
    the system: of a training step of the c-ResUnet in bfloat16 that is 8%. Nothing happens where
    there is no glibc.
    """
    trim_threshold, mmap_threshold = -1, -3
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(mmap_threshold, 2**25)  # the most that it takes
            mallopt(trim_threshold, 2**31 - 1)


@contextlib.contextmanager
def subnormals_as_zero() -> Iterator[None]:
    """Take numbers below 1e-38 for zero, in this thread for a while.

    Gradients of a network that collapses become so small. They cannot change a weight, but some
    processors take fifty times as long for a step with them (`make bench`). Threads that begin
    meanwhile keep it for good: torch's do when it first computes something large.
    """
    import torch

    before = torch.tensor(1e-45).item() == 0
    torch.set_flush_denormal(True)  # where a processor cannot, nothing happens
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def in_processes(calls: Iterable[Any], jobs: int) -> Iterator[Any]:
    """Yield the results of calls made with `joblib.delayed`, in order, from `jobs` processes.

    A generator of calls is read as they are made, at most two calls per process ahead. Each process
    has one thread, and ends when this one does. With one job all happens in this process.
    """
    import joblib

    if jobs == 1:
        yield from (function(*given, **named) for function, given, named in calls)
        return
    ended = {"initializer": end_with, "initargs": (os.getpid(),)}
    with joblib.parallel_config(backend="loky", n_jobs=jobs, inner_max_num_threads=1, **ended):
        yield from joblib.Parallel(return_as="generator", pre_dispatch="2*n_jobs")(calls)


def end_with(owner: int, first: int = signal.SIGKILL) -> None:
    """End this process, whatever it does, when the process `owner` has ended, however that went.

    A process that is killed cannot end those that it has started: they look after themselves. The
    signal `first` is sent at once, and five seconds later SIGKILL.
    """
    import psutil

    def watch() -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(owner)
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.5)
        os.kill(os.getpid(), first)
        time.sleep(5)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
