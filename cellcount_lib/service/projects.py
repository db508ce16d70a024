"""Routes: projects and their pictures."""

import hashlib
import os
import re
import secrets
import shutil
import sqlite3
import unicodedata
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from cellcount_lib.errors import InputError
from cellcount_lib.service.access import Admin, Annotator, Number, TheSettings, TheStore, Viewer
from cellcount_lib.service.accounts import Caller
from cellcount_lib.service.settings import Settings
from cellcount_lib.service.store import Store, noted, now

router = APIRouter(prefix="/api/projects", tags=["projects"])

NAME = re.compile(r"\w[\w .()+-]*\.(png|jpe?g|tiff?)", re.IGNORECASE)
BEGINNINGS = {
    ".png": (b"\x89PNG\r\n\x1a\n",),
    ".jpg": (b"\xff\xd8\xff",),
    ".tif": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
}
SAME = {".jpeg": ".jpg", ".tiff": ".tif"}


class NewProject(BaseModel):
    """A project to make."""

    name: str


def picture_name(name: str) -> str:
    """Return the name of a picture as it is kept, if it is one that leads nowhere else.

    Examples
    --------
    >>> picture_name("Slide 3 (a).tif")
    'Slide 3 (a).tif'
    """
    name = unicodedata.normalize("NFC", name)
    if not NAME.fullmatch(name) or len(name.encode()) > 200:
        raise InputError(
            "expected the name of a PNG, JPEG or TIFF of up to 200 letters, digits, spaces and "
            f". ( ) + - _, found {name[:80]!r}"
        )
    return name


def check_beginning(path: Path, name: str) -> None:
    """Raise unless a file begins as its name says; what is inside is checked where it is read."""
    suffix = Path(name).suffix.lower()
    kind = SAME.get(suffix, suffix)
    with path.open("rb") as file:
        begins = file.read(8)
    if not begins.startswith(BEGINNINGS[kind]):
        raise InputError(f"{name}: expected a {kind[1:]} file, found one that begins {begins!r}")


def existing(store: Store, project: int) -> dict[str, Any]:
    """Return a project."""
    found = store.row("select * from projects where id = ?", project)
    if found is None:
        raise HTTPException(404, f"there is no project {project}")
    return found


@router.get("")
def projects(caller: Viewer, store: TheStore) -> list[dict[str, Any]]:
    """List the projects."""
    return store.rows(
        "select projects.*, (select count(*) from pictures where project = projects.id) "
        "as pictures from projects order by id"
    )


@router.post("", status_code=201)
def new_project(
    given: NewProject, caller: Annotator, store: TheStore, settings: TheSettings
) -> dict[str, Any]:
    """Make a project."""
    name = given.name.strip()
    if not name.isprintable() or not 1 <= len(name) <= 100:
        raise InputError(f"name: expected 1 to 100 letters, found {name[:120]!r}")
    with store.change() as db:
        (number,) = db.execute("select count(*) from projects").fetchone()
        if number >= settings.projects:
            raise HTTPException(409, f"expected at most {settings.projects} projects")
        try:
            made = db.execute(
                "insert into projects (name, user, created) values (?, ?, ?)",
                (name, caller.name, now()),
            )
        except sqlite3.IntegrityError:
            raise HTTPException(409, f"there is a project {name!r} already") from None
        noted(db, caller.name, "make project", name)
    return {"id": made.lastrowid, "name": name}


@router.delete("/{project}", status_code=204)
def delete_project(project: Number, caller: Admin, store: TheStore) -> None:
    """Remove a project with pictures and results."""
    found = existing(store, project)
    with store.change() as db:
        busy = "select 1 from jobs where project = ? and state in ('queued', 'running')"
        if db.execute(busy, (project,)).fetchone():
            raise HTTPException(409, "a job of the project is not done; cancel it first")
        db.execute("delete from projects where id = ?", (project,))
        noted(db, caller.name, "delete project", found["name"])
    shutil.rmtree(store.project(project), ignore_errors=True)


@router.get("/{project}/pictures")
def pictures(project: Number, caller: Viewer, store: TheStore) -> list[dict[str, Any]]:
    """List the pictures of a project."""
    existing(store, project)
    query = "select name, bytes, sha256, user, created from pictures where project = ?"
    return store.rows(query + " order by name", project)


@router.put("/{project}/pictures/{name}", status_code=201)
async def upload(
    request: Request,
    project: Number,
    name: str,
    caller: Annotator,
    store: TheStore,
    settings: TheSettings,
) -> dict[str, Any]:
    """Upload a picture or a stack: the body is the file."""
    name = picture_name(name)
    await run_in_threadpool(existing, store, project)
    part = store.root / "uploads" / f"{secrets.token_hex(16)}.part"
    try:
        digest = hashlib.sha256()
        with part.open("xb") as file:
            async for chunk in request.stream():
                digest.update(chunk)
                await run_in_threadpool(file.write, chunk)
        return await run_in_threadpool(
            _keep, part, project, name, digest.hexdigest(), caller, store, settings
        )
    finally:
        part.unlink(missing_ok=True)


def _keep(
    part: Path,
    project: int,
    name: str,
    digest: str,
    caller: Caller,
    store: Store,
    settings: Settings,
) -> dict[str, Any]:
    check_beginning(part, name)
    size = part.stat().st_size
    with part.open("rb") as file:
        os.fsync(file.fileno())
    place = store.project(project) / "pictures" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    with store.change() as db:
        number, total = db.execute(
            "select count(*), coalesce(sum(bytes), 0) from pictures where project = ?", (project,)
        ).fetchone()
        if number >= settings.pictures or total + size > settings.project_bytes:
            raise HTTPException(
                409,
                f"expected at most {settings.pictures} pictures of {settings.project_bytes} bytes "
                "in a project",
            )
        row = (project, name, size, digest, caller.name, now())
        try:
            db.execute("insert into pictures values (?, ?, ?, ?, ?, ?)", row)
        except sqlite3.IntegrityError:
            raise HTTPException(409, f"the project has a picture {name!r} already") from None
        noted(db, caller.name, "upload", f"{project}/{name}")
        os.replace(part, place)
    return {"name": name, "bytes": size, "sha256": digest}


@router.delete("/{project}/pictures/{name}", status_code=204)
def delete_picture(project: Number, name: str, caller: Annotator, store: TheStore) -> None:
    """Remove a picture; results that were made of it stay."""
    name = picture_name(name)
    with store.change() as db:
        row = db.execute(
            "select name from pictures where project = ? and name = ?", (project, name)
        ).fetchone()
        if row is None:
            raise HTTPException(404, f"the project has no picture {name!r}")
        db.execute("delete from pictures where project = ? and name = ?", (project, name))
        noted(db, caller.name, "delete picture", f"{project}/{name}")
    (store.project(project) / "pictures" / row["name"]).unlink(missing_ok=True)
