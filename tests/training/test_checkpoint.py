"""Checkpoints: what goes in comes out, and nothing else is taken for one."""

import re
import resource
import shutil
import signal
from dataclasses import replace

import pytest
import torch

from cellcount_lib import losses
from cellcount_lib.errors import DataError
from cellcount_lib.inference.info import ModelInfo
from cellcount_lib.inference.model_file import save_model
from cellcount_lib.models import build
from cellcount_lib.training.checkpoint import (
    read_checkpoint,
    restore_state,
    state,
    write_checkpoint,
)
from cellcount_lib.training.crops import Crops, cell_places, grid_places
from cellcount_lib.training.data import read_data
from cellcount_lib.training.learner import fit, make_learner
from cellcount_lib.training.loader import Batches
from cellcount_lib.training.prepare import prepare
from cellcount_lib.training.recipes import RECIPES
from cellcount_lib.training.run import train
from tests.training.small import training

NAME = "checkpoint.safetensors"


def bits(tensor):
    return tensor.contiguous().view(-1).view(torch.uint8).tolist()


def steps(tensor):
    """Distance in memory along each axis that has more than one entry."""
    return [s for s, n in zip(tensor.stride(), tensor.shape, strict=True) if n > 1]


# --- round trip ----------------------------------------------------------------------------------


def test_what_is_written_is_read_to_the_last_bit(tmp_path):
    tensors = {
        "model.a": torch.tensor([1.5, -0.0, float("nan"), float("inf"), 1e-45]),
        "model.b": torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last),
        "best.b": torch.tensor([[1.1]], dtype=torch.bfloat16),
        "optimizer.0.step": torch.tensor(7.0),
    }
    about = {
        "settings": {"seed": 1, "betas": (0.9, 0.99)},
        "history": [{"dice": 0.1 + 0.2}],
        "lr": 1e-3 / 3,
        "scaler": None,
    }
    write_checkpoint(tmp_path / NAME, tensors, about)
    read, told = read_checkpoint(tmp_path / NAME, {"seed": 1, "betas": (0.9, 0.99)})
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert (read[name].shape, read[name].dtype) == (tensor.shape, tensor.dtype)
        assert bits(read[name]) == bits(tensor), name
    assert told == about | {"settings": {"seed": 1, "betas": [0.9, 0.99]}}


def learner(samples, name):
    crops = Crops(samples)
    plain = RECIPES.get(name) or replace(RECIPES["recommended"], optimizer=name)
    recipe = replace(plain.shortened(3), loss="bce", schedule="constant")
    options = {"side": 32, "batch": 4}
    change = recipe.augmentation
    return recipe, make_learner(
        build("small-unet", seed=1),
        Batches(crops, cell_places(samples, 32), augmentation=change, steps=2, **options),
        Batches(crops, grid_places(samples, 32), **options),
        losses.build("bce"),
        recipe,
    )


@pytest.fixture(scope="module")
def pictures(discs):
    return read_data(training(discs), jobs=1).train[:2]


@pytest.mark.parametrize(
    "name", ["recommended", "fcn2016-discriminative", "sgd", "rmsprop", "adagrad", "schedule-free"]
)
def test_a_learner_is_restored_with_its_optimiser_laid_out_as_its_parameters(
    name, pictures, tmp_path
):
    recipe, first = learner(pictures, name)
    fit(first, recipe, 0.01)
    tensors, about = state(first)
    write_checkpoint(tmp_path / NAME, tensors, about | {"settings": {}})
    _, second = learner(pictures, name)
    fit(second, replace(recipe, epochs=1), 0.02)  # so that there is an optimiser, in another state
    second.n_epoch = 3
    restore_state(second, *read_checkpoint(tmp_path / NAME, {}))

    assert second.first_epoch == 3
    assert second.history.rows == first.history.rows
    assert second.watch.state == first.watch.state
    assert second.watch.best.keys() == first.watch.best.keys()
    for key, tensor in first.watch.best.items():
        assert torch.equal(second.watch.best[key], tensor)
    for one, two in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, two)
        before, after = first.opt.opt.state[one], second.opt.opt.state[two]
        assert before.keys() == after.keys()
        for key, moment in before.items():
            assert torch.equal(after[key], moment), key
            if moment.shape == one.shape:
                assert steps(after[key]) == steps(two)
    assert not all(p.is_contiguous() for p in second.model.parameters())  # a layout to lose
    groups = second.opt.opt.param_groups
    assert [g["lr"] for g in groups] == [g["lr"] for g in first.opt.opt.param_groups]


