"""Records into two tidy files: a row per run, and a row per run and test picture."""

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellcount_lib.errors import DataError
from cellcount_lib.files import write_whole
from cellcount_lib.fingerprint import digest
from cellcount_lib.records import NOTEBOOK, Record, read_record
from cellcount_lib.runs.grid import Grid
from cellcount_lib.runs.status import State, kept_notebooks, states
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.protocols import protocol

if TYPE_CHECKING:
    import pandas as pd

RUN_COLUMNS = (
    "label",
    "seed",
    "run",
    "dataset",
    "protocol",
    "protocol_scale",
    "status",
    "reason",
    "cutoff",
    "cutoff_rule",
    "cutoff_edge",
    "seconds",
    "processor",
    "gpu",
    "torch",
    "finished",
    "data",
    "code",
)
IMAGE_KEYS = ("image", "status", "n_true", "n_pred", "tp", "fp", "fn")
SEP = "\n"
FOLDER = r'folder:(?:[^/"+\\\s]*/)+'  # up to the last part of a path


@dataclass(frozen=True, eq=False)
class Results:
    """What is known of a grid's runs.

    Attributes
    ----------
    runs : DataFrame
        `RUN_COLUMNS`, ``lr`` where networks were trained, then every score of `pooling.pooled` and
        ``mae_objects``.
    images : DataFrame
        ``run`` and the per-picture rows of `protocols.Protocol.score`.
    missing : list of str
        Ids of runs without a usable record, with the reason.
    """

    runs: "pd.DataFrame"
    images: "pd.DataFrame"
    missing: list[str]


def collect(grid: Grid, folder: Path, *, root: Path | None = None) -> Results:
    """Read the records of a grid.

    A failed run keeps its row without scores. A stale run counts as missing: its numbers are of
    other code or data. A run that is not in the folder counts with its kept notebook.
    """
    import pandas as pd

    kept = kept_notebooks(folder.name)
    by_id = {state.run.id: state for state in states(grid.runs, folder, root=root, kept=kept)}
    runs, images, missing = [], [], []
    for row in grid.rows:
        for run in row.runs:
            state = by_id[run.id]
            if state.record is None or state.state in ("missing", "stale"):
                missing.append(f"{run.id}: {state.state} ({state.why})")
                continue
            runs.append(run_row(row.label, state))
            images += [{"run": run.id, **image} for image in state.record.images]
    return Results(pd.DataFrame(runs), pd.DataFrame(images), missing)


def run_row(label: str, state: State) -> dict[str, Any]:
    """Make the tidy row of a run."""
    record = state.record
    assert record is not None
    known = {
        "label": label,
        "seed": record.parameters["seed"],
        "run": state.run.id,
        "dataset": public_name(str(record.parameters["dataset"])),
        "protocol": record.protocol,
        "protocol_scale": record.protocol_scale,
        "status": record.status,
        "reason": without_paths(record.reason),
        "cutoff": record.cutoff,
        "cutoff_rule": record.choice.get("rule", ""),
        "cutoff_edge": record.choice.get("edge", ""),
        "seconds": record.seconds.get("training", record.seconds.get("total")),
        "processor": record.machine["processor"],
        "gpu": record.machine["gpu"],
        "torch": record.versions.get("torch"),
        "finished": record.finished,
        "data": (record.identity["data"] or "")[:12],
        "code": _code(record),
    }
    if record.lr is not None:
        known["lr"] = record.lr
    return known | (scores(record.table(), record.protocol) if record.images else {})


def public_name(dataset: str) -> str:
    """Return a dataset's name without the place of a folder on somebody's disk.

    Examples
    --------
    >>> public_name("patches:5:folder:/home/me/cells"), public_name("simulated:nuclei")
    ('patches:5:folder:cells', 'simulated:nuclei')
    """
    return re.sub(FOLDER, "folder:", dataset)


def _code(record: Record) -> str:
    return digest(dict(record.identity["code"]))[:12]


def scores(rows: "pd.DataFrame", protocol_name: str) -> dict[str, float]:
    """Pool per-picture rows, and the counting error of the objects there really are.

    Under the released rule of 2023 ``mae`` compares two numbers that are no counts; ``mae_objects``
    compares predicted with true objects under every protocol.
    """
    ruler = protocol(protocol_name)
    found: dict[str, float] = dict(pooled(rows, mpe=ruler.mpe))
    found["mae_objects"] = found["mae"]
    if ruler.count == "released":
        found["mae_objects"] = float((rows["n_objects_pred"] - rows["n_objects_true"]).abs().mean())
    return found


