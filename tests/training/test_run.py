"""Whole trainings on a small dataset: killed and resumed, repeated, collapsed, refused."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from cellcount_lib.data.datasets import load
from cellcount_lib.errors import DataError
from cellcount_lib.inference.evaluation import Ruler
from cellcount_lib.inference.model_file import ModelInfo, load_model, save_model
from cellcount_lib.inference.predict import heatmap
from cellcount_lib.models import build
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.protocols import protocol
from cellcount_lib.training import spec as settings
from cellcount_lib.training.recipes import recipe
from cellcount_lib.training.result import finished
from cellcount_lib.training.run import train
from cellcount_lib.training.spec import Training
from tests.discs import write_dataset

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "arch": "small-unet",
    "profile": "smoke",
    "crop": 32,
    "batch": 4,
    "steps": 4,
    "epochs": 4,
    "scale": 1.0,
    "protocol_scale": 0.45,
    "precision": "fp32",
}


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("discs") / "data")


def training(discs, **changes):
    return Training(f"folder:{discs}", **SMALL | changes)


def weights(folder):
    return load_model(folder / "model.safetensors").model.state_dict()


# --- what is left --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def done(discs, tmp_path_factory):
    """A training long enough to find the discs."""
    out = tmp_path_factory.mktemp("done")
    asked = training(discs, steps=30)
    return asked, out, train(asked, out, show=False, jobs=1)


def test_discs_are_learned_and_scored_on_full_pictures(done, discs):
    _, _, result = done
    assert result.status == "completed"
    assert result.reason == ""
    assert result.scores["f1"] > 0.95
    test = load(f"folder:{discs}", split="test")
    rows = result.images.set_index("image")
    ruler = protocol("recommended")
    for sample in test:
        exact = heatmap(result.model, sample.image, precision="fp32")
        logit = np.rint(np.clip(np.log(exact / (1 - exact)), -6.35, 6.35) * 20) / 20
        labels = ruler.segment(1 / (1 + np.exp(-logit)), result.info.threshold, scale=0.45)
        row = ruler.score(sample.labels, labels, scale=0.45)
        assert rows.loc[sample.meta["name"], ["tp", "fp", "fn"]].tolist() == [
            row[c] for c in ("tp", "fp", "fn")
        ]
    assert result.scores == pooled(result.images, mpe=ruler.mpe)


def test_a_finished_folder_holds_everything(done):
    asked, out, result = done
    summary = json.loads((out / "training.json").read_text())
    assert summary["status"] == "completed"
    assert summary["scores"]["f1"] == result.scores["f1"]
    assert summary["settings"]["seed"] == 0
    assert summary == finished(asked, out)
    model = load_model(out / "model.safetensors")
    assert model.info.threshold == result.info.threshold
    assert model.info.protocol_scale == 0.45
    assert model.info.cell_px == pytest.approx(18, abs=1.5)
    history = pd.read_csv(out / "history.csv")
    assert history["epoch"].tolist() == [0, 1, 2, 3]
    assert history["dice"].iloc[-1] > 0.9
    curve = pd.read_csv(out / "cutoffs.csv")
    best = curve.loc[curve["f1"].idxmax(), "f1"]
    assert curve.set_index("cutoff").loc[result.info.threshold, "f1"] == best
    assert len(pd.read_csv(out / "images.csv")) == 2
    assert (out / "history.png").read_bytes().startswith(b"\x89PNG")
    assert not [p for p in out.iterdir() if p.name.startswith(".")]


def test_a_folder_of_another_training_is_refused(done, discs, tmp_path):
    asked, out, _ = done
    with pytest.raises(DataError, match="seed was 0, now 1"):
        finished(replace(asked, seed=1), out)
    with pytest.raises(DataError, match="seed was 0, now 1"):
        train(replace(asked, seed=1), out, show=False, jobs=1)
    changed = tmp_path / "data"
    shutil.copytree(discs, changed)
    kept = tmp_path / "out"
    shutil.copytree(out, kept)
    summary = json.loads((kept / "training.json").read_text())
    summary["asked"]["dataset"] = f"folder:{changed}"
    (kept / "training.json").write_text(json.dumps(summary))
    moved = replace(asked, dataset=f"folder:{changed}")
    assert finished(moved, kept) == summary
    shutil.copy(changed / "images" / "train0.png", changed / "images" / "train1.png")
    with pytest.raises(DataError, match=r"the pictures of .* have changed"):
        finished(moved, kept)
    (kept / "training.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        finished(moved, kept)


def test_the_same_seed_twice_and_another_one(discs, tmp_path):
    one = train(training(discs, seed=3), show=False, jobs=1)
    two = train(training(discs, seed=3), tmp_path, show=False, jobs=1)
    other = train(training(discs, seed=4), show=False, jobs=1)

    def numbers(result):
        return [{k: v for k, v in row.items() if k != "seconds"} for row in result.history]

    assert numbers(one) == numbers(two) != numbers(other)
    assert one.scores == two.scores
    assert one.info.threshold == two.info.threshold
    for (name, a), b in zip(
        one.model.state_dict().items(), weights(tmp_path).values(), strict=True
    ):
        assert torch.equal(a, b), name


def test_starting_from_a_model(done, discs):
    _, out, _ = done
    start = str(out / "model.safetensors")
    again = train(training(discs, init=start, epochs=1, steps=1), show=False, jobs=1)
    assert again.history[0]["dice"] > 0.9


def test_without_test_pictures_there_are_no_scores(tmp_path):
    data = write_dataset(tmp_path / "data", test=0)
    result = train(training(data, epochs=1), tmp_path / "out", show=False, jobs=1)
    assert result.images is None
    assert result.scores == {}
    assert not (tmp_path / "out" / "images.csv").exists()


def test_weight_maps_artifacts_and_a_searched_rate(discs):
    asked = training(discs, recipe="clissa2023", loss="wbce-2021", weight_map=True, epochs=2)
    result = train(asked, show=False, jobs=1)
    assert result.info.training["recipe"]["weight_map"] is True
    assert 1e-7 < result.info.training["lr_used"] < 10
    assert len(result.history) == 2


# --- failures that must stay visible -------------------------------------------------------------


def test_nan_is_a_collapse_with_its_reason(discs, monkeypatch, tmp_path):
    wild = replace(recipe("fcn2016"), lr=1e30)
    monkeypatch.setattr(settings, "recipe", lambda name: wild)
    result = train(training(discs), tmp_path, show=False, jobs=1)
    assert result.status == "collapsed"
    assert "the loss became" in result.reason
    assert finished(training(discs), tmp_path)["status"] == "collapsed"
    assert len(result.images) == 2  # every picture has its row, whatever the network says
    assert result.scores["fn"] == 10


def test_a_network_that_finds_nothing_is_a_collapse(discs, tmp_path):
    model = build("small-unet", bn_momentum=0.1)
    last = [m for m in model.modules() if isinstance(m, nn.Conv2d)][-1]
    nn.init.constant_(last.bias, -50)
    save_model(tmp_path / "dead.safetensors", model, ModelInfo(model.config))
    asked = training(discs, init=str(tmp_path / "dead.safetensors"), epochs=1, steps=1)
    result = train(asked, show=False, jobs=1)
    assert result.status == "collapsed"
    assert result.reason == "no object predicted on validation pictures"
    assert result.scores["tp"] == 0
    assert result.scores["fn"] == 10
    assert result.history[0]["found"] == 0


# --- resume --------------------------------------------------------------------------------------

KILL = """
import os, signal, sys
from pathlib import Path
from cellcount_lib import files
from cellcount_lib.training import callbacks, result, run
from cellcount_lib.training.fast import Callback
from cellcount_lib.training.settings import Training
import json

