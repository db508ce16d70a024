"""Records into two tidy files: a row per run, and a row per run and test picture."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cellcount_lib.errors import DataError
from cellcount_lib.fingerprint import digest
from cellcount_lib.records import Record
from cellcount_lib.runs.grid import Grid, Run
from cellcount_lib.runs.status import State
from cellcount_lib.scoring.instances import INSTANCES
from cellcount_lib.scoring.pixels import PIXELS
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.protocols import protocol
from cellcount_lib.tables.kept import Records, public_name, without_paths

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
IMAGE_COLUMNS = ("run", "image", "n_true", "n_pred", "tp", "fp", "fn", "status")
SEP = "\n"


@dataclass(frozen=True, eq=False)
class Results:
    """What is known of a grid's runs."""

    # `RUN_COLUMNS`, epochs and lr where networks were trained, scores of `pooled`, mae_objects
    runs: pd.DataFrame
    images: pd.DataFrame  # run, and the per-picture rows of `protocols.Protocol.score`
    missing: list[str]  # rows without a usable record, as `missing_run` names them


def collect(grid: Grid, states: Sequence[State]) -> Results:
    """Put the records of a grid together, from the states of its runs.

    A failed run keeps its row without scores. A stale run counts as missing: its numbers are of
    other code or data. A run that is not in the folder counts with its kept notebook.
    """
    by_id = {state.run.id: state for state in states}
    rows, missing = [], []
    for row in grid.rows:
        for run in row.runs:
            state = by_id[run.id]
            if state.record is None or state.state in ("missing", "stale"):
                why = f"{state.state} ({without_paths(state.why)})"
                missing.append(missing_run(row.label, run, why))
            else:
                rows.append((row.label, run.id, state.record))
    return _results(rows, missing)


def missing_run(label: str, run: Run, why: str) -> str:
    """Name a run that a table lacks, and why."""
    return f"{label}, seed {run.parameters['seed']}: {why}"


def again(results: Results, records: Records) -> Results:
    """Make the results of the same rows and runs again, from the kept records."""
    runs = zip(results.runs["label"], results.runs["run"], strict=True)
    return _results([(label, run, records(run)) for label, run in runs], results.missing)


def _results(rows: Sequence[tuple[str, str, Record]], missing: list[str]) -> Results:
    runs = pd.DataFrame([run_row(*row) for row in rows], columns=None if rows else RUN_COLUMNS)
    by_run = {run: record.images for _, run, record in rows}
    images = pd.DataFrame([{"run": run, **row} for run, found in by_run.items() for row in found])
    images = images.reindex(columns=_image_columns([str(name) for name in images]))
    # as whoever verifies what was written will read it
    return Results(from_csv(to_csv(runs)), from_csv(to_csv(images)), missing)


def _image_columns(there: Sequence[str]) -> list[str]:
    """Return the columns of the per-picture rows in the order of `protocols.Protocol.score`."""
    matchings = [name[3:] for name in sorted(there) if name.startswith("tp_")]
    further = [f"{kind}_{name}" for name in matchings for kind in ("tp", "fp", "fn")]
    known = [*further, *PIXELS, *INSTANCES, "n_objects_true", "n_objects_pred"]
    others = sorted({*there} - {*IMAGE_COLUMNS, *known})
    return [*IMAGE_COLUMNS, *(name for name in (*known, *others) if name in there)]


def run_row(label: str, run: str, record: Record) -> dict[str, Any]:
    """Make the tidy row of a run."""
    known = {
        "label": label,
        "seed": record.parameters["seed"],
        "run": run,
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
        "code": digest(dict(record.identity["code"]))[:12],
    }
    if record.history:
        known["epochs"] = len(record.history)
    if record.lr is not None:
        known["lr"] = record.lr
    return known | (scores(record.table(), record.protocol) if record.images else {})


def scores(rows: pd.DataFrame, protocol_name: str) -> dict[str, float]:
    """Pool per-picture rows, and the counting error of the objects there really are.

    Under the released rule of 2023 ``mae`` compares two numbers that are no counts; ``mae_objects``
    compares predicted with true objects under every protocol.
    """
    ruler = protocol(protocol_name)
    values: dict[str, float] = dict(pooled(rows, mpe=ruler.mpe))
    values["mae_objects"] = values["mae"]
    if ruler.count == "released":
        errors = (rows["n_objects_pred"] - rows["n_objects_true"]).abs()
        values["mae_objects"] = float(errors.mean())
    return values


def computed_on(runs: "pd.DataFrame") -> "pd.Series[str]":
    """Say of every run what may change its digits: machine, version of torch, version of the data.

    The data is named where a table has the same dataset in several versions.
    """
    machine = runs["gpu"].where(runs["gpu"] != "", runs["processor"])
    versions = runs.groupby("dataset")["data"].transform("nunique")
    data = ("; data " + runs["data"]).where(versions > 1, "")
    return machine + "; torch " + runs["torch"] + data


def to_csv(table: pd.DataFrame) -> str:
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
    """Read the tidy files of a table."""
    paths = folder / f"{name}.csv", folder / f"{name}-images.csv"
    for path in paths:
        if not path.exists():
            raise DataError(
                f"{path}: expected collected results; make them: cellcount tables {name}"
            )
    runs, images = (from_csv(path.read_text()) for path in paths)
    return Results(runs, images, [])


def from_csv(text: str) -> pd.DataFrame:
    """Read what `to_csv` wrote."""
    return pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False).apply(_typed)


TEXTS = {*RUN_COLUMNS, "image", "status"} - {"seed", "protocol_scale", "cutoff", "seconds"}


def _typed(column: "pd.Series[str]") -> "pd.Series[Any]":
    """Make numbers of a column of text, to the last digit; an empty cell is no number."""
    if column.name in TEXTS:
        return column
    if all(value.lstrip("-").isdigit() for value in column):
        return column.astype("int64")
    numbers = [float(value) if value else float("nan") for value in column]
    return pd.Series(numbers, index=column.index, name=column.name)
