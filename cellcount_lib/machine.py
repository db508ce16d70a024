"""This machine: the cores that a process may use, its processor, and the versions of packages."""

import importlib.metadata
import platform
from pathlib import Path

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
    import joblib  # type: ignore[import-untyped]

    return int(joblib.cpu_count())
