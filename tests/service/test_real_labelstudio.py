"""The real Label Studio with `cellcount serve` as its backend: labelled, corrected, trained, again.

The server is that of `tools.label_studio`, which is installed the first time. Whatever it asks of
another machine is refused and noted.
"""

import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import time
from contextlib import closing

import httpx
import numpy as np
import pytest

from cellcount_lib.data.images import read_labels
from cellcount_lib.labels.labelled import Labelled, Pictures
from cellcount_lib.labels.labelstudio import labelled, read, results
from cellcount_lib.service.labelstudio import CONFIG
from tests.service.conftest import png
from tests.service.running import Running
from tests.service.test_labelstudio import truth
from tools import label_studio

PASSWORD = "correct-horse-1"
NUMBER = 4  # pictures

# of every Python process of Label Studio: nothing but this machine may be asked
GUARD = """
import sys

def guard(event, given):
    if event == "socket.connect" and isinstance(given[1], tuple):
        host = given[1][0]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = given[0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host not in (None, "", "localhost", "127.0.0.1", "::1", "0.0.0.0"):
        with open({asked!r}, "a") as file:
            file.write(f"{event} {host}\\n")
        raise OSError(f"{host}: not this machine")

sys.addaudithook(guard)
"""


class Person:
    """A user of Label Studio, signed in as a browser is."""

    def __init__(self, base):
        self.client = httpx.Client(base_url=base, timeout=120, follow_redirects=True)

    def enter(self, path, name):
        """Fill in the form at a path."""
        page = self.client.get(path)
        (hidden,) = set(re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text))
        given = {"email": name, "password": PASSWORD, "csrfmiddlewaretoken": hidden}
        said = self.client.post(path, data=given, headers={"Referer": str(page.url)})
        assert said.status_code == 200, said.text[:2000]
        assert self.ask("GET", "/api/current-user/whoami")["email"] == name
        return self

    def ask(self, method, path, status=(200, 201), **given):
        headers = {"X-CSRFToken": self.client.cookies.get("csrftoken", "")}
        headers["Referer"] = str(self.client.base_url)
        said = self.client.request(method, path, headers=headers, **given)
        assert said.status_code in status, f"{method} {path}: {said.status_code} {said.text[:2000]}"
        return said.json() if said.content else None


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """(address, what it asked of other machines)."""
    try:
        label_studio.installed()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"Label Studio cannot be installed here: {error}")
    base = tmp_path_factory.mktemp("label-studio")
    asked = base / "asked.txt"
    (base / "guard").mkdir()
    (base / "guard" / "sitecustomize.py").write_text(GUARD.replace("{asked!r}", repr(str(asked))))
    guarded = {"PYTHONPATH": str(base / "guard")}
    calls = "import socket; socket.getaddrinfo('elsewhere.invalid', 80)"
    python = label_studio.place() / "bin" / "python"
    tried = subprocess.run([python, "-c", calls], env=os.environ | guarded, capture_output=True)
    assert b"elsewhere.invalid: not this machine" in tried.stderr
    assert asked.read_text() == "socket.getaddrinfo elsewhere.invalid\n"
    asked.unlink()
    with socket.socket() as free:
        free.bind((label_studio.HOST, 0))
        port = free.getsockname()[1]
    # with its first user; to make one takes Label Studio minutes
    database, kept = base / "data" / "label_studio.sqlite3", label_studio.place() / "first.sqlite3"
    if kept.exists():
        database.parent.mkdir()
        shutil.copy(kept, database)
    address = f"http://{label_studio.HOST}:{port}"
    with (base / "log.txt").open("w") as log:
        process = label_studio.start(
            *(base / "data", port),
            user=("ada@example.org", PASSWORD),
            more=guarded,
            log=log,
        )
        deadline = time.monotonic() + 1200  # its database is made first
        while time.monotonic() < deadline:
            assert process.poll() is None, (base / "log.txt").read_text()
            try:
                httpx.get(f"{address}/health", timeout=10).raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.5)
        if not kept.exists():
            with closing(sqlite3.connect(database)) as made, closing(sqlite3.connect(kept)) as copy:
                made.backup(copy)
        yield address, asked
        process.terminate()
        process.wait(timeout=60)


@pytest.fixture
def service(tmp_path):
    made = Running(tmp_path / "service", "--retrain-after", "3", "--profile", "smoke")
    made.client.post("/api/projects", json={"name": "p"})
    for seed in range(NUMBER):
        made.client.put(f"/api/projects/1/pictures/{seed}.png", content=png(seed))
    yield made
    made.stop()