asked, out, when = json.loads(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
kind, _, number = when.partition(":")

def die():
    os.kill(os.getpid(), signal.SIGKILL)

class Assassin(Callback):
    order = 5
    def after_step(self):
        if kind == "step" and [self.epoch, self.iter] == json.loads(number):
            die()

if kind == "step":
    made = run.make_training_learner
    run.make_training_learner = lambda *a, cbs=(), **k: made(*a, cbs=[*cbs, Assassin()], **k)
if kind == "write":  # half of the n-th file is on the disk
    writes = [0]
    replace = os.replace
    def replaced(part, path):
        if "checkpoint" in str(path):
            writes[0] += 1
            if writes[0] == int(number):
                os.truncate(part, os.path.getsize(part) // 2)
                die()
        replace(part, path)
    os.replace = replaced
if kind == "evaluate":
    result.Ruler.choose_cutoff = lambda *a: die()
if kind == "leave":
    result.history_figure = lambda rows: die()
run.train(Training(**asked), out, show=False, jobs=1)
"""


def killed_at(when, asked, out):
    """Run a training in a process of its own that is killed with SIGKILL at a point."""
    command = [sys.executable, "-c", KILL, json.dumps(asked), str(out), when]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert ended.returncode == (-signal.SIGKILL if when != "never" else 0), ended.stderr


@pytest.mark.parametrize("name", ["recommended", "morelli2021"])
def test_killed_anywhere_it_ends_with_the_same_weights(name, discs, tmp_path):
    asked = {"dataset": f"folder:{discs}", "recipe": name, **SMALL}
    killed_at("never", asked, tmp_path / "whole")
    points = [
        "step:[0, 2]",
        "write:1",
        "step:[1, 0]",
        "write:2",
        "step:[3, 3]",
        "evaluate",
        "leave",
    ]
    if name == "morelli2021":
        points = ["step:[2, 1]"]
    for when in points:
        killed_at(when, asked, tmp_path / "cut")
        assert not (tmp_path / "cut" / "training.json").exists()
    killed_at("never", asked, tmp_path / "cut")
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    for key, tensor in whole.items():
        assert torch.equal(tensor, cut[key]), key
    first, second = (pd.read_csv(tmp_path / n / "history.csv") for n in ("whole", "cut"))
    pd.testing.assert_frame_equal(first.drop(columns="seconds"), second.drop(columns="seconds"))
    one, two = (json.loads((tmp_path / n / "training.json").read_text()) for n in ("whole", "cut"))
    assert one["scores"] == two["scores"]
    assert one["settings"] == two["settings"]


def test_the_command_killed_at_a_random_moment_goes_on(discs, tmp_path):
    options = ["--arch", "small-unet", "--profile", "smoke", "--crop", "32", "--batch", "4"]
    options += ["--steps", "60", "--epochs", "5", "--scale", "1", "--protocol-scale", "0.45"]
    options += ["--precision", "fp32"]
    command = [sys.executable, "-m", "cellcount_lib", "train", f"folder:{discs}", *options, "--out"]
    process = subprocess.Popen(
        [*command, tmp_path / "cut"], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    checkpoint = tmp_path / "cut" / "checkpoint.safetensors"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(np.random.default_rng().uniform(0, 1))
    process.kill()
    process.wait()
    assert checkpoint.exists()
    texts = []
    for name in ("cut", "whole"):
        ended = subprocess.run(
            [*command, tmp_path / name], cwd=ROOT, capture_output=True, text=True, timeout=200
        )
        assert ended.returncode == 0, ended.stderr
        texts.append(ended.stdout)
    assert "F1 1.000" in texts[0] or "F1 0.9" in texts[0]
    whole = weights(tmp_path / "whole")
    for key, tensor in weights(tmp_path / "cut").items():
        assert torch.equal(tensor, whole[key]), key
    again = subprocess.run(
        [*command, tmp_path / "cut"], cwd=ROOT, capture_output=True, text=True, timeout=200
    )
    assert "holds this training already, complete" in again.stdout
    other = subprocess.run(
        [*command, tmp_path / "cut", "--seed", "1"], cwd=ROOT, capture_output=True, text=True
    )
    assert other.returncode == 1
    assert other.stderr.startswith("error:")
    assert "seed was 0, now 1" in other.stderr


@pytest.fixture
def halfway(discs, tmp_path, monkeypatch):
    """A folder with a checkpoint of two epochs, and the training it belongs to."""

    class Cut(Exception):
        pass

    def cut(*_):
        raise Cut

    monkeypatch.setattr(Ruler, "choose_cutoff", cut)
    asked = training(discs)
    with pytest.raises(Cut):
        train(asked, tmp_path, show=False, jobs=1)
    monkeypatch.undo()
    return asked, tmp_path


def flip(path, share):
    data = bytearray(path.read_bytes())
    data[int(len(data) * share)] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("not a checkpoint"),
        lambda path: flip(path, 0.5),
        lambda path: flip(path, 0.999),
    ],
    ids=["cut", "empty", "text", "bit", "last bits"],
)
def test_a_damaged_checkpoint_is_an_error_not_a_new_start(halfway, spoil):
    asked, out = halfway
    path = out / "checkpoint.safetensors"
    spoil(path)
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"remove .* to train from the start"):
        train(asked, out, show=False, jobs=1)
    assert path.read_bytes() == before


def test_a_foreign_checkpoint_is_an_error(halfway):
    asked, out = halfway
    path = out / "checkpoint.safetensors"
    with pytest.raises(DataError, match=r"another training: profile\.crop was 32, now 48"):
        train(replace(asked, crop=48), out, show=False, jobs=1)
    model = build("small-unet")
    save_model(out / "m.safetensors", model, ModelInfo(model.config))
    shutil.copy(out / "m.safetensors", path)
    with pytest.raises(DataError, match="expected a checkpoint of this project"):
        train(asked, out, show=False, jobs=1)


def test_a_full_disk_is_one_clear_error_and_can_be_resumed(discs, tmp_path):
    asked = training(discs)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old[1]))
        with pytest.raises(Exception, match=r"could not be written .*MB are needed") as caught:
            train(asked, tmp_path, show=False, jobs=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert isinstance(caught.value, DataError)
    assert train(asked, tmp_path, show=False, jobs=1).status in ("completed", "collapsed")


def test_an_unknown_dataset_ends_in_one_sentence(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "cellcount_lib", "train", "fnc-v9", "--out", str(tmp_path / "o")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"CELLCOUNT_DATA": str(tmp_path)},
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: unknown dataset 'fnc-v9'")
    assert ended.stderr.count("\n") == 1
