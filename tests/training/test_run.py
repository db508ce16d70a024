"""Whole trainings on a small dataset: repeated, collapsed, refused, killed and resumed."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from cellcount_lib.data.datasets import load
from cellcount_lib.data.stretch import stretched
from cellcount_lib.errors import DataError
from cellcount_lib.inference.evaluation import ScaledProtocol
from cellcount_lib.inference.heatmaps import encode, load_heatmaps
from cellcount_lib.inference.info import ModelInfo
from cellcount_lib.inference.model_file import load_model, save_model
from cellcount_lib.inference.predict import heatmap
from cellcount_lib.models import build
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.protocols import protocol
from cellcount_lib.training import spec
from cellcount_lib.training.command import describe
from cellcount_lib.training.data import read_data
from cellcount_lib.training.recipes import RECIPES
from cellcount_lib.training.result import finished
from cellcount_lib.training.run import train
from tests.discs import write_dataset
from tests.nursery import COMMAND, ROOT
from tests.training.small import KILLED, SMALL, training, weights

# --- what is left --------------------------------------------------------------------------------


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
        labels = ruler.segment(exact, result.info.threshold, scale=0.45)
        row = ruler.score(sample.labels, labels, scale=0.45)
        assert rows.loc[sample.meta["name"], ["tp", "fp", "fn"]].tolist() == [
            row[c] for c in ("tp", "fp", "fn")
        ]
    assert result.scores == pooled(result.images, mpe=ruler.mpe)


def test_stretched_in_training_as_in_evaluation(discs, tmp_path):
    """A picture of half the brightness is the same to a network that stretches."""
    asked = training(discs, stretch=True, steps=8)
    pictures = read_data(asked).train, read_data(training(discs)).train
    for one, plain in zip(*pictures, strict=True):
        np.testing.assert_array_equal(one.image, stretched(plain.image))
    result = train(asked, tmp_path, show=False, jobs=1)
    assert result.info.stretch
    trained = load_model(tmp_path / "model.safetensors", precision="fp32")
    (sample,) = load(f"folder:{discs}", split="test")[:1]
    logits = trained.logit_map(sample.image, scale=1.0)
    kept = result.heatmaps["test"][sample.meta["name"]]
    np.testing.assert_array_equal(encode(logits), kept.code)
    half = trained.logit_map(sample.image // 2, scale=1.0)
    assert np.abs(half - logits).mean() < 0.2


@pytest.mark.parametrize("loss", ["boundary-bell", "stars", "flows"])
def test_other_questions_are_learned_kept_and_scored_again(loss, discs, tmp_path):
    result = train(
        training(discs, loss=loss, arch="c-resunet", steps=30), tmp_path, show=False, jobs=1
    )
    losses = [row["train_loss"] for row in result.history]
    assert losses[-1] < losses[0] / 2
    assert result.scores["f1"] > 0.9
    labels = {s.meta["name"]: s.labels for s in load(f"folder:{discs}", split="test")}
    kept = load_heatmaps(tmp_path / "heatmaps-test.npz")
    scaled = ScaledProtocol(load_model(tmp_path / "model.safetensors").info.ruler(), 0.45, 1)
    again = scaled.score(kept, labels, result.choice.cutoff).drop(columns="cutoff")
    pd.testing.assert_frame_equal(again, result.images)


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
    assert summary["choice"] == result.choice._asdict()
    assert result.choice[:3] == (result.info.threshold, "middle", best)
    edge = result.choice._replace(edge="lowest", note="the lowest of its grid")
    for told, ends in ((summary, "(middle"), (summary | {"choice": edge._asdict()}, "grid)")):
        last = describe(told)[-1]
        assert last.startswith(f"cutoff {result.info.threshold} chosen on validation pictures")
        assert ends in last
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
    one = train(training(discs, seed=3, epochs=2), show=False, jobs=1)
    two = train(training(discs, seed=3, epochs=2), tmp_path, show=False, jobs=1)
    other = train(training(discs, seed=4, epochs=2), show=False, jobs=1)

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
    asked = training(
        discs, recipe="clissa2023-lr-find", loss="wbce-2021", weight_map=True, epochs=2
    )
    result = train(asked, show=False, jobs=1)
    assert result.info.training["recipe"]["weight_map"] is True
    assert 1e-7 < result.info.training["lr_used"] < 10
    assert result.info.training["lr_used"] != 1e-3
    assert len(result.history) == 2


# --- failures that must stay visible -------------------------------------------------------------


def test_nan_is_a_collapse_with_its_reason(discs, monkeypatch, tmp_path):
    wild = replace(RECIPES["fcn2016"], lr=1e30)
    monkeypatch.setattr(spec, "RECIPES", {"recommended": wild})
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
    assert result.reason == "no cell found on validation pictures"
    assert result.scores["tp"] == 0
    assert result.scores["fn"] == 10
    assert result.history[0]["found"] == 0


TRAINED = """
import json, sys, torch
from cellcount_lib.training import prepare
from cellcount_lib.training.run import train
from cellcount_lib.training.spec import Training

