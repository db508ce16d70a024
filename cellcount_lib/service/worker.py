"""The process that counts, and trains: it takes one job after the other.

    python -m cellcount_lib.service.worker FOLDER PROCESS ATTEMPTS

There is one per folder, which holds a lock. So a job that is said to be running when it starts was
left by another that was killed: it is taken up again, and pictures that were counted are not
counted twice (`prediction.run`). A job whose process ended several times without getting further
has failed.
"""

import dataclasses
import json
import os
import sys
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cellcount_lib.errors import CellcountError, DataError
from cellcount_lib.machine import cores, end_with
from cellcount_lib.prediction.models import open_models
from cellcount_lib.prediction.reading import parse_channels
from cellcount_lib.prediction.run import (
    RESULT_FOLDERS,
    Counting,
    find_pictures,
    predict_files,
)
from cellcount_lib.prediction.sizes import AUTO
from cellcount_lib.service.jobs import TABLES, Options, models_of
from cellcount_lib.service.labelstudio import model_name
from cellcount_lib.service.locking import locked
from cellcount_lib.service.retrain import CHECKPOINT, trained, write_dataset
from cellcount_lib.service.store import Store, now

WAIT = 0.2  # seconds between two looks for a job
ARCHIVE = TABLES[-1]


class Cancelled(Exception):
    """Somebody has cancelled the job, or removed it."""


def main() -> None:
    """Work until the process that has started this one ends."""
    root, owner, attempts = sys.argv[1:]
    end_with(int(owner))
    store = Store(Path(root))
    with locked(store.root / "worker.lock"):
        with store.change() as db:
            db.execute("update jobs set state = 'queued' where state = 'running'")
        while True:
            job = take(store, attempts=int(attempts))
            if job is None:
                time.sleep(WAIT)
            else:
                work(store, job)


def take(store: Store, *, attempts: int) -> dict[str, Any] | None:
    """Take the job that waits longest; one that was tried often and gets no further has failed."""
    with store.change() as db:
        found = db.execute("select * from jobs where state = 'queued' order by id").fetchone()
        if found is None:
            return None
        kept = kept_of(store, found)
        tried = found["attempts"] if kept <= found["furthest"] else 0
        if tried >= attempts:
            said = f"the process ended {tried} times without getting further"
            _end(db, found["id"], "failed", error=said)
            return None
        query = (
            "update jobs set state = 'running', attempts = ?, furthest = ?, done = 0 where id = ?"
        )
        db.execute(query, (tried + 1, kept, found["id"]))
        return dict(found)


def kept_of(store: Store, job: Mapping[str, Any]) -> int:
    """Return how far a job is, by what it has left: counted pictures, or when an epoch ended."""
    folder = store.results(job["project"], job["id"])
    if job["kind"] == "train":
        checkpoint = folder / "run" / CHECKPOINT
        return int(checkpoint.stat().st_mtime) if checkpoint.is_file() else 0
    return len([*(folder / "state").glob("[!.]*.json")])


def work(store: Store, job: dict[str, Any]) -> None:
    """Count the pictures of a job, and say how it ended."""
    number = job["id"]
    try:
        totals = train(store, job) if job["kind"] == "train" else count(store, job)
    except Cancelled:
        return
    except (CellcountError, MemoryError, OSError) as error:
        with store.change() as db:
            _end(db, number, "failed", error=str(error) or "not enough memory")
        return
    with store.change() as db:
        _end(db, number, "done", **totals)


def count(store: Store, job: dict[str, Any]) -> dict[str, Any]:
    """Count the pictures of a job, and pack the results."""
    options = Options.model_validate_json(job["options"])
    out = store.results(job["project"], job["id"])
    # results name pictures as their owner does, without a folder
    os.chdir(store.project(job["project"]) / "pictures")
    names = json.loads(job["pictures"])
    if missing := [name for name in names if not Path(name).is_file()]:
        raise DataError(f"{missing[0]}: the picture was deleted before it was counted")
    pictures = find_pictures(names)
    jobs = min(cores(), len(pictures))
    models = open_models(models_of(store)[options.model], at_once=jobs)
    counting = Counting(
        models=tuple(model.name for model in models),
        channels=parse_channels(options.channels),
        pixel_size_um=options.pixel_size_um,
        cell_px=AUTO if options.cell_px is None else options.cell_px,
        threshold=options.threshold,
        protocol=options.protocol,
        formats=tuple(name for name in ("geojson", "rois") if getattr(options, name)),
    )
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        with store.change() as db:
            query = "update jobs set done = ? where id = ? and state = 'running'"
            if not db.execute(query, (done, job["id"])).rowcount:
                raise Cancelled

    total = predict_files(pictures, models, counting, out, jobs=jobs, advance=advance)
    pack(out)
    return dataclasses.asdict(total)


def train(store: Store, job: dict[str, Any]) -> dict[str, Any]:
    """Train on corrections; the model is there when the job is done."""
    out, number = store.results(job["project"], job["id"]), job["id"]
    out.mkdir(parents=True, exist_ok=True)
    names = json.loads(job["pictures"])
    write_dataset(out / "data", names, store.project(job["project"]))

    def look() -> None:
        """Stop if the job was cancelled."""
        row = store.row("select state from jobs where id = ?", number)
        if row is None or row["state"] != "running":
            raise Cancelled

    model = store.root / "models" / f"{model_name(job['project'], number)}.onnx"
    profile = json.loads(job["options"])["profile"]
    trained(out / "data", out / "run", model, profile, look=look)
    return {"planes": len(names)}


def pack(out: Path) -> None:
    """Write the archive of all results, whole or not at all."""
    part = out / f".{ARCHIVE}.part"
    paths = [out / name for name in TABLES if name != ARCHIVE]
    for kind in RESULT_FOLDERS:
        paths += sorted((out / kind).glob("[!.]*"))
    with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for path in paths:
            archive.write(path, path.relative_to(out))
    with part.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(part, out / ARCHIVE)


def _end(db: Any, job: int, state: str, *, error: str = "", **totals: Any) -> None:
    values = {"planes": None, "cells": None, "check": None, "failed": None} | totals
    query = (
        "update jobs set state = :state, ended = :ended, error = :error, planes = :planes, "
        "cells = :cells, to_check = :check, failed = :failed where id = :id and state in "
        "('queued', 'running')"
    )
    db.execute(query, values | {"state": state, "ended": now(), "error": error, "id": job})


if __name__ == "__main__":
    main()
