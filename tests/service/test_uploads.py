"""Pictures that come in: names, kinds, sizes, many at once."""

import json
import os

import pytest
from fastapi.testclient import TestClient

from cellcount_lib.service.app import create_app
from cellcount_lib.service.settings import Settings
from tests.service.conftest import png


def files_of(store):
    return sorted(
        p.relative_to(store.root).as_posix()
        for p in store.root.rglob("*.*")
        if p.is_file() and not p.name.startswith("service.")
    )


def test_a_picture_is_kept_as_it_came(as_, app, project):
    data = png()
    path = f"/api/projects/{project}/pictures/Slide 3 (ä).png"
    said = as_("annotator", "PUT", path, content=data)
    assert said.status_code == 201
    (listed,) = as_("viewer", "GET", f"/api/projects/{project}/pictures").json()
    assert (listed["name"], listed["bytes"]) == ("Slide 3 (ä).png", len(data))
    place = app.state.store.project(project) / "pictures" / "Slide 3 (ä).png"
    assert place.read_bytes() == data
    assert as_("annotator", "PUT", path, content=data).status_code == 409
    assert as_("annotator", "PUT", path.replace("png", "PNG"), content=data).status_code == 409
    assert as_("annotator", "DELETE", path).status_code == 204
    assert not place.exists()
    assert as_("annotator", "DELETE", path).status_code == 404


NAMES = (
    "..",
    "../a.png",
    "..%2fa.png",
    "%2e%2e%2f%2e%2e%2fa.png",
    "..%5ca.png",
    "%2fetc%2fa.png",
    "a%00.png",
    "a.png%00.tif",
    ".a.png",
    "-a.png",
    "~a.png",
    "a*.png",
    "a%0a.png",
    "a.png%0a",
    "a.php",
    "a.png.exe",
    "a%3cscript%3e.png",
    "%ff.png",
    "x" * 250 + ".png",
    "%f0%9f%92%a9" * 60 + ".png",
    "CON:.png",
)


@pytest.mark.parametrize("name", NAMES)
def test_names_that_lead_elsewhere(as_, app, project, name):
    before = files_of(app.state.store)
    said = as_("annotator", "PUT", f"/api/projects/{project}/pictures/{name}", content=png())
    assert said.status_code in (400, 404, 405), said.text
    assert files_of(app.state.store) == before
    said = as_("annotator", "DELETE", f"/api/projects/{project}/pictures/{name}")
    # a client leads ".." to the project itself, which only an admin may delete
    assert said.status_code in (400, 404, 405, 403 if name == ".." else 400), said.text


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.png", b""),
        ("a.png", b"hello"),
        ("a.png", b"PK\x03\x04" + bytes(100)),
        ("a.tif", b"\x89PNG\r\n\x1a\n"),
        ("a.jpg", b"GIF89a"),
        ("a.png", b"<svg onload='alert(1)'/>"),
    ],
)
def test_files_that_are_something_else(as_, app, project, name, data):
    said = as_("annotator", "PUT", f"/api/projects/{project}/pictures/{name}", content=data)
    assert said.status_code == 400
    assert "expected a" in said.json()["detail"]
    assert files_of(app.state.store) == []


@pytest.fixture
def small(tmp_path):
    """A service that allows little."""
    settings = Settings(
        tmp_path / "small",
        body_bytes=200,
        picture_bytes=3000,
        pictures=2,
        project_bytes=4000,
        projects=2,
    )
    return create_app(settings, counts=False)


def test_limits_of_size_and_number(small):
    from cellcount_lib.service.accounts import add_token, add_user

    with small.state.store.change() as db:
        add_user(db, "a", "annotator", None, by="test")
        token, _ = add_token(db, "a", "bearer")
    beginning = png()[:8]
    with TestClient(small, headers={"Authorization": f"Bearer {token}"}) as client:
        for name, status in (("one", 201), ("two", 201), ("three", 409), ("x" * 300, 413)):
            assert client.post("/api/projects", json={"name": name}).status_code == status

        def upload(name, size, **how):
            content = beginning + bytes(size - 8)
            if how.get("chunked"):
                content = iter([content[i : i + 100] for i in range(0, size, 100)])
            return client.put(f"/api/projects/1/pictures/{name}", content=content).status_code

        assert upload("huge.png", 3001) == 413
        assert upload("chunked.png", 10**6, chunked=True) == 413  # without a length
        assert upload("a.png", 3000) == 201
        assert upload("b.png", 1001) == 409  # more than the project may have
        assert upload("b.png", 1000) == 201
        assert upload("c.png", 8) == 409  # the third
        chunks = (b'{"name": "' + b"x" * 100 for _ in range(100))
        assert client.post("/api/projects", content=chunks).status_code == 413
    assert files_of(small.state.store) == [
        "projects/1/pictures/a.png",
        "projects/1/pictures/b.png",
    ]


def test_an_upload_that_is_cut_off_leaves_nothing(settings):
    from cellcount_lib.service.store import Store

    store = Store(settings.root)
    (store.root / "uploads" / "left.part").write_bytes(b"half")
    with TestClient(create_app(settings, counts=False)):
        assert os.listdir(store.root / "uploads") == []


def test_projects_that_are_not_there(as_, project):
    for number in ("999", "-1", str(10**30), str(-(10**30))):
        said = as_("annotator", "PUT", f"/api/projects/{number}/pictures/a.png", content=png())
        assert said.status_code in (404, 422), said.text
        assert as_("viewer", "GET", f"/api/projects/{number}/pictures").status_code in (404, 422)
        assert as_("viewer", "GET", f"/api/jobs/{number}").status_code in (404, 422)
    assert as_("annotator", "POST", "/api/projects", json={"name": "ONE"}).status_code == 409
    assert as_("annotator", "POST", "/api/projects", json={"name": "a\nb"}).status_code == 400
    assert as_("annotator", "POST", "/api/projects", content=b"[" * 10_000).status_code == 422


@pytest.mark.parametrize(
    "options",
    [
        {"model": "../../etc/passwd"},
        {"model": "/etc/passwd.onnx"},
        {"channels": "red"},
        {"protocol": "none"},
        {"threshold": 2},
        {"cell_px": -1},
        {"pixel_size_um": "NaN"},
    ],
)
def test_options_that_are_wrong(as_, project, options):
    as_("annotator", "PUT", f"/api/projects/{project}/pictures/a.png", content=png())
    said = as_("annotator", "POST", f"/api/projects/{project}/jobs", json=options)
    assert said.status_code in (400, 422), said.text
    assert json.loads(said.text)["detail"]
    assert as_("viewer", "GET", "/api/jobs").json() == []
