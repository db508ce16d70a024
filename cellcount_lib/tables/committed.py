"""The committed results, which chapters show: of a clone, or of the installation."""

import json
import re
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from cellcount_lib.errors import DataError, unknown_name
from cellcount_lib.runs.grid import project
from cellcount_lib.runs.status import RUNS
from cellcount_lib.tables.collect import Results, read_results

SCALES = ("study", "laptop")  # profiles with committed tables, the longest training first
INSTALLED = Path("share", "cellcount", "results")
NOTEBOOK_LINK = re.compile(rf'href="({RUNS}/[^"]+)"')


@dataclass(frozen=True)
class Committed:
    """A collected table; a notebook shows it as the book does."""

    name: str
    profile: str
    folder: Path  # where its files lie

    @cached_property
    def results(self) -> Results:
        """Rows per run, and per run and test picture."""
        return read_results(self.folder, self.name)

    @cached_property
    def plan(self) -> Mapping[str, Any]:
        """What the table was made of: grid, seeds, dataset, titles of columns, published values."""
        return json.loads((self.folder / f"{self.name}.json").read_text())

    @cached_property
    def published(self) -> pd.DataFrame:
        """The published values, a row per label; empty where nothing was published."""
        return pd.DataFrame.from_dict(self.plan["published"], orient="index")

    def __repr__(self) -> str:
        return f"table {self.name!r}, profile {self.profile!r}: {len(self.results.runs)} runs"

    def _repr_html_(self) -> str:
        """Return the table, its links leading from chapters/ to the kept notebooks."""
        text = (self.folder / f"{self.name}.html").read_text()
        text = NOTEBOOK_LINK.sub(rf'href="../results/{self.profile}/\1"', text)
        return f'<div id="table-{self.name}">{text}</div>'


def committed(profile: str | None = None, folder: Path | None = None) -> list[str]:
    """Return the names of the tables that are committed: for a profile, or for any of `SCALES`.

    `folder` is that of the results, if not of the clone or of the installation.
    """
    folder = folder or results_folder()
    profiles = SCALES if profile is None else (profile,)
    return sorted({path.stem for name in profiles for path in (folder / name).glob("*.json")})


def table(name: str, profile: str | None = None, folder: Path | None = None) -> Committed:
    """Return a committed table: of a profile, or the longest trained one that lacks no run.

    Where all lack runs it is the shortest trained one, which lacks the fewest.
    """
    folder = folder or results_folder()
    profiles = SCALES if profile is None else (profile,)
    found = [
        Committed(name, scale, folder / scale)
        for scale in profiles
        if (folder / scale / f"{name}.json").is_file()
    ]
    if not found:
        of = "" if profile is None else f" of profile {profile!r}"
        raise unknown_name(f"table{of}", name, committed(profile, folder))
    return next((made for made in found if not made.plan["missing"]), found[-1])


def results_folder() -> Path:
    """Return the folder of the committed results: of the clone, else of the installation."""
    try:
        folder = project() / "results"
    except DataError:
        folder = Path(sysconfig.get_path("data")) / INSTALLED
    if not folder.is_dir():
        raise DataError(
            f"{folder}: expected the committed results there; work in a clone of the repository, "
            "or install the package again"
        )
    return folder