def write_results(results: Results, folder: Path, name: str) -> None:
    """Write both tidy files, each whole or not at all."""
    write_whole(folder / f"{name}.csv", to_csv(results.runs))
    write_whole(folder / f"{name}-images.csv", to_csv(results.images))


def to_csv(table: "pd.DataFrame") -> str:
    """Return CSV with all digits that a number has."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator=SEP)
    rows.writerow(table.columns)
    for row in table.itertuples(index=False):
        rows.writerow([_cell(value) for value in row])
    return text.getvalue()


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    return value


def read_results(folder: Path, name: str) -> Results:
    """Read what `write_results` wrote."""
    import pandas as pd

    paths = folder / f"{name}.csv", folder / f"{name}-images.csv"
    for path in paths:
        if not path.exists():
            raise DataError(
                f"{path}: expected collected results; make them: cellcount tables {name}"
            )
    runs, images = (
        pd.read_csv(path, dtype=str, keep_default_na=False).apply(_typed) for path in paths
    )
    return Results(runs, images, [])


TEXTS = {*RUN_COLUMNS, "image", "status"} - {"seed", "protocol_scale", "cutoff", "seconds"}


def _typed(column: "pd.Series[str]") -> "pd.Series[Any]":
    """Make numbers of a column of text, to the last digit; an empty cell is no number."""
    import pandas as pd

    if column.name in TEXTS:
        return column
    if all(value.lstrip("-").isdigit() for value in column):
        return column.astype("int64")
    numbers = [float(value) if value else float("nan") for value in column]
    return pd.Series(numbers, index=column.index, name=column.name)


def keep_notebooks(grid: Grid, folder: Path, out: Path) -> int:
    """Copy the executed notebooks of a grid without their pictures; return how many.

    Pictures of real data may not travel, and those of simulated data weigh more than all else:
    each is replaced by a line that says so. Text, tables and the record stay. What another table
    has kept, or an earlier collection on another machine, is taken from there.
    """
    number = 0
    kept = kept_notebooks(folder.name)
    for state in states(grid.runs, folder, kept=kept):
        path, place = state.folder / NOTEBOOK, out / f"{state.run.id}.ipynb"
        if state.state == "kept":
            path = next(p for p in sorted(kept.glob(f"*/{place.name}")) if _same(p, state.record))
        if path.exists():
            notebook = json.loads(path.read_text())
            small = notebook if state.state == "kept" else lean(notebook)
            write_whole(place, json.dumps(small, separators=(",", ":"), sort_keys=True) + SEP)
            number += 1
    return number


def _same(path: Path, record: Record | None) -> bool:
    try:
        return read_record(path) == record
    except DataError:
        return False


def lean(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """Return a notebook without pictures, warnings, timings, and places on a disk."""
    cells = []
    for cell in notebook["cells"]:
        cell = dict(cell)
        tags = cell["metadata"].get("tags", [])
        cell["metadata"] = {"tags": tags} if tags else {}
        if "injected-parameters" in tags:
            cell["source"] = _without_places(cell["source"])
        if cell["cell_type"] == "code":
            said = [o for o in cell["outputs"] if o.get("name") != "stderr"]
            cell["outputs"] = [_without_picture(output) for output in said]
        cells.append(cell)
    metadata = {k: notebook["metadata"][k] for k in ("kernelspec", "language_info")}
    metadata["language_info"] = {"name": "python"}
    found = json.dumps({**notebook, "cells": cells, "metadata": metadata})
    made: dict[str, Any] = json.loads(re.sub(FOLDER, "folder:", found))
    return made


def _without_places(source: str | Sequence[str]) -> str:
    lines = "".join(source).splitlines()
    places = ("out =", "root =", "run_folder =")
    return SEP.join(line for line in lines if not line.startswith(places))


def without_paths(text: str) -> str:
    """Shorten paths to their last part: where something lay on a disk is nobody's business.

    Examples
    --------
    >>> without_paths("DataError: /home/me/data/a.png: it is empty")
    'DataError: a.png: it is empty'
    """
    return re.sub(r"(?<![\w.])/(?:[^\s/:'\"]+/)+", "", text)


def _without_picture(output: Mapping[str, Any]) -> dict[str, Any]:
    if output["output_type"] == "error":
        return {**output, "evalue": without_paths(output["evalue"]), "traceback": []}
    data = output.get("data", {})
    if not any(kind.startswith("image/") for kind in data):
        return dict(output)
    size = data.get("text/plain", "a figure")
    text = f"{''.join(size)}: left out of the kept notebook; run it to see the figure"
    return {"output_type": "display_data", "metadata": {}, "data": {"text/plain": text}}
