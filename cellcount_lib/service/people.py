"""Routes: signing in, one's own tokens and password, users, the audit."""

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response
from pydantic import BaseModel

from cellcount_lib.errors import InputError
from cellcount_lib.service.access import (
    COOKIE,
    Admin,
    Number,
    Rates,
    TheSettings,
    TheStore,
    Viewer,
    address,
)
from cellcount_lib.service.accounts import (
    ROLES,
    add_token,
    add_user,
    hashed,
    is_password,
    set_up,
)
from cellcount_lib.service.store import noted

router = APIRouter(prefix="/api", tags=["people"])


class SetUp(BaseModel):
    """The first admin."""

    token: str
    name: str
    password: str


class Login(BaseModel):
    """A name and a password."""

    name: str
    password: str


class NewPassword(BaseModel):
    """The old password and the new one."""

    old: str
    new: str


class NewToken(BaseModel):
    """What a token is for."""

    label: str = ""


class NewUser(BaseModel):
    """A user to add; without a password a token is made."""

    name: str
    role: str
    password: str | None = None


class NewRole(BaseModel):
    """Another role."""

    role: str


def _limited(request: Request, settings: TheSettings) -> None:
    rates: Rates = request.app.state.rates
    rates.check("attempts", address(request), settings.logins_a_minute)


@router.post("/setup", status_code=201)
def first_admin(
    request: Request, given: SetUp, store: TheStore, settings: TheSettings
) -> dict[str, str]:
    """Make the first admin with the token that the first start has printed."""
    _limited(request, settings)
    if not set_up(store, given.token, given.name, given.password):
        raise HTTPException(403, "the token is wrong, or was used before")
    return {"name": given.name, "role": "admin"}


@router.post("/login")
def login(
    request: Request, response: Response, given: Login, store: TheStore, settings: TheSettings
) -> dict[str, str]:
    """Begin a session: a cookie, and what has to be said with it to change something."""
    _limited(request, settings)
    if not is_password(store, given.name, given.password):
        raise HTTPException(401, "name or password is wrong")
    seconds = settings.session_hours * 3600
    with store.change() as db:
        token, csrf = add_token(db, given.name, "session", seconds=seconds)
        noted(db, given.name, "log in", address(request))
    response.set_cookie(
        COOKIE, token, max_age=seconds, httponly=True, samesite="strict", secure=settings.secure
    )
    return {"csrf": csrf}


@router.post("/logout", status_code=204)
def logout(response: Response, caller: Viewer, store: TheStore) -> None:
    """End this session, or this token."""
    with store.change() as db:
        db.execute("delete from tokens where digest = ?", (caller.digest,))
        noted(db, caller.name, "log out")
    response.delete_cookie(COOKIE)


@router.get("/me")
def me(caller: Viewer) -> dict[str, str | None]:
    """Say who asks."""
    csrf = caller.csrf if caller.kind == "session" else None
    return {"name": caller.name, "role": caller.role, "csrf": csrf}


@router.post("/me/password", status_code=204)
def change_password(
    request: Request, given: NewPassword, caller: Viewer, store: TheStore, settings: TheSettings
) -> None:
    """Change one's password; all sessions and tokens of the user but this one end."""
    _limited(request, settings)
    if not is_password(store, caller.name, given.old):
        raise HTTPException(403, "the old password is wrong")
    kept = hashed(given.new)
    with store.change() as db:
        db.execute("update users set password = ? where name = ?", (kept, caller.name))
        others = (caller.name, caller.digest)
        db.execute("delete from tokens where user = ? and digest != ?", others)
        noted(db, caller.name, "change password")


@router.post("/me/tokens", status_code=201)
def new_token(given: NewToken, caller: Viewer, store: TheStore) -> dict[str, str]:
    """Make a bearer token for scripts; it is shown this once."""
    with store.change() as db:
        token, _ = add_token(db, caller.name, "bearer", label=given.label[:100])
        noted(db, caller.name, "make token", given.label[:100])
    return {"token": token}


@router.get("/users")
def users(caller: Admin, store: TheStore) -> list[dict[str, Any]]:
    """List the users."""
    return store.rows("select name, role, created from users order by name")


@router.post("/users", status_code=201)
def new_user(given: NewUser, caller: Admin, store: TheStore) -> dict[str, str | None]:
    """Add a user; without a password they get a bearer token, shown this once."""
    with store.change() as db:
        add_user(db, given.name, given.role, given.password, by=caller.name)
        token = None
        if given.password is None:
            token, _ = add_token(db, given.name, "bearer", label="first")
    return {"name": given.name, "role": given.role, "token": token}


@router.patch("/users/{name}", status_code=204)
def change_role(name: str, given: NewRole, caller: Admin, store: TheStore) -> None:
    """Give a user another role."""
    if given.role not in ROLES:
        raise InputError(f"role: expected {', '.join(ROLES)}, found {given.role[:80]!r}")
    with store.change() as db:
        found = db.execute("update users set role = ? where name = ?", (given.role, name))
        _check_changed(db, found.rowcount, name)
        noted(db, caller.name, "change role", f"{name} ({given.role})")


@router.delete("/users/{name}", status_code=204)
def delete_user(name: str, caller: Admin, store: TheStore) -> None:
    """Remove a user with all tokens and sessions; what they did stays."""
    with store.change() as db:
        found = db.execute("delete from users where name = ?", (name,))
        _check_changed(db, found.rowcount, name)
        noted(db, caller.name, "delete user", name)


def _check_changed(db: Any, number: int, name: str) -> None:
    if not number:
        raise HTTPException(404, f"there is no user {name[:80]!r}")
    if not db.execute("select 1 from users where role = 'admin'").fetchone():
        raise HTTPException(409, f"{name} is the last admin")


@router.get("/audit")
def audit(
    caller: Admin,
    store: TheStore,
    before: Number = 2**62,
    most: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[dict[str, Any]]:
    """List who did what, the last first."""
    query = "select * from audit where id < ? order by id desc limit ?"
    return store.rows(query, before, most)