def test_a_training_that_stopped_early_has_no_epoch_left(pictures):
    recipe, first = learner(pictures, "recommended")
    fit(first, replace(recipe, epochs=1), 0.01)
    first.stop_reason = "no gain"
    tensors, about = state(first)
    _, second = learner(pictures, "recommended")
    fit(second, replace(recipe, epochs=1), 0.01)
    second.n_epoch = 9
    restore_state(second, tensors, about)
    assert (second.first_epoch, second.stop_reason) == (9, "no gain")


# --- damaged, foreign, cut short -----------------------------------------------------------------


@pytest.fixture(scope="module")
def cut(discs, tmp_path_factory):
    """The folder of a training that is not evaluated yet, the training, and its pictures."""
    out, asked = tmp_path_factory.mktemp("cut"), training(discs, epochs=2)
    data = read_data(asked, jobs=1)
    prepare(asked, data, out, show=False).fit()
    return out, asked, data


@pytest.fixture
def halfway(cut, tmp_path):
    """A copy of that folder."""
    out, asked, data = cut
    return shutil.copytree(out, tmp_path / "out"), asked, data


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
    out, asked, data = halfway
    spoil(out / NAME)
    before = (out / NAME).read_bytes()
    with pytest.raises(DataError, match=r"remove .* to train from the start"):
        train(asked, out, data=data, show=False, jobs=1)
    assert (out / NAME).read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 1}, ["seed was 0, now 1"]),
        ({"crop": 48}, ["profile.crop was 32, now 48"]),
        ({"steps": 5}, ["profile.steps was 4, now 5"]),
        ({"batch": 2}, ["recipe.batch was 4, now 2"]),
        ({"epochs": 3}, ["recipe.epochs was 2, now 3"]),
        ({"grey": 0.5}, ["recipe.augmentation.grey was 0.0, now 0.5"]),
        ({"precision": "bf16"}, ["precision was 'float32', now 'bfloat16'"]),
        ({"loss": "dice"}, ["recipe.loss was 'combined-balanced', now 'dice'"]),
        ({"arch": "fcn"}, ["arch was 'small-unet', now 'fcn'"]),
        ({"crop": 48, "seed": 1}, ["profile.crop was 32, now 48", "seed was 0, now 1"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_another_training_changes_is_named(halfway, changes, named):
    out, asked, data = halfway
    before = (out / NAME).read_bytes()
    with pytest.raises(DataError, match="belongs to another training: ") as caught:
        prepare(replace(asked, **changes), data, out, show=False)
    listed = re.search(r"another training: (.*)\. remove ", str(caught.value)).group(1).split("; ")
    if {"loss", "arch"} & changes.keys():  # other definitions are reached
        listed = [one for one in listed if not one.startswith("code was")]
    assert listed == named
    assert (out / NAME).read_bytes() == before


def test_other_pictures_and_another_file_are_refused(halfway):
    out, asked, data = halfway
    with pytest.raises(DataError, match=r"another training: fingerprint was '.*', now 'other'\. "):
        prepare(asked, replace(data, fingerprint="other"), out, show=False)
    model = build("small-unet")
    save_model(out / NAME, model, ModelInfo(model.config))
    with pytest.raises(DataError, match="expected a checkpoint of this project"):
        prepare(asked, data, out, show=False)


KILLED_WRITING = """
import os, signal, sys
from pathlib import Path
import torch
from cellcount_lib.training.checkpoint import write_checkpoint

def write(number):
    tensors = {"a": torch.full((1000,), float(number))}
    write_checkpoint(Path(sys.argv[1]), tensors, {"settings": {}, "epoch": number})

write(1)
if sys.argv[2] == "before":
    def replace(part, path):
        os.truncate(part, os.path.getsize(part) // 2)
        os.kill(os.getpid(), signal.SIGKILL)
    os.replace = replace
write(2)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("moment", "left"), [("before", 1), ("after", 2)])
def test_killed_while_writing_there_is_a_whole_checkpoint(moment, left, nursery, tmp_path):
    ended = nursery.run(KILLED_WRITING, tmp_path / NAME, moment)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    tensors, about = read_checkpoint(tmp_path / NAME, {})
    assert about["epoch"] == left
    assert (tensors["a"] == left).all()


def test_a_full_disk_is_one_clear_error_and_can_be_resumed(discs, tmp_path):
    asked = training(discs, epochs=1)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old[1]))
        with pytest.raises(DataError, match=r"could not be written .*MB are needed"):
            train(asked, tmp_path, show=False, jobs=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert train(asked, tmp_path, show=False, jobs=1).status in ("completed", "collapsed")
