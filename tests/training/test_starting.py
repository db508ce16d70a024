"""What a model brings to a training that starts from it."""

import json
from dataclasses import replace

import pytest

from cellcount_lib.data.datasets import load
from cellcount_lib.data.sample import cell_width
from cellcount_lib.errors import InputError
from cellcount_lib.inference.info import ModelInfo
from cellcount_lib.inference.model_file import load_model, save_model
from cellcount_lib.models import build
from cellcount_lib.training.spec import Training
from cellcount_lib.training.starting import started
from tests.command import cellcount
from tests.discs import write_dataset


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    folder = write_dataset(tmp_path_factory.mktemp("starting"), radius=13.0)
    return folder, cell_width(list(load(f"folder:{folder}", split="train")))


def test_loss_stretch_and_the_width_of_cells_come_from_the_model(discs):
    folder, width = discs
    from_it = started(Training(dataset=f"folder:{folder}", init="nuclei-flows"))
    assert (from_it.loss, from_it.stretch) == ("flows", True)
    assert from_it.lr == pytest.approx(0.0005)
    info = load_model("nuclei-flows").info
    assert from_it.scale * width == pytest.approx(info.cell_px * info.scale, abs=0.2)
    neurons = started(Training(dataset=f"folder:{folder}", init="neurons"))
    assert (neurons.loss, neurons.stretch) == ("combined-balanced", False)
    assert 8 < neurons.scale * width < 11, "a quarter of the 36 pixels of simulated neurons"


def test_what_is_said_stays(discs):
    folder, _ = discs
    said = Training(
        dataset=f"folder:{folder}", init="nuclei-flows", loss="stars", scale=0.3, lr=0.01
    )
    assert started(said, stretch=False) == said
    assert started(said) == replace(said, stretch=True)


def test_a_model_that_says_little_leaves_it_to_recipe_and_profile(discs, tmp_path):
    model = build("small-unet")
    save_model(tmp_path / "m.safetensors", model, ModelInfo(model.config))
    training = Training(dataset=f"folder:{discs[0]}", init=str(tmp_path / "m.safetensors"))
    assert started(training) == replace(training, lr=0.1 * 0.005)
    with pytest.raises(InputError, match="expected `init`"):
        started(replace(training, init=None))
    looked_for = replace(training, recipe="clissa2023-lr-find")
    assert started(looked_for) == looked_for, "its rate is found by a test, not by a table"


def test_the_command_goes_on_as_the_model_was_trained(discs, tmp_path):
    folder, _ = discs
    short = ("--profile", "smoke", "--epochs", "1", "--steps", "2", "--precision", "fp32")
    asked = ("train", f"folder:{folder}", "--init", "nuclei-flows", *short, "--out", tmp_path / "o")
    done = cellcount(*asked)
    assert done.returncode == 0, done.stderr
    assert "from nuclei-flows: loss flows, stretched pictures, scale 0.7" in done.stdout
    info = load_model(tmp_path / "o" / "model.safetensors").info
    assert (info.formulation, info.stretch, info.config.out_channels) == ("flows", True, 3)
    settings = json.loads((tmp_path / "o" / "training.json").read_text())["settings"]
    assert settings["scale"] == info.scale
    again = cellcount(*asked)
    assert "holds this training already, complete" in again.stdout
