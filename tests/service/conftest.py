import numpy as np
import pytest
from argon2 import PasswordHasher
from fastapi.testclient import TestClient

from cellcount_lib.service.accounts import add_token, add_user
from cellcount_lib.service.app import create_app
from cellcount_lib.service.settings import Settings
from tests.discs import draw

PASSWORD = "correct horse"


def png(seed=0, number=5):
    """A picture with some discs, as a file."""
    import io

    from PIL import Image

    image, _ = draw(np.random.default_rng(seed), size=(96, 112), number=number)
    data = io.BytesIO()
    Image.fromarray(image).save(data, "PNG")
    return data.getvalue()


@pytest.fixture(autouse=True)
def fast_hashes(monkeypatch):
    """Argon2 with little work: what it costs to guess is no matter here."""
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr("cellcount_lib.service.accounts._hasher", lambda: hasher)


@pytest.fixture
def settings(tmp_path):
    return Settings(tmp_path / "service", requests_a_minute=10_000)


@pytest.fixture
def app(settings):
    return create_app(settings, counts=False)


@pytest.fixture
def tokens(app):
    """A bearer token for a user of every role; the admin has a password, too."""
    store = app.state.store
    with store.change() as db:
        found = {}
        for role in ("viewer", "annotator", "admin"):
            add_user(db, role, role, PASSWORD if role == "admin" else None, by="test")
            found[role] = add_token(db, role, "bearer")[0]
    return found


@pytest.fixture
def client(app):
    with TestClient(app, raise_server_exceptions=False) as made:
        yield made


@pytest.fixture
def as_(client, tokens):
    """Ask as somebody: `as_("viewer", "GET", "/api/me")`."""

    def ask(role, method, path, **given):
        headers = {"Authorization": f"Bearer {tokens[role]}"} if role else {}
        return client.request(method, path, headers=headers | given.pop("headers", {}), **given)

    return ask


@pytest.fixture
def project(as_):
    made = as_("admin", "POST", "/api/projects", json={"name": "one"})
    assert made.status_code == 201, made.text
    return made.json()["id"]
