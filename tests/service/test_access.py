"""Who may do what: every route, as nobody and in every role."""

import base64

import pytest
from fastapi.routing import APIRoute

from cellcount_lib.service.access import COOKIE, CSRF, Rates
from cellcount_lib.service.accounts import ROLES
from tests.service.conftest import PASSWORD

# The least role, or None where nobody needs one. A route that is not here fails the tests.
RULES = {
    ("GET", "/health"): None,
    ("GET", "/docs"): None,
    ("POST", "/api/setup"): None,
    ("POST", "/api/login"): None,
    ("POST", "/api/logout"): "viewer",
    ("GET", "/api/me"): "viewer",
    ("POST", "/api/me/password"): "viewer",
    ("POST", "/api/me/tokens"): "viewer",
    ("GET", "/api/users"): "admin",
    ("POST", "/api/users"): "admin",
    ("PATCH", "/api/users/{name}"): "admin",
    ("DELETE", "/api/users/{name}"): "admin",
    ("GET", "/api/audit"): "admin",
    ("GET", "/api/projects"): "viewer",
    ("POST", "/api/projects"): "annotator",
    ("DELETE", "/api/projects/{project}"): "admin",
    ("GET", "/api/projects/{project}/pictures"): "viewer",
    ("PUT", "/api/projects/{project}/pictures/{name}"): "annotator",
    ("DELETE", "/api/projects/{project}/pictures/{name}"): "annotator",
    ("GET", "/label-studio/{project}/health"): "viewer",
    ("POST", "/label-studio/{project}/setup"): "viewer",
    ("GET", "/label-studio/{project}/versions"): "viewer",
    ("POST", "/label-studio/{project}/predict"): "annotator",
    ("POST", "/label-studio/{project}/webhook"): "annotator",
    ("GET", "/api/models"): "viewer",
    ("POST", "/api/projects/{project}/jobs"): "annotator",
    ("GET", "/api/jobs"): "viewer",
    ("GET", "/api/jobs/{job}"): "viewer",
    ("DELETE", "/api/jobs/{job}"): "annotator",
    ("GET", "/api/jobs/{job}/files"): "viewer",
    ("GET", "/api/jobs/{job}/files/{name}"): "viewer",
    ("GET", "/api/jobs/{job}/files/{kind}/{name}"): "viewer",
}


def routes_of(app):
    """(method, path, route) of all that the application answers, whoever has added it."""
    found = []

    def walk(routes, prefix=""):
        for route in routes:
            if hasattr(route, "original_router"):  # a router that was included as a whole
                walk(route.original_router.routes, prefix)
            elif isinstance(route, APIRoute):
                found.extend((method, prefix + route.path, route) for method in route.methods)
            else:
                assert route.path in ("/openapi.json", "/assets", ""), route.path

    walk(app.routes)
    return found


def role_of(dependant):
    """The highest role that a route asks for."""
    roles = [role_of(below) for below in dependant.dependencies]
    roles.append(getattr(dependant.call, "role", None))
    return max((r for r in roles if r), key=ROLES.index, default=None)


def test_every_route_has_its_rule(app):
    assert {(method, path): role_of(route.dependant) for method, path, route in routes_of(app)} == (
        RULES
    )


def test_every_address_of_the_documentation_has_its_rule(app):
    described = {
        (method.upper(), path)
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    }
    assert described == {key for key in RULES if key[1].startswith(("/api/", "/label-studio/"))}


@pytest.mark.parametrize("role", [None, *ROLES])
def test_every_route_in_every_role(as_, tokens, role):
    for (method, path), least in RULES.items():
        if path == "/api/logout":
            continue  # ends the token; below
        filled = path.replace("{project}", "999").replace("{job}", "999")
        filled = filled.replace("{name}", "nobody.png").replace("{kind}", "overlays")
        status = as_(role, method, filled, follow_redirects=False).status_code
        if least is None or (role and ROLES.index(role) >= ROLES.index(least)):
            assert status not in (401, 403), f"{role} {method} {path}: {status}"
            assert status < 500
        else:
            assert status == (403 if role else 401), f"{role} {method} {path}: {status}"


def test_tokens_that_are_wrong_ended_or_of_another_kind(client, app, tokens, as_):
    for header in ("Bearer", "Bearer ", "Bearer x", f"Basic {tokens['admin']}", "Bearer \xe9"):
        answer = client.get("/api/me", headers={"Authorization": header.encode("latin-1")})
        assert answer.status_code == 401, header
    for coded, status in (("x:" + tokens["viewer"], 200), (tokens["viewer"], 401), ("x:", 401)):
        header = "Basic " + base64.b64encode(coded.encode()).decode()
        assert client.get("/api/me", headers={"Authorization": header}).status_code == status
    assert client.get("/api/me", headers={"Authorization": "Basic ===="}).status_code == 401
    # a bearer token is no cookie
    client.cookies.set(COOKIE, tokens["admin"])
    assert client.get("/api/me").status_code == 401
    client.cookies.clear()
    assert as_("viewer", "POST", "/api/logout").status_code == 204
    assert as_("viewer", "GET", "/api/me").status_code == 401
    assert as_("admin", "DELETE", "/api/users/annotator").status_code == 204
    assert as_("annotator", "GET", "/api/me").status_code == 401
    with app.state.store.change() as db:
        db.execute("update tokens set expires = 1 where user = 'admin'")
    assert as_("admin", "GET", "/api/me").status_code == 401


