"""Routes: the protocol that Label Studio speaks with what labels beforehand and learns.

Its tasks name pictures that are in the project of this service, too; nothing is fetched from
elsewhere. A prediction is the result of a job like any other, of one picture. A correction comes by
the webhook and is kept as a label image; when there are enough new ones, or somebody presses "Start
training", a job trains from the base model on all of them (`retrain`), and the model it makes is
the next version.

Label Studio gives the token as a password (basic authentication) or in the header of the webhook.
"""

import csv
import json
import time
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import numpy as np
from fastapi import APIRouter, HTTPException
from pydantic import BaseModel

from cellcount_lib.active.strategies import turn
from cellcount_lib.data.images import read_channels
from cellcount_lib.errors import CellcountError, DataError
from cellcount_lib.files import write_whole
from cellcount_lib.labels import labelimage
from cellcount_lib.labels.labelled import Labelled, Pictures, base_name
from cellcount_lib.labels.labelstudio import IMAGE, labelled, results
from cellcount_lib.service.access import Annotator, Number, TheSettings, TheStore, Viewer
from cellcount_lib.service.accounts import Caller
from cellcount_lib.service.jobs import Options
from cellcount_lib.service.projects import existing
from cellcount_lib.service.retrain import LEAST
from cellcount_lib.service.settings import Settings
from cellcount_lib.service.store import Store, noted, now

router = APIRouter(prefix="/label-studio/{project}", tags=["Label Studio"])

CONFIG = """<View>
  <Image name="image" value="$image" zoom="true"/>
  <PolygonLabels name="polygon" toName="image"><Label value="Cell"/></PolygonLabels>
</View>"""
PATIENCE = 80.0  # seconds; Label Studio waits for 100
CORRECTED = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED")
START = "START_TRAINING"  # what the button of Label Studio says


class SetUp(BaseModel):
    """What Label Studio says when a project is joined to a backend."""

    schema_: str | None = None
    model_config = {"alias_generator": lambda name: name.rstrip("_"), "extra": "ignore"}


class Tasks(BaseModel):
    """Pictures to label beforehand."""

    tasks: list[dict[str, Any]]


class Event(BaseModel):
    """What somebody has done in Label Studio."""

    action: str
    annotation: dict[str, Any] | None = None
    task: dict[str, Any] | None = None


def versions_of(store: Store, project: int) -> list[str]:
    """Return the models of a project: the last trained first, at the end the choice by picture."""
    trained = store.rows(
        "select id from jobs where project = ? and kind = 'train' and state = 'done' "
        "order by id desc",
        project,
    )
    return [*(model_name(project, row["id"]) for row in trained), "auto"]


def model_name(project: int, job: int) -> str:
    """Return the name of the model that a training makes."""
    return f"project-{project}-{job}"


def picture_of(store: Store, project: int, task: dict[str, Any]) -> str:
    """Return the picture of a task; Label Studio puts eight digits and a dash before uploads."""
    try:
        name = base_name(task["data"][IMAGE])
    except (KeyError, TypeError, AttributeError):
        raise DataError(f"expected tasks with data.{IMAGE}, found others") from None
    for tried in (name, name[9:] if name[8:9] == "-" else name):
        query = "select name from pictures where project = ? and name = ?"
        if found := store.row(query, project, tried):
            return str(found["name"])
    raise DataError(f"the project has no picture {name!r}; upload it to this service, too")


@router.get("/health")
def health(project: Number, caller: Viewer, store: TheStore) -> dict[str, str]:
    """Say that the backend is up."""
    existing(store, project)
    return {"status": "UP", "model_class": "cellcount"}


@router.post("/setup")
def setup(project: Number, given: SetUp, caller: Viewer, store: TheStore) -> dict[str, str]:
    """Check that the project labels what is drawn here; say the version of the model."""
    existing(store, project)
    schema = given.schema_
    if schema and not ('name="polygon"' in schema and 'name="image"' in schema):
        raise DataError(f"expected this labelling interface: {' '.join(CONFIG.split())}")
    return {"model_version": versions_of(store, project)[0]}


@router.get("/versions")
def versions(project: Number, caller: Viewer, store: TheStore) -> dict[str, list[str]]:
    """List the versions of the model, the last first."""
    existing(store, project)
    return {"versions": versions_of(store, project)}


@router.post("/predict")
def predict(
    project: Number, given: Tasks, caller: Annotator, store: TheStore
) -> dict[str, list[dict[str, Any]]]:
    """Label pictures beforehand, with polygons.

    Label Studio leaves out an answer that is empty: a picture that cannot be counted, or not in
    time, does not keep the others from their labels. The lower a score, the sooner to be corrected.
    """
    existing(store, project)
    version = versions_of(store, project)[0]
    options = Options(model=version).model_dump_json()
    until = time.monotonic() + PATIENCE
    jobs: list[tuple[str, int] | None] = []
    errors: list[Exception] = []
    for task in given.tasks:
        try:
            name = picture_of(store, project, task)
            jobs.append((name, _job_of(store, project, name, options, caller)))
        except DataError as error:
            jobs.append(None)
            errors.append(error)
    found: list[dict[str, Any]] = []
    for job in jobs:
        try:
            found.append(_drawn(store, project, *job, version, until) if job else {})
        except (DataError, HTTPException) as error:
            found.append({})
            errors.append(error)
    if errors and not any(found):
        raise errors[0]
    return {"results": [one | {"model_version": version} if one else {} for one in found]}


