"""Records: what a run leaves behind, so that a table can be made without it.

``record.json`` lies beside the executed notebook, is written last and whole, and says that the run
is over: completed, collapsed (its network finds nothing, or its loss is no longer a number) or
failed (an error ended it). The same record is an output of the notebook, so that the notebook alone
is enough. A folder without a record is an interrupted run.

Taught in: 03_one_experiment
"""

import json
import os
import platform
import resource
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from cellcount_lib.errors import DataError
from cellcount_lib.files import write_whole
from cellcount_lib.machine import REPORTED, processor, version

VERSION = 1
STATUSES = ("completed", "collapsed", "failed")
RECORD, NOTEBOOK, IMAGES = "record.json", "notebook.ipynb", "images.csv"
MIME = "application/vnd.cellcount.record+json"
SCHEMA = Path(__file__).with_name("record.schema.json")


@dataclass(frozen=True)
class Record:
    """What a run was, where it ran, and what it gave."""

    status: str  # of `STATUSES`
    reason: str  # why it collapsed or failed, or stopped early; else empty
    chapter: str  # name of the notebook that was executed
    parameters: Mapping[str, Any]
    identity: Mapping[str, Any]  # hashes of parameters, chapter, data and code: `runs.identity`
    protocol: str
    protocol_scale: float | None
    cutoff: float | None
    scores: Mapping[str, Any]  # of the test pictures together; empty where the run failed
    images: list[dict[str, Any]]  # the same per test picture
    history: list[dict[str, Any]]  # one row per epoch
    seconds: Mapping[str, float]  # data, training, evaluation, total
    started: str  # UTC, ISO 8601, as `finished`
    lr: float | None = None  # learning rate of a network, the largest of its schedule
    # how the cutoff came about, as `cutoff.Choice` says it; empty without one, and in old records
    choice: Mapping[str, Any] = field(default_factory=dict)
    finished: str = field(default_factory=lambda: now())
    versions: Mapping[str, Any] = field(default_factory=lambda: versions())
    machine: Mapping[str, Any] = field(default_factory=lambda: machine())
    peak_mb: float = field(default_factory=lambda: peak_mb())
    version: int = VERSION

    def table(self) -> pd.DataFrame:
        """Return the rows per picture, as `protocols.Protocol.score` gives them."""
        return pd.DataFrame(self.images)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """Show the record in a notebook: a line for the reader, all of it for the collector."""
        return {"text/plain": self.summary(), MIME: as_json(self)}

    def summary(self) -> str:
        """Return the line that a reader wants to see."""
        if self.status == "failed":
            return f"failed: {self.reason}"
        what = f"{self.status}{': ' + self.reason if self.reason else ''}; {self.protocol}: "
        if not self.scores:
            return what + "no test pictures"
        how = "; ".join(filter(None, [self.choice.get("rule"), self.choice.get("note")]))
        return what + (
            f"F1 {self.scores['f1']:.3f}, mean absolute error {self.scores['mae']:.2f} on "
            f"{self.scores['n_images']} test pictures, cutoff {self.cutoff}"
            f"{f' ({how})' if how else ''}"
        )


def as_json(record: Record) -> dict[str, Any]:
    """Return the record as JSON values; NaN becomes null."""
    return _plain(asdict(record))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and value != value:
        return None
    return value


def write_record(folder: Path, record: Record) -> None:
    """Check a record against the schema and write it, whole or not at all."""
    values = as_json(record)
    check(values, "record")
    write_whole(folder / RECORD, json.dumps(values, indent=1) + "\n")


def read_record(path: Path) -> Record:
    """Read a record from ``record.json``, or from an executed notebook."""
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        raise DataError(f"{path}: expected a record, found nothing there") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected a record, the file cannot be read: {error}") from error
    if path.suffix == ".ipynb":
        values = _in_notebook(path, values)
    check(values, str(path))
    return Record(**values)


def _in_notebook(path: Path, notebook: Mapping[str, Any]) -> Any:
    outputs = [out for cell in notebook["cells"] for out in cell.get("outputs", ())]
    records = [out["data"][MIME] for out in outputs if MIME in out.get("data", {})]
    if not records:
        raise DataError(f"{path}: expected an executed notebook with a record, found none in it")
    return records[-1]


def check(values: Any, name: str) -> None:
    """Check JSON values against the schema of records."""
    from jsonschema.exceptions import best_match

    if isinstance(values, dict) and values.get("version") != VERSION:
        raise DataError(
            f"{name}: expected a record of version {VERSION}, found {values.get('version')!r}; "
            "run it again"
        )
    if error := best_match(_validator().iter_errors(values)):
        where = "/".join(str(part) for part in error.absolute_path) or "the record"
        raise DataError(f"{name}: {where}: {error.message}")


@lru_cache(maxsize=1)
def _validator() -> Any:
    """Return what checks records, once: to check the schema itself takes longer than a record."""
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(schema())
    return Draft202012Validator(schema())


@lru_cache(maxsize=1)
def schema() -> dict[str, Any]:
    """Return the JSON Schema of records."""
    return json.loads(SCHEMA.read_text())


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def versions() -> dict[str, str | None]:
    """Return the versions that decide a number."""
    return {"python": platform.python_version(), **{name: version(name) for name in REPORTED}}


def machine() -> dict[str, Any]:
    """Return where this runs, and with how many threads."""
    gpu = threads = None
    if "torch" in sys.modules:
        import torch

        threads = torch.get_num_threads()
        if torch.cuda.is_available():
            gpu = torch.cuda.get_device_name()
    return {
        "processor": processor(),
        "threads": threads,
        "gpu": gpu,
        "system": platform.system(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


def peak_mb() -> float:
    """Return the peak memory of this process in MB."""
    status = Path("/proc/self/status")
    if status.exists():
        # What getrusage gives is inherited from whoever started the process.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
