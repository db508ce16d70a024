"""What Label Studio says to what labels beforehand, and what it is answered.

Requests as Label Studio 1.23 makes them; the real one is asked in test_real_labelstudio.
"""

import json
import shutil
import threading

import numpy as np
import pytest
import tifffile

from cellcount_lib.active.strategies import turn
from cellcount_lib.data.images import read_labels
from cellcount_lib.inference.info import DEFAULT, shipped
from cellcount_lib.labels.labelled import Labelled, Pictures
from cellcount_lib.labels.labelstudio import labelled, results
from cellcount_lib.service import labelstudio, retrain, worker
from tests.discs import draw
from tests.service.conftest import png
from tests.service.running import Running

SCHEMA = labelstudio.CONFIG


def truth(seed):
    return draw(np.random.default_rng(seed), size=(96, 112), number=5)[1].astype(np.int32)


def task(name, number=7):
    return {
        "id": number,
        "data": {"image": f"/data/upload/1/5f3a0b1c-{name}"},
        "meta": {},
        "project": 1,
        "annotations": [],
        "predictions": [],
    }


def ask(*names):
    return {
        "tasks": [task(name) for name in names],
        "model_version": "auto",
        "project": "1.1764288000",
        "label_config": SCHEMA,
        "params": {"login": None, "password": None, "context": None},
    }


def event(name, labels, action="ANNOTATION_CREATED"):
    """An annotation as Label Studio sends it when somebody submits one."""
    return {
        "action": action,
        "annotation": {
            "id": 12,
            "completed_by": 1,
            "result": results(Labelled(name, labels)),
            "was_cancelled": False,
            "lead_time": 21.4,
            "task": 7,
            "project": 1,
        },
        "task": task(name),
        "project": {"id": 1, "title": "cells", "label_config": SCHEMA},
    }


@pytest.fixture
def filled(as_, project):
    for seed in range(4):
        path = f"/api/projects/{project}/pictures/{seed}.png"
        assert as_("annotator", "PUT", path, content=png(seed)).status_code == 201
    return f"/label-studio/{project}"


@pytest.fixture
def working(app, monkeypatch, tmp_path):
    """A thread that does what the process that counts does."""
    monkeypatch.chdir(tmp_path)
    ending = threading.Event()

    def loop():
        while not ending.wait(0.02):
            if job := worker.take(app.state.store, attempts=5):
                worker.work(app.state.store, job)

    thread = threading.Thread(target=loop)
    thread.start()
    yield
    ending.set()
    thread.join()


def test_health_and_set_up(as_, filled):
    assert as_("viewer", "GET", f"{filled}/health").json()["status"] == "UP"
    given = {
        "project": "1.17",
        "schema": SCHEMA,
        "hostname": "http://localhost",
        "access_token": "x",
    }
    said = as_("viewer", "POST", f"{filled}/setup", json=given)
    assert said.json() == {"model_version": "auto"}
    given["schema"] = '<View><Text name="text" value="$text"/></View>'
    said = as_("viewer", "POST", f"{filled}/setup", json=given)
    assert said.status_code == 400
    assert "PolygonLabels" in said.json()["detail"]


def test_predictions_are_the_polygons_of_the_count(as_, app, filled, working):
    said = as_("annotator", "POST", f"{filled}/predict", json=ask("0.png", "1.png"))
    assert said.status_code == 200, said.text
    first, second = said.json()["results"]
    assert first["model_version"] == "auto"
    for place, found in enumerate((first, second)):
        shown = labelled(task("x.png"), found["result"], Pictures(None))
        counted = app.state.store.results(1, place + 1) / "labels" / f"{place}.tif"
        np.testing.assert_array_equal(shown.labels, read_labels(counted))
        assert shown.labels.max() >= 2
        assert found["score"] == turn(int(shown.labels.max()), f"{place}.png", "auto")
        assert {r["type"] for r in found["result"]} == {"polygonlabels"}
        assert {r["from_name"] for r in found["result"]} == {"polygon"}
    # asked again, nothing is counted again
    again = as_("annotator", "POST", f"{filled}/predict", json=ask("1.png", "0.png"))
    assert again.json()["results"] == [second, first]
    assert len(as_("viewer", "GET", "/api/jobs").json()) == 2


