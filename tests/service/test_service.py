"""The service as it runs: counts, is killed, goes on; many uploads at once."""

import csv
import io
import json
import os
import random
import signal
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from cellcount_lib.service.app import create_app
from cellcount_lib.service.settings import Settings
from cellcount_lib.service.worker import take, work
from tests.command import cellcount
from tests.service.conftest import png
from tests.service.running import Running

OTSU = {"model": "otsu-watershed", "cell_px": 18}


@pytest.fixture
def running(tmp_path):
    made = Running(tmp_path / "service")
    yield made
    made.stop()


def make(running, number, *, project="p"):
    client = running.client
    project = client.post("/api/projects", json={"name": project}).json()["id"]
    for place in range(number):
        path = f"/api/projects/{project}/pictures/{place:03d}.png"
        said = client.put(path, content=png(place, number=1 + place % 6))
        assert said.status_code == 201, said.text
    return project


def counts_of(client, job):
    said = client.get(f"/api/jobs/{job}/files/counts.csv")
    assert said.status_code == 200, said.text
    return {row["image"]: int(row["count"]) for row in csv.DictReader(io.StringIO(said.text))}


def expected(number):
    return {f"{place:03d}.png": 1 + place % 6 for place in range(number)}


def test_pictures_are_counted_and_results_come_out(running):
    client = running.client
    project = make(running, 4)
    options = OTSU | {"geojson": True, "rois": True}
    job = client.post(f"/api/projects/{project}/jobs", json=options).json()
    assert (job["state"], job["total"], job["done"]) == ("queued", 4, 0)
    done = running.until_done(job["id"])
    assert (done["state"], done["done"], done["planes"], done["cells"], done["failed"]) == (
        *("done", 4, 4, 10, 0),
    )
    assert counts_of(client, job["id"]) == expected(4)
    listed = client.get(f"/api/jobs/{job['id']}/files").json()
    assert len(listed) == 3 + 4 * 4
    for name in listed:
        assert client.get(f"/api/jobs/{job['id']}/files/{name}").status_code == 200
    data = client.get(f"/api/jobs/{job['id']}/files/results.zip").content
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert sorted(archive.namelist()) == sorted(set(listed) - {"results.zip"})
    assert str(running.root) not in archive.read("counts.csv").decode()
    for name in (
        "overlays/%2e%2e",
        "overlays/%2e%2e%2fcounts.csv",
        "state/000.json",
        "%2e%2e",
        "x.csv",
    ):
        said = client.get(f"/api/jobs/{job['id']}/files/{name}")
        assert said.status_code in (404, 422), name
    # a second service in the same folder
    second = cellcount("serve", "--root", running.root)
    assert second.returncode == 1
    assert "another cellcount serve" in second.stderr


def test_200_uploads_at_once(running):
    project = running.client.post("/api/projects", json={"name": "many"}).json()["id"]
    data = [png(seed) for seed in range(4)]

    def upload(place):
        path = f"/api/projects/{project}/pictures/{place:03d}.png"
        return running.client.put(path, content=data[place % 4]).status_code

    names = [*range(180), *range(20)]  # twenty twice
    with ThreadPoolExecutor(50) as pool:
        said = list(pool.map(upload, names))
    assert sorted(said) == [201] * 180 + [409] * 20
    listed = running.client.get(f"/api/projects/{project}/pictures").json()
    assert [one["name"] for one in listed] == [f"{place:03d}.png" for place in range(180)]
    folder = running.root / "projects" / str(project) / "pictures"
    for place in range(180):
        assert (folder / f"{place:03d}.png").read_bytes() == data[place % 4]
    assert os.listdir(running.root / "uploads") == []
    uploads = [
        e for e in running.client.get("/api/audit?most=1000").json() if e["action"] == "upload"
    ]
    assert len(uploads) == 180


def killed(root, times, number):
    """Kill a service, or the process that counts, again and again while it works on a job."""
    running = Running(root)
    project = make(running, number)
    job = running.client.post(f"/api/projects/{project}/jobs", json=OTSU).json()["id"]
    rng = random.Random(0)
    state = root / "projects" / str(project) / "jobs" / str(job) / "state"
    written: dict[str, int] = {}
    before = 0
    for turn in range(times):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:  # until it has got a little further
            found = sorted(state.glob("*.json"))
            if len(found) > before + rng.randrange(3) or len(found) >= number:
                break
            time.sleep(0.005)
        worker = running.worker()
        if turn % 2 and worker:
            os.kill(worker, signal.SIGKILL)
        else:
            running.kill()
        found = sorted(state.glob("*.json"))
        before = len(found)
        for path in found:
            # nothing twice: what was counted is not written again
            changed = path.stat().st_mtime_ns
            assert written.setdefault(path.name, changed) == changed
        if running.process.poll() is not None:
            running.start()
        assert running.client.get(f"/api/jobs/{job}").json()["error"] == ""
    done = running.until_done(job)
    assert (done["state"], done["done"], done["failed"]) == ("done", number, 0)
    assert counts_of(running.client, job) == expected(number)  # nothing lost
    for name, changed in written.items():
        assert (state / name).stat().st_mtime_ns == changed
    jobs = running.client.get("/api/jobs").json()
    assert [one["id"] for one in jobs] == [job]
    started = [e for e in running.client.get("/api/audit").json() if e["action"] == "start job"]
    assert len(started) == 1
    running.stop()
    return before


