"""Who may do what, and how often.

Every route says by `needs` which role it asks for. A caller has a bearer token (in a header of its
own, or as a password of basic authentication), or the cookie of a session; whoever comes with a
cookie has to say the session's second secret in a header to change something, which another site's
page cannot.
"""

import base64
import contextlib
import hmac
import threading
import time
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request
from pydantic import Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cellcount_lib.service.accounts import ROLES, Caller, caller
from cellcount_lib.service.settings import Settings
from cellcount_lib.service.store import Store

COOKIE = "cellcount_session"
CSRF = "X-CSRF-Token"
READING = ("GET", "HEAD", "OPTIONS")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Rates:
    """Counts how often somebody came within a minute."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], tuple[int, int]] = {}
        self._lock = threading.Lock()

    def check(self, what: str, who: str, most: int) -> None:
        """Raise if somebody comes too often."""
        minute = int(time.monotonic() // 60)
        with self._lock:
            if len(self._seen) > 10_000:
                self._seen = {k: v for k, v in self._seen.items() if v[0] == minute}
            last, number = self._seen.get((what, who), (minute, 0))
            number = number + 1 if last == minute else 1
            self._seen[what, who] = (minute, number)
        if number > most:
            raise HTTPException(
                429, f"expected at most {most} {what} a minute", headers={"Retry-After": "60"}
            )


def store_of(request: Request) -> Store:
    """Return the folder of the service."""
    found: Store = request.app.state.store
    return found


def settings_of(request: Request) -> Settings:
    """Return the settings of the service."""
    found: Settings = request.app.state.settings
    return found


Number = Annotated[int, Field(ge=0, le=2**62)]  # of a project or a job
TheStore = Annotated[Store, Depends(store_of)]
TheSettings = Annotated[Settings, Depends(settings_of)]


def address(request: Request) -> str:
    """Return where a request comes from."""
    return request.client.host if request.client else "?"


def _caller(request: Request, store: Store, settings: Settings) -> Caller:
    rates: Rates = request.app.state.rates
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer":
        found = caller(store, token.strip(), "bearer")
    elif kind.lower() == "basic":  # a token as the password, for programs that know no other way
        found = caller(store, _password(token), "bearer")
    else:
        found = caller(store, request.cookies.get(COOKIE, ""), "session")
    if found is None:
        rates.check("refusals", address(request), settings.requests_a_minute)
        raise HTTPException(401, "sign in first", headers={"WWW-Authenticate": "Bearer"})
    rates.check("requests", found.name, settings.requests_a_minute)
    if found.kind == "session" and request.method not in READING:
        said = request.headers.get(CSRF, "")
        if not hmac.compare_digest(said.encode(), (found.csrf or "").encode()):
            raise HTTPException(403, f"the header {CSRF} is missing or wrong")
    return found


def _password(coded: str) -> str:
    with contextlib.suppress(ValueError):
        return base64.b64decode(coded).decode().partition(":")[2]
    return ""


def needs(role: str) -> Callable[..., Caller]:
    """Return a dependency that lets callers of a role, or of a higher one, in."""

    def allowed(request: Request, store: TheStore, settings: TheSettings) -> Caller:
        found = _caller(request, store, settings)
        if ROLES.index(found.role) < ROLES.index(role):
            raise HTTPException(403, f"this needs the role {role}, {found.name} is {found.role}")
        return found

    allowed.role = role  # type: ignore[attr-defined]
    return allowed


Viewer = Annotated[Caller, Depends(needs("viewer"))]
Annotator = Annotated[Caller, Depends(needs("annotator"))]
Admin = Annotated[Caller, Depends(needs("admin"))]


class Guard:
    """Lets no body in that is too large, and sends headers with every answer."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        most = self.settings.body_bytes
        if scope["method"] == "PUT" and "/pictures/" in scope["path"]:
            most = self.settings.picture_bytes
        elif scope["path"].startswith("/label-studio/"):
            most = self.settings.annotation_bytes
        come = 0

        async def counted() -> Message:
            nonlocal come
            message = await receive()
            come += len(message.get("body", b""))
            if come > most:
                raise HTTPException(413, f"expected at most {most} bytes, found more")
            return message

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                raw: list[Any] = message.setdefault("headers", [])
                present = {name.lower() for name, _ in raw}
                for name, value in HEADERS.items():
                    if name.lower().encode() not in present:
                        raw.append((name.lower().encode(), value.encode()))
            await send(message)

        await self.app(scope, counted, with_headers)