def test_a_session_needs_its_second_secret_to_change_something(client, tokens):
    said = client.post("/api/login", json={"name": "admin", "password": PASSWORD})
    assert said.status_code == 200
    cookie = said.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    csrf = said.json()["csrf"]
    assert client.get("/api/me").json() == {"name": "admin", "role": "admin", "csrf": csrf}
    make = {"url": "/api/projects", "json": {"name": "two"}}
    assert client.post(**make).status_code == 403
    assert client.post(**make, headers={CSRF: "wrong"}).status_code == 403
    assert client.post(**make, headers={CSRF: csrf}).status_code == 201
    # that of another session does not do
    client.cookies.clear()
    client.post("/api/login", json={"name": "admin", "password": PASSWORD})
    assert client.post(**make, headers={CSRF: csrf}).status_code == 403


def test_passwords_are_kept_as_argon2_and_tokens_as_hashes(app, tokens, as_):
    data = b"".join(p.read_bytes() for p in app.state.store.root.glob("service.sqlite*"))
    assert b"$argon2id$" in data
    assert PASSWORD.encode() not in data
    assert not any(token.encode() in data for token in tokens.values())
    changed = as_(
        "admin", "POST", "/api/me/password", json={"old": PASSWORD, "new": "battery staple"}
    )
    assert changed.status_code == 204
    login = {"name": "admin", "password": PASSWORD}
    assert as_(None, "POST", "/api/login", json=login).status_code == 401
    login["password"] = "battery staple"
    assert as_(None, "POST", "/api/login", json=login).status_code == 200


def test_whoever_guesses_is_slowed_down(client, tokens, monkeypatch):
    import time

    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)  # one minute
    login = {"name": "admin", "password": "wrong password"}
    said = [client.post("/api/login", json=login).status_code for _ in range(12)]
    assert said == [401] * 10 + [429] * 2
    login["password"] = PASSWORD
    assert client.post("/api/login", json=login).status_code == 429
    monkeypatch.setattr(time, "monotonic", lambda: 1060.0)
    assert client.post("/api/login", json=login).status_code == 200


def test_rates_are_kept_for_a_minute_and_forgotten(monkeypatch):
    import time

    from fastapi import HTTPException

    monkeypatch.setattr(time, "monotonic", lambda: 60.0)
    rates = Rates()
    for number in range(10_001):
        rates.check("requests", str(number), 1)
    with pytest.raises(HTTPException):
        rates.check("requests", "5", 1)
    monkeypatch.setattr(time, "monotonic", lambda: 120.0)
    rates.check("requests", "5", 1)
    assert len(rates._seen) == 1


def test_the_last_admin_stays(as_):
    assert as_("admin", "DELETE", "/api/users/admin").status_code == 409
    assert as_("admin", "PATCH", "/api/users/admin", json={"role": "viewer"}).status_code == 409
    assert as_("admin", "GET", "/api/me").json()["role"] == "admin"
    wrong = as_("admin", "POST", "/api/users", json={"name": "x", "role": "king"})
    assert wrong.status_code == 400
    assert "annotator" in wrong.json()["detail"]


def test_the_audit_says_who_did_what(as_, project):
    as_("annotator", "PUT", f"/api/projects/{project}/pictures/a.png", content=b"no picture")
    as_("admin", "PATCH", "/api/users/viewer", json={"role": "annotator"})
    entries = as_("admin", "GET", "/api/audit").json()
    assert [(e["user"], e["action"], e["subject"]) for e in entries][:2] == [
        ("admin", "change role", "viewer (annotator)"),
        ("admin", "make project", "one"),
    ]


def test_every_answer_has_the_headers_and_the_documentation_is_here(client):
    page = client.get("/docs")
    assert page.status_code == 200
    assert page.headers["X-Frame-Options"] == "DENY"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert "//" not in page.text.replace("'//", "")  # nothing is asked of another machine
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"):
        assert f"/assets/{asset}" in page.text
        assert client.get(f"/assets/{asset}").status_code == 200
    assert client.get("/assets/../../pyproject.toml").status_code == 404
    assert client.get("/assets/%2e%2e/%2e%2e/core.py").status_code == 404