@pytest.mark.lifecycle
@pytest.mark.timeout(1800)
def test_two_people_label_with_the_real_label_studio(server, service, tmp_path, record_property):
    address, asked = server
    ada = Person(address).enter("/user/login/", "ada@example.org")
    version = ada.ask("GET", "/api/version")["release"]
    record_property("Label Studio", version)
    invited = ada.ask("GET", "/api/invite")["invite_url"]
    bo = Person(address).enter(invited, "bo@example.org")

    project = ada.ask("POST", "/api/projects", json={"title": "cells", "label_config": CONFIG})[
        "id"
    ]
    for seed in range(NUMBER):
        file = {"file": (f"{seed}.png", png(seed), "image/png")}
        ada.ask("POST", f"/api/projects/{project}/import", files=file)
    ada.ask("POST", f"/api/projects/{project}/import", files={"file": ("x.png", png(9))})
    tasks = {}  # that picture, which the service does not have, aside
    for task in bo.ask("GET", f"/api/tasks?project={project}")["tasks"]:
        if found := re.search(r"(\d)\.png$", task["data"]["image"]):
            tasks[int(found[1])] = task["id"]
    assert sorted(tasks) == [*range(NUMBER)]

    user = {"name": "label-studio", "role": "annotator"}
    token = service.client.post("/api/users", json=user).json()["token"]
    backend = f"http://127.0.0.1:{service.port}/label-studio/1"
    given = {
        "project": project,
        "url": backend,
        "title": "cellcount",
        "auth_method": "BASIC_AUTH",
        "basic_auth_user": "label-studio",
        "basic_auth_pass": "wrong",
    }
    refused = ada.ask("POST", "/api/ml", json=given, status=[400])
    assert "authentication" in json.dumps(refused)
    connected = ada.ask("POST", "/api/ml", json=given | {"basic_auth_pass": token})
    number = connected["id"]
    hook = {
        "project": project,
        "url": f"{backend}/webhook",
        "send_payload": True,
        "send_for_all_actions": False,
        "headers": {"Authorization": f"Bearer {token}"},
        "actions": ["ANNOTATION_CREATED", "ANNOTATION_UPDATED"],
    }
    ada.ask("POST", "/api/webhooks/", json=hook)

    def predicted():
        """Ask for predictions as the button does; return those of every picture, by version."""
        every = {"ordering": [], "selectedItems": {"all": True, "excluded": []}}
        query = f"id=retrieve_tasks_predictions&project={project}"
        ada.ask("POST", f"/api/dm/actions?{query}", json=every)
        found = {}
        for seed, task in tasks.items():
            for one in bo.ask("GET", f"/api/predictions?task={task}"):
                found.setdefault(one["model_version"], {})[seed] = one
        return found

    def drawn(result):
        return labelled({"data": {"image": "x.png"}}, result, Pictures(None)).labels

    first = predicted()
    assert [*first] == ["auto"]
    assert sorted(first["auto"]) == [*range(NUMBER)]
    jobs = {}
    for job in service.client.get("/api/jobs").json():
        (name,) = service.client.get(f"/api/jobs/{job['id']}/files/counts.csv").text.splitlines()[
            1:
        ]
        jobs[int(name[0])] = job["id"]
    for seed, one in first["auto"].items():
        kept = service.root / "projects" / "1" / "jobs" / str(jobs[seed]) / "labels"
        np.testing.assert_array_equal(drawn(one["result"]), read_labels(kept / f"{seed}.tif"))
    assert predicted() == first, "nothing is asked for twice"

    # bo starts from a prediction and corrects it; ada changes what bo did
    def corrections():
        folder = service.root / "projects" / "1" / "corrections"
        return {int(path.name[0]): read_labels(path) for path in folder.glob("*.tif")}

    def annotate(person, seed):
        result = results(Labelled(f"{seed}.png", truth(seed)))
        given = {"result": result, "lead_time": 12.5, "was_cancelled": False}
        given["parent_prediction"] = first["auto"][seed]["id"]
        return person.ask("POST", f"/api/tasks/{tasks[seed]}/annotations/", json=given)

    begun = annotate(bo, 0)
    np.testing.assert_array_equal(corrections()[0], truth(0))
    fewer = np.where(truth(0) == 1, 0, truth(0))
    given = {"result": results(Labelled("0.png", fewer))}
    ada.ask("PATCH", f"/api/annotations/{begun['id']}", json=given)
    np.testing.assert_array_equal(corrections()[0] > 0, fewer > 0)
    annotate(ada, 1)
    assert sorted(corrections()) == [0, 1]
    assert service.client.get("/api/jobs").json()[0]["kind"] == "count"
    ada.ask("POST", f"/api/ml/{number}/train", json={})  # the button, before there are enough
    skipped = {"result": [], "was_cancelled": True}
    bo.ask("POST", f"/api/tasks/{tasks[3]}/annotations/", json=skipped)
    assert sorted(corrections()) == [0, 1], "skipped is not corrected"
    newest = service.client.get("/api/jobs").json()[0]
    assert newest["kind"] == "train"
    began = time.monotonic()
    done = service.until_done(newest["id"], seconds=1000)
    assert done["state"] == "done", done
    record_property("seconds of the training", round(time.monotonic() - began))

    trained = f"project-1-{newest['id']}"
    annotate(bo, 2)
    second = predicted()
    assert {*second} == {"auto", trained}
    assert sorted(second[trained]) == [*range(NUMBER)]
    assert all(0 <= one["score"] <= 1 for one in second[trained].values())
    assert ada.ask("GET", f"/api/ml/{number}")["model_version"] == trained
    assert ada.ask("GET", f"/api/ml/{number}/versions")["versions"] == [trained, "auto"]

    # what Label Studio exports is what was drawn there
    export = bo.client.get(f"/api/projects/{project}/export?exportType=JSON")
    place = tmp_path / "export.json"
    place.write_bytes(export.content)
    exported = {one.name[-5]: one.labels for one in read(place, Pictures(None))}
    assert sorted(exported) == ["0", "1", "2"]
    for name, labels in exported.items():
        np.testing.assert_array_equal(labels > 0, corrections()[int(name)] > 0)

    assert not asked.exists(), asked.read_text()
    people = {task["completed_by"] for t in json.loads(export.text) for task in t["annotations"]}
    assert len(people) == 2
    record_property("pictures", NUMBER)
    record_property("corrections", len(corrections()))