def test_a_lone_object_in_pieces_is_an_object(as_, app, filled, working):
    asked = "annotator", "POST", f"{filled}/predict"
    assert as_(*asked, json=ask("0.png")).status_code == 200
    counted = app.state.store.results(1, 1) / "labels" / "0.tif"
    pieces = np.zeros_like(tifffile.imread(counted))
    for corner in (5, 15, 25):
        pieces[corner : corner + 4, corner : corner + 4] = 1
    tifffile.imwrite(counted, pieces)
    said = as_(*asked, json=ask("0.png"))
    assert said.status_code == 200, said.text
    shown = labelled(task("0.png"), said.json()["results"][0]["result"], Pictures(None))
    np.testing.assert_array_equal(shown.labels, pieces)


def test_corrections_are_kept_to_the_pixel_and_train_the_next_version(
    as_, app, filled, working, monkeypatch
):
    seen = []

    def trained(data, out, model, profile, *, look):
        look()
        seen.append(sorted((data / "index.csv").read_text().splitlines()[1:]))
        model.parent.mkdir(exist_ok=True)
        shutil.copy(shipped(DEFAULT, ".onnx"), model)

    monkeypatch.setattr(worker, "trained", trained)
    object.__setattr__(app.state.settings, "retrain_after", 3)

    def correct(seed, **how):
        said = as_(
            "annotator", "POST", f"{filled}/webhook", json=event(f"{seed}.png", truth(seed), **how)
        )
        assert said.status_code == 200, said.text
        return said.json()

    assert correct(0) == {"status": "kept", "corrections": 1}
    assert correct(0, action="ANNOTATION_UPDATED") == {"status": "kept", "corrections": 1}
    assert correct(1) == {"status": "kept", "corrections": 2}
    for seed in (0, 1):
        kept = app.state.store.project(1) / "corrections" / f"{seed}.png.tif"
        np.testing.assert_array_equal(read_labels(kept), truth(seed))
    job = correct(2)["job"]
    _until(as_, job)
    assert as_("viewer", "GET", f"{filled}/versions").json() == {
        "versions": [f"project-1-{job}", "auto"]
    }
    # the next version learns from all of them, the older ones included
    assert correct(3) == {"status": "kept", "corrections": 1}
    assert correct(1)["corrections"] == 2
    second = correct(0)["job"]
    _until(as_, second)
    assert [len(rows) for rows in seen] == [3, 4]
    assert seen[1][1] == "1.png,images/00001.png,labels/00001.png,val"
    assert [row.rsplit(",")[-1] for row in seen[1]] == ["train", "val", "train", "train"]
    said = as_("annotator", "POST", f"{filled}/predict", json=ask("0.png"))
    assert said.json()["results"][0]["model_version"] == f"project-1-{second}"
    assert 0 < said.json()["results"][0]["score"] <= 1


def _until(as_, job, seconds=60):
    for _ in range(seconds * 20):
        said = as_("viewer", "GET", f"/api/jobs/{job}").json()
        if said["state"] not in ("queued", "running"):
            break
        threading.Event().wait(0.05)
    assert said["state"] == "done", said
    assert said["kind"] == "train"


@pytest.mark.parametrize(
    "change",
    [
        {"task": {"id": 1, "data": {"image": "other.png"}}},
        {"task": {"id": 1, "data": {"image": "../../../etc/passwd"}}},
        {"task": {"id": 1, "data": []}},
        {"annotation": {"result": [{"type": "polygonlabels"}]}},
        {"annotation": {"result": [[]]}},
        {"annotation": {"result": "x"}},
        {
            "annotation": {
                "result": [{"type": "x", "original_width": 10**9, "original_height": 10**9}]
            }
        },
        {
            "annotation": {
                "result": [{"type": "brushlabels", "value": {"format": "rle", "rle": [1, 2]}}]
            }
        },
    ],
)
def test_annotations_that_are_hostile_or_broken(as_, app, filled, change):
    said = as_("annotator", "POST", f"{filled}/webhook", json=event("0.png", truth(0)) | change)
    assert said.status_code == 400, said.text
    assert not (app.state.store.project(1) / "corrections").exists()
    assert app.state.store.rows("select * from corrections") == []