def _drawn(
    store: Store, project: int, name: str, job: int, version: str, until: float
) -> dict[str, Any]:
    folder = _wait(store, project, job, until)
    # as stored: `read_labels` would take a lone object in pieces for a mask given by mistake
    drawn = read_channels(folder / "labels" / f"{Path(name).stem}.tif")
    with (folder / "counts.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    score = turn(int(row["count"]), name, version)
    return {"result": results(Labelled(name, drawn.astype(np.int32))), "score": score}


def _job_of(store: Store, project: int, name: str, options: str, caller: Caller) -> int:
    """Return the job that counts this picture with these options; make it if there is none."""
    with store.change() as db:
        same = db.execute(
            "select jobs.id from jobs join pictures on pictures.project = jobs.project "
            "and pictures.name = ? where jobs.project = ? and jobs.kind = 'count' "
            "and jobs.pictures = ? and options = ? and state in ('queued', 'running', 'done') "
            "and jobs.created >= pictures.created order by jobs.id desc",
            (name, project, json.dumps([name]), options),
        ).fetchone()
        if same:
            return int(same["id"])
        made = db.execute(
            "insert into jobs (project, options, pictures, state, total, user, created) "
            "values (?, ?, ?, 'queued', 1, ?, ?)",
            (project, options, json.dumps([name]), caller.name, now()),
        )
        return int(made.lastrowid or 0)


def _wait(store: Store, project: int, job: int, until: float) -> Path:
    while True:
        row = store.row("select state, error, failed, planes from jobs where id = ?", job)
        if row and row["state"] == "done" and row["planes"] == 1:
            return store.results(project, job)
        if row is None or row["state"] not in ("queued", "running"):
            why = (row or {}).get("error") or "expected a picture, found a stack or a damaged file"
            raise DataError(f"job {job}: {why}")
        if time.monotonic() > until:
            raise HTTPException(503, f"job {job} is not done; ask again", {"Retry-After": "30"})
        time.sleep(0.1)


@router.post("/webhook")
def webhook(
    project: Number, given: Event, caller: Annotator, store: TheStore, settings: TheSettings
) -> dict[str, Any]:
    """Keep a correction; after enough new ones, train on all of them."""
    existing(store, project)
    if given.action == START:
        with store.change() as db:
            return _train(db, project, 1, settings, caller)
    if given.action not in CORRECTED or given.annotation is None or given.task is None:
        return {"status": "ignored"}
    if given.annotation.get("was_cancelled"):  # skipped: that says nothing about the picture
        return {"status": "ignored"}
    name = picture_of(store, project, given.task)
    folder = store.project(project)
    try:
        regions = given.annotation.get("result") or []
        corrected = labelled(given.task, regions, Pictures(folder / "pictures"))
    except CellcountError:
        raise
    except Exception as error:  # what a hostile annotation makes of the accesses of its reader
        raise DataError(f"expected an annotation of polygons, found another: {error}") from error
    with store.change() as db:
        write_whole(folder / "corrections" / f"{name}.tif", labelimage.write([corrected]))
        db.execute(
            "insert into corrections (project, picture) values (?, ?) "
            "on conflict do update set job = null",
            (project, name),
        )
        noted(db, caller.name, "correct", f"{project}/{name}")
        return _train(db, project, settings.retrain_after, settings, caller)


def _train(
    db: Connection, project: int, enough: int, settings: Settings, caller: Caller
) -> dict[str, Any]:
    """Begin a training if there are enough new corrections, and no training is on its way."""
    new = "select count(*) from corrections where project = ? and job is null"
    (number,) = db.execute(new, (project,)).fetchone()
    busy = "select 1 from jobs where project = ? and kind = 'train' and state in "
    waits = db.execute(busy + "('queued', 'running')", (project,)).fetchone()
    query = "select picture from corrections where project = ? order by picture"
    names = [row["picture"] for row in db.execute(query, (project,))]
    if number < enough or waits or len(names) < LEAST:
        return {"status": "kept", "corrections": number}
    made = db.execute(
        "insert into jobs (project, kind, options, pictures, state, total, user, created) "
        "values (?, 'train', ?, ?, 'queued', ?, ?, ?)",
        (
            *(project, json.dumps({"profile": settings.profile}), json.dumps(names)),
            *(len(names), caller.name, now()),
        ),
    )
    db.execute("update corrections set job = ? where project = ?", (made.lastrowid, project))
    noted(db, caller.name, "start training", made.lastrowid)
    return {"status": "training", "job": made.lastrowid}
