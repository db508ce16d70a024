"""What others load: TorchScript gives torch's answer, a BioImage.IO package passes its own test."""

import io
import json
import zipfile

import numpy as np
import pytest
import torch
import yaml

from cellcount_lib.errors import InputError
from cellcount_lib.inference import package
from cellcount_lib.inference.export import export_torchscript
from cellcount_lib.inference.info import ModelInfo
from cellcount_lib.inference.model_file import TrainedModel
from cellcount_lib.inference.predict import answer
from cellcount_lib.models import build


def trained(name="fcn", outside=1, **about):
    model = build(name, 3, outside, seed=1).eval()
    return TrainedModel(model, ModelInfo(model.config, **about))


@pytest.mark.parametrize(
    ("name", "outside", "asks", "planes"),
    [
        ("c-resunet", 1, "mask", 0),
        ("small-unet", 3, "three-class-4", 0),
        ("small-unet", 17, "stars", 16),
    ],
)
def test_torchscript_gives_the_answer_of_the_network(tmp_path, name, outside, asks, planes):
    one = trained(name, outside, formulation=asks)
    export_torchscript(one, tmp_path / "m.pt")
    extra = {"info.json": ""}
    loaded = torch.jit.load(tmp_path / "m.pt", _extra_files=extra)
    assert ModelInfo.of_header(json.loads(extra["info.json"]), tmp_path) == one.info
    for size in [(1, 3, 35, 50), (2, 3, 1, 1)]:
        pixels = torch.randint(0, 256, size, dtype=torch.uint8)
        with torch.no_grad():
            expected = answer(one.model, pixels, planes)
            assert expected.shape[1] == 1 + planes
            same = {"rtol": 0, "atol": 1e-4 if name == "c-resunet" else 0}  # its ELU is torch's
            torch.testing.assert_close(loaded(pixels), expected, **same)
            torch.testing.assert_close(loaded(pixels.float()), expected, **same)
    with pytest.raises(InputError, match=r"ends in \.pt"):
        export_torchscript(one, tmp_path / "m.onnx")


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    path = tmp_path_factory.mktemp("package") / "m.zip"
    one = trained(stretch=True, scale=0.5, cell_px=30, threshold=0.625, training={"seed": 1})
    package.export_package(one, path, name="mine", licence="CC0-1.0")
    return one, path


def described(value, handler, info):
    from bioimageio.spec._internal.io_packaging import _package

    return handler(value) | {"source": _package(value.source, info, sha256=value.sha256)}


def test_a_package_passes_its_own_test(packed, monkeypatch):
    from bioimageio.spec._internal import io_packaging
    from bioimageio.spec.model import v0_4

    # bioimageio.spec 0.5.12 gives a handler of pydantic a second argument, which 2.14 refuses
    for function, mended in (
        (io_packaging.package_file_descr_serializer, described),
        (v0_4.package_weights, lambda value, handler, info: handler(value)),
    ):
        monkeypatch.setattr(function, "__code__", mended.__code__)
    from bioimageio.core import test_description as check

    summary = check(packed[1])
    assert summary.status == "passed", summary.format()


def test_what_a_package_says(packed):
    one, path = packed
    with zipfile.ZipFile(path) as file:
        about = yaml.safe_load(file.read("bioimageio.yaml"))
        readme = file.read("README.md").decode()
        pixels, heatmap = (
            np.load(io.BytesIO(file.read(f"{name}.npy"))) for name in ("pixels", "heatmap")
        )
    assert about["license"] == "CC0-1.0"
    assert "authors" not in about  # nobody knows who trained it
    assert about["cite"][0]["doi"] == "10.1038/s41598-021-01929-5"
    assert "cells 15 pixels wide" in readme  # 30 at half the size
    assert "0.625" in readme
    assert "mine" in readme
    # by hand: stretched between percentiles, through the network, made a probability
    low, high = np.percentile(pixels, (1.0, 99.8))
    seen = 255 * np.clip((pixels - low) / (high - low), 0, 1)
    with torch.no_grad():
        expected = torch.sigmoid(one.model(torch.tensor(seen, dtype=torch.float32) / 255))
    np.testing.assert_allclose(heatmap, expected.numpy(), atol=1e-6)
    assert np.ptp(heatmap) > 0.001


def test_names_and_files_are_checked(tmp_path):
    about = package.description(trained(), "c-resunet-simulated", None, reach=9)
    assert about["license"] == "Apache-2.0"
    assert about["name"] == "cellcount c-resunet-simulated"
    assert about["authors"]
    assert "license" not in package.description(trained(), "another", None, reach=9)
    with pytest.raises(InputError, match=r"ends in \.zip"):
        package.export_package(trained(), tmp_path / "m.onnx", name="x")
    rays = package.description(trained("small-unet", 17, formulation="stars"), "x", None, reach=9)
    (output,) = rays["outputs"]
    assert len(output["axes"][1]["channel_names"]) == 17
    assert output["postprocessing"] == []