def test_other_events_and_other_requests(as_, filled):
    for action in ("ANNOTATIONS_DELETED", "PROJECT_UPDATED", "TASKS_CREATED"):
        said = as_("annotator", "POST", f"{filled}/webhook", json={"action": action, "x": 1})
        assert said.json() == {"status": "ignored"}
    assert as_("annotator", "POST", f"{filled}/predict", json={"tasks": [{}]}).status_code == 400
    assert as_("annotator", "POST", f"{filled}/predict", json={"tasks": 3}).status_code == 422
    assert as_("annotator", "POST", "/label-studio/9/predict", json=ask()).status_code == 404


def test_a_picture_without_labels_does_not_keep_the_others_from_theirs(
    as_, filled, working, monkeypatch
):
    asked = "annotator", "POST", f"{filled}/predict"
    found = as_(*asked, json=ask("0.png", "elsewhere.png", "1.png")).json()["results"]
    assert [*map(bool, found)] == [True, False, True]
    monkeypatch.setattr(labelstudio, "PATIENCE", 0.0)
    assert as_(*asked, json=ask("2.png", "0.png")).json()["results"] == [{}, found[0]]


def test_a_skipped_picture_is_no_correction_and_a_button_trains(as_, filled, app):
    asked = "annotator", "POST", f"{filled}/webhook"
    skipped = event("0.png", truth(0) * 0)
    skipped["annotation"]["was_cancelled"] = True
    assert as_(*asked, json=skipped).json() == {"status": "ignored"}
    assert app.state.store.rows("select * from corrections") == []
    button = {"action": "START_TRAINING", "project": {"id": 1}}
    assert as_(*asked, json=button).json() == {"status": "kept", "corrections": 0}
    as_(*asked, json=event("0.png", truth(0)))
    assert as_(*asked, json=button).json() == {"status": "kept", "corrections": 1}  # of two
    as_(*asked, json=event("1.png", truth(1)))
    job = as_(*asked, json=button).json()["job"]
    assert as_("viewer", "GET", f"/api/jobs/{job}").json()["kind"] == "train"
    assert as_(*asked, json=button).json() == {"status": "kept", "corrections": 0}


def test_a_picture_that_is_not_counted_in_time_is_asked_for_again(as_, filled, monkeypatch):
    monkeypatch.setattr(labelstudio, "PATIENCE", 0.0)
    said = as_("annotator", "POST", f"{filled}/predict", json=ask("0.png"))
    assert said.status_code == 503
    assert said.headers["Retry-After"] == "30"
    as_("annotator", "POST", f"{filled}/predict", json=ask("0.png"))
    assert len(as_("viewer", "GET", "/api/jobs").json()) == 1


def test_a_training_that_fails_says_why(tmp_path, monkeypatch):
    looked = []
    with pytest.raises(Exception, match="the training failed: ") as caught:
        retrain.trained(
            tmp_path / "nothing",
            tmp_path / "run",
            tmp_path / "m.onnx",
            "smoke",
            look=lambda: looked.append(1),
        )
    assert "expected a folder" in str(caught.value)
    assert looked


@pytest.mark.lifecycle
def test_a_network_is_trained_on_corrections_and_is_the_next_version(tmp_path):
    running = Running(tmp_path / "service", "--retrain-after", "3", "--profile", "smoke")
    client = running.client
    client.post("/api/projects", json={"name": "p"})
    for seed in range(3):
        client.put(f"/api/projects/1/pictures/{seed}.png", content=png(seed))
        said = client.post("/label-studio/1/webhook", json=event(f"{seed}.png", truth(seed)))
    job = said.json()["job"]
    done = running.until_done(job, seconds=400)
    assert done["state"] == "done", json.dumps(done)
    said = client.post("/label-studio/1/predict", json=ask("0.png"))
    assert said.json()["results"][0]["model_version"] == f"project-1-{job}"
    running.stop()
