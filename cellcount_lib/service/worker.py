"""The process that counts: it takes one job after the other.

    python -m cellcount_lib.service.worker FOLDER PROCESS ATTEMPTS

There is one per folder, which holds a lock. So a job that is said to be running when it starts was
left by another that was killed: it is taken up again, and pictures that were counted are not
counted twice (`prediction.run`). A job whose process ended several times at the same picture has
failed.
"""

import dataclasses
import json
import os
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

from cellcount_lib.errors import CellcountError, DataError
from cellcount_lib.machine import cores, end_with
from cellcount_lib.prediction.models import open_models
from cellcount_lib.prediction.reading import parse_channels
from cellcount_lib.prediction.run import (
    RESULT_FOLDERS,
    Counting,
    Totals,
    find_pictures,
    predict_files,
)
from cellcount_lib.prediction.sizes import AUTO
from cellcount_lib.service.jobs import TABLES, Options, models_of
from cellcount_lib.service.locking import locked
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
    """Take the job that waits longest; one that was tried too often ends as failed."""
    with store.change() as db:
        found = db.execute("select * from jobs where state = 'queued' order by id").fetchone()
        if found is None:
            return None
        if found["attempts"] >= attempts:
            said = (
                f"the process ended {found['attempts']} times at the same picture, number "
                f"{found['furthest'] + 1}"
            )
            _end(db, found["id"], "failed", error=said)
            return None
        query = "update jobs set state = 'running', attempts = attempts + 1, done = 0 where id = ?"
        db.execute(query, (found["id"],))
        return dict(found)


def work(store: Store, job: dict[str, Any]) -> None:
    """Count the pictures of a job, and say how it ended."""
    number = job["id"]
    try:
        total = count(store, job)
    except Cancelled:
        return
    except (CellcountError, MemoryError, OSError) as error:
        with store.change() as db:
            _end(db, number, "failed", error=str(error) or "not enough memory")
        return
    with store.change() as db:
        _end(db, number, "done", **dataclasses.asdict(total))


def count(store: Store, job: dict[str, Any]) -> Totals:
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
            query = (
                "update jobs set done = :done, furthest = max(furthest, :done), "
                "attempts = iif(:done > furthest, 0, attempts) where id = :id and state = 'running'"
            )
            if not db.execute(query, {"done": done, "id": job["id"]}).rowcount:
                raise Cancelled

    total = predict_files(pictures, models, counting, out, jobs=jobs, advance=advance)
    pack(out)
    return total


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
