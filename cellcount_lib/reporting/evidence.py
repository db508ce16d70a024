"""What the answers of a checklist are taken from, and how an answer is put."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from cellcount_lib.data.datasets import Dataset, load
from cellcount_lib.data.manifest import Manifest, manifest
from cellcount_lib.errors import CellcountError, DataError
from cellcount_lib.reporting.known import Known


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the answers are taken from."""

    runs: Sequence[Known]  # of one design, by seed
    root: Path | None = None  # folder of the datasets
    unit: str | None = None  # column of index.csv: animal, slide, day
    counts: pd.DataFrame | None = None  # counts.csv of `cellcount predict`
    intervals: pd.DataFrame | None = None  # intervals.csv of `cellcount calibrate`

    @property
    def run(self) -> Known:
        """The first run: what all have in common, it has."""
        return self.runs[0]

    @cached_property
    def here(self) -> Dataset | None:
        """What has the dataset's name on this machine."""
        with suppress(CellcountError):
            return load(self.run.dataset, root=self.root)
        return None

    @cached_property
    def dataset(self) -> Dataset | None:
        """The dataset, if it is on this machine and still the one that the run saw."""
        same = self.here is not None and self.here.fingerprint == self.run.data
        return self.here if same else None

    @cached_property
    def manifest(self) -> Manifest | None:
        """What is known of the dataset wherever it is."""
        if self.dataset is not None:
            return self.dataset.manifest
        with suppress(CellcountError):
            return manifest(self.run.dataset)
        return None


def sentence(*parts: str) -> str:
    """Join what is not empty to sentences.

    Examples
    --------
    >>> sentence("a", "", "b.")
    'A. B.'
    """
    said = (part[0].upper() + part[1:].rstrip(".") + "." for part in parts if part)
    return " ".join(said)


def settings(values: Mapping[str, Any]) -> str:
    """List settings that say something, in their order.

    Examples
    --------
    >>> settings({"rotate": 15, "flip": True, "zoom": 0.0})
    'rotate 15, flip'
    """
    return ", ".join(k if v is True else f"{k} {v}" for k, v in values.items() if v)


def read_columns(path: Path, *columns: str) -> pd.DataFrame:
    """Read a table that another command wrote; these columns are needed."""
    try:
        table = pd.read_csv(path, dtype={"image": str})
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected a CSV table ({error})") from error
    if missing := [name for name in columns if name not in table]:
        raise DataError(f"{path}: expected columns {', '.join(columns)}, {missing} missing")
    return table
