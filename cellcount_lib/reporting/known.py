"""What is known of a run: of its record, or of what ``cellcount train`` left, in one shape."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pandas as pd

from cellcount_lib.errors import DataError, InputError
from cellcount_lib.records import RECORD, Record, read_record
from cellcount_lib.tables.kept import public_name, without_paths
from cellcount_lib.training.spec import Training

SUMMARY = "training.json"  # what `cellcount train` writes last


@dataclass(frozen=True, eq=False)
class Known:
    """A run as its files tell it. What is empty or None, they do not say."""

    name: str  # of the file or folder it was read from
    parameters: Mapping[str, Any]  # as asked for
    recipe: Mapping[str, Any]  # as resolved; empty for what is scored without training
    profile: Mapping[str, Any]
    status: str
    reason: str
    protocol: str
    protocol_scale: float | None
    cutoff: float | None
    choice: Mapping[str, Any]  # how the cutoff came about, as `cutoff.Choice` says it
    images: pd.DataFrame  # a row per test picture
    epochs: int | None  # that were trained
    lr: float | None
    seconds: Mapping[str, float]
    data: str | None  # fingerprint of the dataset
    scale: float | None = None  # at which the network sees pictures
    versions: Mapping[str, str | None] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    peak_mb: float | None = None
    record: Record | None = None

    @property
    def dataset(self) -> str:
        """Name of the dataset, as `datasets.load` takes it."""
        return str(self.parameters["dataset"])


def read_run(path: Path) -> Known:
    """Read a run from its folder, its record, its executed notebook, or its ``training.json``."""
    if path.is_dir():
        found = next((path / name for name in (RECORD, SUMMARY) if (path / name).exists()), None)
        if found is None:
            inside = ", ".join(sorted(p.name for p in path.iterdir())[:5]) or "nothing"
            raise DataError(f"{path}: expected {RECORD} or {SUMMARY} in the folder, found {inside}")
        path = found
    return _of_training(path) if path.name == SUMMARY else _of_record(path)


def read_runs(paths: Sequence[Path]) -> list[Known]:
    """Read runs that differ in nothing but their seed, in the order of the seeds."""
    runs = sorted(map(read_run, paths), key=lambda run: int(run.parameters["seed"]))
    first = runs[0]
    for run in runs[1:]:
        keys = {*first.parameters, *run.parameters}
        differ = sorted(k for k in keys if first.parameters.get(k) != run.parameters.get(k))
        if differ != ["seed"]:
            what = ", ".join(differ) or "nothing, not even the seed"
            raise InputError(
                f"{run.name}: expected another seed of {first.name} and nothing else to differ, "
                f"found {what}; give the runs of one design"
            )
    return runs


def _of_record(path: Path) -> Known:
    record = read_record(path)
    asked: dict[str, Any] = dict(record.parameters)
    recipe: Mapping[str, Any] = {}
    profile: Mapping[str, Any] = {}
    if "method" not in asked:
        names = {one.name for one in fields(Training)}
        resolved = Training(**{k: v for k, v in asked.items() if k in names}).resolved()
        recipe, profile = (dataclasses.asdict(part) for part in resolved)
    return Known(
        name=path.parent.name if path.name == RECORD else path.stem,
        parameters=asked,
        recipe=recipe,
        profile=profile,
        status=record.status,
        reason=without_paths(record.reason),
        protocol=record.protocol,
        protocol_scale=record.protocol_scale,
        cutoff=record.cutoff,
        choice=record.choice,
        images=record.table(),
        epochs=len(record.history) or None,
        lr=record.lr,
        seconds=record.seconds,
        data=record.identity["data"],
        scale=asked.get("scale"),
        versions=record.versions,
        machine=record.machine,
        peak_mb=record.peak_mb,
        record=record,
    )


def _of_training(path: Path) -> Known:
    beside = path.parent
    try:
        summary = json.loads(path.read_text())
        images, history = (
            pd.read_csv(beside / name, dtype={"image": str}) if (beside / name).exists() else None
            for name in ("images.csv", "history.csv")
        )
        settings = summary["settings"]
        return Known(
            name=beside.name,
            parameters=summary["asked"],
            recipe=settings["recipe"],
            profile=settings["profile"],
            status=summary["status"],
            reason=without_paths(summary["reason"]),
            protocol=summary["protocol"],
            protocol_scale=summary["protocol_scale"],
            cutoff=summary["threshold"],
            choice=summary["choice"],
            images=pd.DataFrame() if images is None else images,
            epochs=None if history is None else len(history),
            lr=settings["lr_used"],
            seconds=summary["seconds"],
            data=settings["fingerprint"],
            scale=settings["scale"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: expected the summary of a training, found {error!r}") from error


def named(text: object) -> str:
    """Return a dataset or a file as others may know it: without its place on somebody's disk.

    Examples
    --------
    >>> named("folder:/home/me/cells"), named("/home/me/model.safetensors"), named("nuclei")
    ('folder:cells', 'model.safetensors', 'nuclei')
    """
    return without_paths(public_name(str(text)))