def test_killed_in_the_middle_of_a_job_it_is_taken_up_again(tmp_path):
    assert killed(tmp_path / "service", 3, 60) > 0


@pytest.mark.lifecycle
def test_killed_twenty_times(tmp_path):
    assert killed(tmp_path / "service", 20, 150) > 0


def test_stopped_while_it_counts_it_ends_soon_and_leaves_no_process(tmp_path):
    import psutil

    running = Running(tmp_path / "service")
    project = make(running, 20)
    running.client.post(f"/api/projects/{project}/jobs", json=OTSU)
    worker = running.worker()
    begun = time.monotonic()
    running.stop()
    assert time.monotonic() - begun < 15
    assert not psutil.pid_exists(worker)


@pytest.fixture
def waiting(tmp_path):
    """A job that waits, in a store without a process that counts."""
    app = create_app(Settings(tmp_path / "service"), counts=False)
    store = app.state.store
    folder = store.project(1) / "pictures"
    folder.mkdir(parents=True)
    names = [f"{place}.png" for place in range(3)]
    for place, name in enumerate(names):
        (folder / name).write_bytes(png(place, number=2))
    with store.change() as db:
        db.execute("insert into projects values (1, 'one', 'x', '')")
        db.execute(
            "insert into jobs (project, options, pictures, state, total, user, created) "
            "values (1, ?, ?, 'queued', 3, 'x', '')",
            (json.dumps(OTSU), json.dumps(names)),
        )
    return store


def test_a_job_that_kills_its_process_is_given_up(waiting, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for _ in range(3):
        assert take(waiting, attempts=3)["id"] == 1
        with waiting.change() as db:  # as a new process does
            db.execute("update jobs set state = 'queued' where state = 'running'")
    assert take(waiting, attempts=3) is None
    job = waiting.row("select * from jobs")
    assert job["state"] == "failed"
    assert job["error"] == "the process ended 3 times without getting further"


def test_a_job_that_gets_further_each_time_is_not_given_up(waiting, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    state = waiting.results(1, 1) / "state"
    state.mkdir(parents=True)
    for place in range(3):
        assert take(waiting, attempts=1)["id"] == 1
        (state / f"{place}.json").write_text("{}")
        with waiting.change() as db:
            db.execute("update jobs set state = 'queued'")
    assert take(waiting, attempts=1)["id"] == 1
    with waiting.change() as db:
        db.execute("update jobs set state = 'queued'")
    assert take(waiting, attempts=1) is None


def test_a_cancelled_job_stops_and_stays_cancelled(waiting, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    job = take(waiting, attempts=3)
    with waiting.change() as db:
        db.execute("update jobs set state = 'cancelled'")
    work(waiting, job)
    assert waiting.row("select state, done from jobs") == {"state": "cancelled", "done": 0}
    assert take(waiting, attempts=3) is None


def test_a_broken_or_missing_picture_is_said(waiting, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    place = waiting.project(1) / "pictures" / "1.png"
    place.write_bytes(b"\x89PNG\r\n\x1a\nnot")
    work(waiting, take(waiting, attempts=3))
    job = waiting.row("select * from jobs")
    assert (job["state"], job["planes"], job["failed"], job["cells"]) == ("done", 2, 1, 4)
    with waiting.change() as db:
        db.execute("update jobs set state = 'queued'")
    place.unlink()
    work(waiting, take(waiting, attempts=3))
    job = waiting.row("select * from jobs")
    assert (job["state"], job["error"]) == (
        *("failed", "1.png: the picture was deleted before it was counted"),
    )


def test_others_may_listen_only_when_there_is_a_password(tmp_path):
    done = cellcount("serve", "--root", tmp_path / "s", "--host", "0.0.0.0")
    assert done.returncode == 1
    assert done.stderr.startswith("error: --host 0.0.0.0: ")
    done = cellcount("serve", "--root", tmp_path / "s", "--page", tmp_path)
    assert done.returncode == 1
    assert "index.html" in done.stderr


def test_a_page_is_served_beside_the_routes(tmp_path):
    from fastapi.testclient import TestClient

    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text("<p>count here")
    app = create_app(Settings(tmp_path / "s", page=tmp_path / "page"), counts=False)
    with TestClient(app) as client:
        assert client.get("/").text == "<p>count here"
        assert client.get("/health").json() == {"status": "up"}
        assert client.get("/api/me").status_code == 401
        assert client.get("/../s/service.sqlite").status_code == 404
        assert client.get("/%2e%2e/s/service.sqlite").status_code == 404
