"""Released weights, in files of the same layouts with the weights of a network made here."""

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from fastcore.foundation import L
from torch import nn

from cellcount_lib.errors import DataError, InputError
from cellcount_lib.inference import published as module
from cellcount_lib.inference.evaluation import ScaledProtocol, heatmaps
from cellcount_lib.inference.published import WEIGHTS, convert, published
from cellcount_lib.methods.score import Scoring, score
from cellcount_lib.models import build
from cellcount_lib.scoring.protocols import protocol
from tests.discs import write_dataset


def block(inside, outside, kernel):
    layers = {
        "batchnorm2d_0": nn.BatchNorm2d(inside, eps=0.001),
        "activation_1": nn.ELU(),
        "conv2d_2": nn.Conv2d(inside, outside, kernel, padding=kernel // 2),
        "batchnorm2d_3": nn.BatchNorm2d(outside, eps=0.001),
        "activation_4": nn.ELU(),
        "conv2d_5": nn.Conv2d(outside, outside, kernel, padding=kernel // 2),
    }
    return nn.ModuleDict({"conv_block": nn.ModuleDict(layers)})


def residual(inside, outside, kernel=3):
    parts = {"conv_path": block(inside, outside, kernel), "id_path": nn.ModuleDict()}
    if inside != outside:
        parts["id_path"]["conv2d_1"] = nn.Conv2d(inside, outside, 1)
    return nn.ModuleDict(parts)


def up(inside, outside):
    step = nn.ModuleDict({"up_conv": nn.ConvTranspose2d(inside, outside, 2, stride=2)})
    return nn.ModuleDict({"id_path": step, "conv_path": block(inside, outside, 3)})


class Released(nn.Module):
    """The layers of the released network by their names, and what it computes; facts of R23."""

    def __init__(self):
        super().__init__()
        bottleneck = {
            "residual_block1": residual(64, 128, 5),
            "residual_block2": residual(128, 128, 5),
        }
        self.encoder = nn.ModuleDict(
            {
                "colorspace": nn.Conv2d(3, 1, 1),
                "conv_block": block(1, 16, 3),
                "residual_block1": residual(16, 32),
                "residual_block2": residual(32, 64),
                "bottleneck": nn.ModuleDict(bottleneck),
            }
        )
        steps = {"upconv_block1": up(128, 64), "upconv_block2": up(64, 32)}
        self.decoder = nn.ModuleDict({**steps, "upconv_block3": up(32, 16)})
        heatmap = nn.ModuleDict({"conv2d": nn.Conv2d(16, 1, 1)})
        self.head = nn.ModuleDict({"heatmap": heatmap})

    def forward(self, x):
        def path(part, x):
            for layer in part["conv_block"].values():
                x = layer(x)
            return x

        def both(part, x):
            short = part["id_path"]["conv2d_1"](x) if len(part["id_path"]) else x
            return path(part["conv_path"], x) + short

        e, skips = self.encoder, []
        skips.append(path(e["conv_block"], e["colorspace"](x)))
        for name in ("residual_block1", "residual_block2"):
            skips.append(both(e[name], nn.functional.max_pool2d(skips[-1], 2)))
        x = nn.functional.max_pool2d(skips[-1], 2)
        for part in e["bottleneck"].values():
            x = both(part, x)
        for part, skip in zip(self.decoder.values(), reversed(skips), strict=True):
            x = part["id_path"]["up_conv"](x)
            x = path(part["conv_path"], torch.cat([x, skip], dim=1)) + x
        return self.head["heatmap"]["conv2d"](x).sigmoid()


@pytest.fixture(scope="module")
def released():
    torch.manual_seed(3)
    model = Released()
    for layer in model.modules():  # statistics that are not those of a fresh network
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.2, 0.2)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
    return model.eval()


def keras(model):
    """Arrays as Keras has them: channels last, and no count of batches."""
    arrays = OrderedDict()
    for name, tensor in model.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            array = tensor.numpy()
            arrays[name] = array.transpose(2, 3, 1, 0).copy() if array.ndim == 4 else array
    return arrays


def write(layout, model, path):
    if layout == "keras":
        path.write_bytes(pickle.dumps(keras(model)))
    elif layout == "learner":
        adam = torch.optim.Adam(model.parameters()).state_dict()
        optimizer = {"state": adam["state"], "hypers": L([{"lr": np.float64(0.001)}])}
        torch.save({"model": model.state_dict(), "opt": optimizer}, path)
    else:
        torch.save(model.state_dict(), path)
    return path


@pytest.mark.parametrize("layout", ["keras", "learner", "state"])
def test_a_file_of_each_layout_gives_the_outputs_of_the_released_network(
    layout, released, tmp_path
):
    found = convert(write(layout, released, tmp_path / "weights"))
    image = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(found(image).sigmoid(), released(image), rtol=0, atol=2e-6)
    assert not found.training
    assert found.config.name == "c-resunet"


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("harm"),)


@pytest.mark.parametrize("save", [lambda x, path: torch.save(x, path), None])
def test_a_file_with_code_in_it_is_refused_and_nothing_of_it_runs(save, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights"
    save(Evil(), path) if save else path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(DataError, match="expected nothing but weights"):
        convert(path)
    assert not (tmp_path / "harm").exists()


def test_other_weights_and_other_files_are_errors(released, tmp_path):
    path = tmp_path / "weights"
    torch.save(build("resunet").state_dict(), path)
    with pytest.raises(DataError, match=r"expected \d+ arrays of weights, found"):
        convert(path)
    arrays = keras(released)
    arrays["head.heatmap.conv2d.bias"] = np.zeros(2, np.float32)
    path.write_bytes(pickle.dumps(arrays))
    with pytest.raises(DataError, match="expected shape"):
        convert(path)
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(DataError, match="expected a dictionary of weights"):
        convert(path)
    path.write_bytes(b"PK nothing")
    with pytest.raises(DataError, match="expected nothing but weights"):
        convert(path)
    with pytest.raises(InputError, match="unknown dataset with released weights 'fnc-v2-yelow'"):
        published("fnc-v2-yelow", root=tmp_path)
    with pytest.raises(DataError, match=r"expected the authors' weights there; get them from git"):
        published("fnc-v1", root=tmp_path)


def test_the_released_network_of_a_dataset_is_scored(released, tmp_path, monkeypatch):
    data = f"folder:{write_dataset(tmp_path / 'discs', train=1)}"
    (tmp_path / "published-weights").mkdir()
    write("keras", released, tmp_path / "published-weights" / "discs.pkl")
    monkeypatch.setitem(WEIGHTS, data, ("discs.pkl", "here"))
    asked = Scoring("published-weights", data, "smoke", protocol_scale=0.45)
    found = score(asked, root=tmp_path)
    model = module.published(data, root=tmp_path)
    from cellcount_lib.data.datasets import load

    ruler = ScaledProtocol(protocol("recommended"), 0.45, 1)
    choice, _ = ruler.choose_cutoff(*heatmaps(model, load(data, split="val"), scale=1.0))
    assert found.choice == choice
    assert found.images["image"].tolist() == load(data, split="test").names
