"""Users with passwords, and tokens: bearer tokens, sessions of browsers, and that of the set-up.

Of a password its argon2 hash is kept, of a token its SHA-256: it has 256 random bits, which nobody
guesses.
"""

import hashlib
import re
import secrets
import sqlite3
import time
from functools import cache
from typing import Any, NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from cellcount_lib.errors import InputError
from cellcount_lib.service.store import Store, noted, now

ROLES = ("viewer", "annotator", "admin")  # each may do what those before it may
SHORTEST, LONGEST = 10, 1000  # of passwords


class Caller(NamedTuple):
    """Who asks."""

    name: str
    role: str
    kind: str  # of the token: "bearer" or "session"
    digest: str
    csrf: str | None  # what a browser has to say to change something


@cache
def _hasher() -> PasswordHasher:
    return PasswordHasher()


@cache
def _nobodys() -> str:
    return _hasher().hash(secrets.token_hex())


def digest_of(token: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def add_user(
    db: sqlite3.Connection, name: str, role: str, password: str | None, *, by: str
) -> None:
    """Add a user; without a password only tokens let them in."""
    if not re.fullmatch(r"[\w][\w.@+-]{0,63}", name):
        raise InputError(
            f"name: expected up to 64 letters, digits and . @ + - _, found {name[:80]!r}"
        )
    if role not in ROLES:
        raise InputError(f"role: expected {', '.join(ROLES)}, found {role[:80]!r}")
    kept = None if password is None else hashed(password)
    try:
        db.execute("insert into users values (?, ?, ?, ?)", (name, role, kept, now()))
    except sqlite3.IntegrityError:
        raise InputError(f"name: there is a user {name!r} already") from None
    noted(db, by, "add user", f"{name} ({role})")


def hashed(password: str) -> str:
    """Return what is kept of a password."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise InputError(f"password: expected {SHORTEST} to {LONGEST} letters, found others")
    return _hasher().hash(password)


def is_password(store: Store, name: str, password: str) -> bool:
    """Tell whether a password is that of a user; it takes as long if there is no such user."""
    user = store.row("select password from users where name = ?", name)
    kept = user["password"] if user and user["password"] else _nobodys()
    try:
        return _hasher().verify(kept, password[:LONGEST])
    except (Argon2Error, InvalidHashError):
        return False


def add_token(
    db: sqlite3.Connection,
    user: str | None,
    kind: str,
    *,
    label: str = "",
    seconds: float | None = None,
) -> tuple[str, str]:
    """Make a token; return it, which nobody can do again, and what a browser has to say with it."""
    token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    expires = None if seconds is None else time.time() + seconds
    db.execute("delete from tokens where expires < ?", (time.time(),))
    db.execute(
        "insert into tokens (digest, kind, label, user, expires, csrf) values (?, ?, ?, ?, ?, ?)",
        (digest_of(token), kind, label, user, expires, csrf),
    )
    return token, csrf


def caller(store: Store, token: str, kind: str) -> Caller | None:
    """Return whose token it is."""
    row: dict[str, Any] | None = store.row(
        "select name, role, kind, digest, csrf from tokens join users on user = name "
        "where digest = ? and kind = ? and (expires is null or expires > ?)",
        digest_of(token),
        kind,
        time.time(),
    )
    return Caller(**row) if row else None


def first_token(store: Store) -> str | None:
    """Return the token that makes the first admin, if there is no user yet; older ones end."""
    with store.change() as db:
        if db.execute("select 1 from users").fetchone():
            return None
        db.execute("delete from tokens where kind = 'setup'")
        return add_token(db, None, "setup")[0]


def set_up(store: Store, token: str, name: str, password: str) -> bool:
    """Make the first admin of the token of the first start, which ends with that."""
    with store.change() as db:
        used = db.execute(
            "delete from tokens where digest = ? and kind = 'setup'", (digest_of(token),)
        )
        if not used.rowcount:
            return False
        add_user(db, name, "admin", password, by=name)
    return True


def has_password(store: Store) -> bool:
    """Tell whether an admin could come in by a password."""
    query = "select 1 from users where role = 'admin' and password is not null"
    return store.row(query) is not None
