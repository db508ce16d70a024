"""Routes: jobs, which count the pictures of a project, and their results."""

import json
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from cellcount_lib.errors import unknown_name
from cellcount_lib.prediction.models import known
from cellcount_lib.prediction.reading import parse_channels
from cellcount_lib.prediction.run import RESULT_FOLDERS
from cellcount_lib.scoring.protocols import protocol as named
from cellcount_lib.service.access import Annotator, Number, TheSettings, TheStore, Viewer
from cellcount_lib.service.projects import existing
from cellcount_lib.service.store import Store, noted, now

router = APIRouter(prefix="/api", tags=["jobs"])

TABLES = ("counts.csv", "objects.csv", "results.zip")
COLUMNS = (
    "id, project, kind, state, done, total, planes, cells, to_check, failed, error, user, "
    "created, ended"
)


class Options(BaseModel):
    """How to count, as `cellcount predict` takes it."""

    model: str = "auto"
    channels: str | None = None
    pixel_size_um: float | None = Field(default=None, gt=0, le=1e4)
    cell_px: float | None = Field(default=None, gt=0, le=1e5, description="width of a typical cell")
    threshold: float | None = Field(default=None, ge=0, le=1)
    protocol: str | None = None
    geojson: bool = False
    rois: bool = False


def models_of(store: Store) -> dict[str, str]:
    """Return what counts here: models of the project, and ONNX files in the folder models/."""
    own = {path.stem: str(path) for path in sorted((store.root / "models").glob("*.onnx"))}
    return own | {name: name for name in known()}


@router.get("/models")
def models(caller: Viewer, store: TheStore) -> list[str]:
    """List the models that count."""
    return list(models_of(store))


@router.post("/projects/{project}/jobs", status_code=201)
def new_job(
    project: Number, given: Options, caller: Annotator, store: TheStore, settings: TheSettings
) -> dict[str, Any]:
    """Count the pictures that the project has now."""
    existing(store, project)
    if given.model not in models_of(store):
        raise unknown_name("model", given.model[:80], models_of(store))
    parse_channels(given.channels)
    if given.protocol is not None:
        named(given.protocol)
    with store.change() as db:
        waiting = "select count(*) from jobs where state in ('queued', 'running')"
        if db.execute(waiting).fetchone()[0] >= settings.waiting:
            raise HTTPException(429, f"expected at most {settings.waiting} jobs that wait")
        query = "select name from pictures where project = ? order by name"
        names = [row["name"] for row in db.execute(query, (project,))]
        if not names:
            raise HTTPException(409, "the project has no pictures")
        made = db.execute(
            "insert into jobs (project, options, pictures, state, total, user, created) "
            "values (?, ?, ?, 'queued', ?, ?, ?)",
            (project, given.model_dump_json(), json.dumps(names), len(names), caller.name, now()),
        )
        noted(db, caller.name, "start job", made.lastrowid)
    return _job(store, int(made.lastrowid or 0))


def _job(store: Store, job: int) -> dict[str, Any]:
    found = store.row(f"select {COLUMNS} from jobs where id = ?", job)
    if found is None:
        raise HTTPException(404, f"there is no job {job}")
    return found


@router.get("/jobs")
def jobs(caller: Viewer, store: TheStore, project: Number | None = None) -> list[dict[str, Any]]:
    """List jobs, the last first."""
    chosen = "" if project is None else "where project = ?"
    values = () if project is None else (project,)
    return store.rows(f"select {COLUMNS} from jobs {chosen} order by id desc limit 1000", *values)


@router.get("/jobs/{job}")
def job(job: Number, caller: Viewer, store: TheStore) -> dict[str, Any]:
    """Say how far a job is."""
    return _job(store, job)


@router.delete("/jobs/{job}", status_code=204)
def cancel(job: Number, caller: Annotator, store: TheStore) -> None:
    """Cancel a job that is not done; what it has counted stays."""
    _job(store, job)
    with store.change() as db:
        query = "update jobs set state = 'cancelled', ended = ? where id = ? and state in "
        found = db.execute(query + "('queued', 'running')", (now(), job))
        if not found.rowcount:
            raise HTTPException(409, f"job {job} is not running")
        noted(db, caller.name, "cancel job", job)


@router.get("/jobs/{job}/files")
def files(job: Number, caller: Viewer, store: TheStore) -> list[str]:
    """List the results of a job."""
    folder = _results(store, job)
    found = [name for name in TABLES if (folder / name).is_file()]
    for kind in RESULT_FOLDERS:
        names = _names(folder / kind)
        found += [f"{kind}/{name}" for name in names]
    return found


@router.get("/jobs/{job}/files/{name}")
def table(
    job: Number,
    name: Literal["counts.csv", "objects.csv", "results.zip"],
    caller: Viewer,
    store: TheStore,
) -> FileResponse:
    """Return a table, or the archive of all results."""
    folder = _results(store, job)
    if not (folder / name).is_file():
        raise HTTPException(404, f"job {job} has no {name} yet")
    return FileResponse(folder / name, filename=f"job-{job}-{name}")


@router.get("/jobs/{job}/files/{kind}/{name}")
def file(
    job: Number,
    kind: Literal["overlays", "labels", "geojson", "rois"],
    name: str,
    caller: Viewer,
    store: TheStore,
) -> FileResponse:
    """Return an overlay, a label image, or outlines."""
    folder = _results(store, job) / kind
    if name not in _names(folder):
        raise HTTPException(404, f"job {job} has no {kind}/{name[:80]!r}")
    return FileResponse(folder / name)


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(p.name for p in folder.iterdir() if p.is_file() and p.name[0] != ".")


def _results(store: Store, job: int) -> Path:
    return store.results(_job(store, job)["project"], job)
