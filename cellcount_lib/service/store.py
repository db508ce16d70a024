"""The folder of a service: pictures and results as files, all else in SQLite.

The database is in WAL mode, and every change is one transaction that is on the disk when it ends. A
file is in its place before the row that names it can be seen.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cellcount_lib.errors import DataError

VERSION = 1
SCHEMA = """
create table users (
    name text primary key collate nocase, role text not null, password text, created text not null);
create table tokens (
    digest text primary key, kind text not null, label text not null default '',
    user text collate nocase references users on delete cascade, expires real, csrf text);
create table projects (
    id integer primary key autoincrement, name text not null unique collate nocase,
    user text not null, created text not null);
create table pictures (
    project integer not null references projects on delete cascade,
    name text not null collate nocase, bytes integer not null, sha256 text not null,
    user text not null, created text not null, primary key (project, name));
create table jobs (
    id integer primary key autoincrement,
    project integer not null references projects on delete cascade,
    kind text not null default 'count',
    options text not null, pictures text not null, state text not null, total integer not null,
    done integer not null default 0, furthest integer not null default 0,
    attempts integer not null default 0, planes integer, cells integer, to_check integer,
    failed integer, error text not null default '', user text not null, created text not null,
    ended text);
create table corrections (
    project integer not null references projects on delete cascade, picture text not null,
    job integer, primary key (project, picture));
create table audit (
    id integer primary key autoincrement, at text not null, user text not null,
    action text not null, subject text not null);
"""


def now() -> str:
    """Return the time as text."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Store:
    """The folder of a service."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.file = self.root / "service.sqlite"
        (self.root / "uploads").mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)
        with closing(self._open()) as db:
            db.execute("pragma journal_mode = wal")
            with db:
                db.execute("begin immediate")
                (version,) = db.execute("pragma user_version").fetchone()
                if version not in (0, VERSION):
                    raise DataError(
                        f"{self.file}: expected version {VERSION}, found {version}: it was written "
                        "by another version of this project"
                    )
                if version == 0:
                    for statement in filter(str.strip, SCHEMA.split(";")):
                        db.execute(statement)
                    db.execute(f"pragma user_version = {VERSION}")

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.file, timeout=60, isolation_level=None)
        db.row_factory = sqlite3.Row
        db.execute("pragma foreign_keys = on")
        db.execute("pragma synchronous = full")
        return db

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """Open one transaction, which is undone if anything fails within."""
        with closing(self._open()) as db, db:
            db.execute("begin immediate")
            yield db

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        with closing(self._open()) as db:
            return [dict(row) for row in db.execute(query, values)]

    def row(self, query: str, *values: Any) -> dict[str, Any] | None:
        """Return the first row of a query."""
        return next(iter(self.rows(query, *values)), None)

    def project(self, number: int) -> Path:
        """Return the folder of a project."""
        return self.root / "projects" / str(number)

    def results(self, project: int, job: int) -> Path:
        """Return the folder of the results of a job."""
        return self.project(project) / "jobs" / str(job)


def noted(db: sqlite3.Connection, user: str, action: str, subject: object = "") -> None:
    """Write into the audit what somebody does, in the transaction that does it."""
    entry = (now(), user, action, str(subject))
    db.execute("insert into audit (at, user, action, subject) values (?, ?, ?, ?)", entry)