torch.set_num_threads(2)
fit = prepare.fit

def watched(*given):
    fit(*given)
    tiny = torch.full((1_000_000,), 1000, dtype=torch.int32).view(torch.float32)  # 1.4e-42
    print(torch.count_nonzero((tiny * 1.0).view(torch.int32)).item())

prepare.fit = watched
train(Training(**json.loads(sys.argv[1])), show=False, jobs=1)
"""


def test_no_thread_of_a_training_computes_with_subnormal_numbers(discs, nursery):
    asked = json.dumps({"dataset": f"folder:{discs}", **SMALL | {"epochs": 1}})
    ended = nursery.run(TRAINED, asked)
    assert ended.returncode == 0, ended.stderr
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot")
    torch.set_flush_denormal(False)
    assert int(ended.stdout) == 0


# --- resume --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other", [{}, {"recipe": "morelli2021"}, {"optimizer": "schedule-free"}], ids=str
)
def test_killed_anywhere_it_ends_with_the_same_weights(other, discs, nursery, tmp_path):
    asked = json.dumps({"dataset": f"folder:{discs}", **other, **SMALL})

    def run(folder, when):
        ended = nursery.run(KILLED, asked, tmp_path / folder, when)
        assert ended.returncode == (0 if when == "never" else -9), ended.stderr

    run("whole", "never")
    points = ["step:[0, 2]", "write:1", "step:[1, 0]", "write:2", "step:[3, 3]", "evaluate"]
    for when in ["step:[2, 1]"] if other else [*points, "leave"]:
        run("cut", when)
        assert not (tmp_path / "cut" / "training.json").exists()
    run("cut", "never")
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    for key, tensor in whole.items():
        assert torch.equal(tensor, cut[key]), key
    first, second = (pd.read_csv(tmp_path / n / "history.csv") for n in ("whole", "cut"))
    pd.testing.assert_frame_equal(first.drop(columns="seconds"), second.drop(columns="seconds"))
    one, two = (json.loads((tmp_path / n / "training.json").read_text()) for n in ("whole", "cut"))
    assert one["scores"] == two["scores"]
    assert one["settings"] == two["settings"]


def test_the_command_killed_at_a_random_moment_goes_on(discs, nursery, tmp_path):
    options = ["--arch", "small-unet", "--profile", "smoke", "--crop", "32", "--batch", "4"]
    options += ["--steps", "30", "--epochs", "5", "--scale", "1", "--protocol-scale", "0.45"]
    command = ["train", f"folder:{discs}", *options, "--precision", "fp32", "--out"]
    process = subprocess.Popen(
        [sys.executable, "-m", "cellcount_lib", *command, tmp_path / "cut"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    checkpoint = tmp_path / "cut" / "checkpoint.safetensors"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(np.random.default_rng().uniform(0, 1))
    process.kill()
    process.wait()
    assert checkpoint.exists()
    for name in ("cut", "whole"):
        ended = nursery.run(COMMAND, *command, tmp_path / name)
        assert ended.returncode == 0, ended.stderr
        assert "F1 1.000" in ended.stdout or "F1 0.9" in ended.stdout
        assert ended.stdout.splitlines()[-1].startswith("cutoff 0.")
    # a log says where the training is
    line = r"epoch (\d)/5: loss [\d.e-]+, dice [\d.]+, \d+ s\n"
    assert re.findall(line, ended.stderr) == [*"12345"]
    assert "training took" in ended.stdout
    whole = weights(tmp_path / "whole")
    for key, tensor in weights(tmp_path / "cut").items():
        assert torch.equal(tensor, whole[key]), key
    again = nursery.run(COMMAND, *command, tmp_path / "cut")
    assert "holds this training already, complete" in again.stdout
    other = nursery.run(COMMAND, *command, tmp_path / "cut", "--seed", "1")
    assert other.returncode == 1
    assert other.stderr.startswith("error:")
    assert "seed was 0, now 1" in other.stderr


def test_an_unknown_dataset_ends_in_one_sentence(nursery, tmp_path):
    data, out = str(tmp_path), str(tmp_path / "o")
    ended = nursery.run(COMMAND, "train", "fnc-v9", "--root", data, "--out", out)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: unknown dataset 'fnc-v9'")
    assert ended.stderr.count("\n") == 1
