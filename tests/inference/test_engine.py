"""Networks as ONNX files: the same answer as torch's, and nothing else is taken for one."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from cellcount_lib.data.stretch import stretched
from cellcount_lib.errors import DataError, InputError
from cellcount_lib.inference import export
from cellcount_lib.inference import tiles as cut
from cellcount_lib.inference.engine import load_onnx
from cellcount_lib.inference.export import export_onnx
from cellcount_lib.inference.formulations import formulation
from cellcount_lib.inference.info import SHIPPED, ModelInfo, names
from cellcount_lib.inference.model_file import load_model, save_model
from cellcount_lib.inference.network import predict
from cellcount_lib.inference.predict import answer, logit_map
from cellcount_lib.models import build
from tests.discs import draw

# the others are made of the same parts; an export takes ten seconds
NETWORKS = [
    ("c-resunet", 3, 1, "mask"),
    ("small-unet", 3, 3, "three-class-4"),
    ("fcn", 1, 2, "mask"),
    ("small-unet", 3, 17, "stars"),
]


@pytest.fixture(scope="module", params=NETWORKS, ids=lambda p: "-".join(map(str, p)))
def both(request, tmp_path_factory):
    """A network with half-precision weights, from its two files."""
    name, inside, outside, asks = request.param
    model = build(name, inside, outside, seed=1)
    folder = tmp_path_factory.mktemp("both")
    info = ModelInfo(
        model.config, formulation=asks, threshold=0.6, cell_px=30, training={"seed": 1}
    )
    save_model(folder / "m.safetensors", model, info, half=True)
    trained = load_model(folder / "m.safetensors", precision="fp32")
    export_onnx(trained, folder / "m.onnx")
    return trained, load_onnx(folder / "m.onnx"), folder


def test_logits_and_description_are_those_of_torch(both):
    trained, network, folder = both
    assert network.info == trained.info
    assert (folder / "m.onnx").stat().st_size < 1.2 * (
        folder / "m.safetensors"
    ).stat().st_size + 5e5
    for size in [(75, 131), (1, 1), (17, 300), (64, 64)]:
        image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
        with torch.no_grad():
            pixels = torch.tensor(image).permute(2, 0, 1)[None]
            expected = answer(trained.model, pixels, formulation(trained.info.formulation).planes)
        given = np.ascontiguousarray(image.transpose(2, 0, 1)[None])
        (found,) = network.session.run(None, {"pixels": given})
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected.numpy(), atol=2e-5, rtol=1e-4)
        pair = [one.logit_map(image, scale=0.7) for one in (trained, network)]
        assert len(np.unique(pair[0])) > 2 or size == (1, 1)
        np.testing.assert_allclose(*pair, atol=1 / 256)  # the step of what is kept


def test_a_file_says_nothing_of_the_machine_that_wrote_it(both):
    for path in (both[2] / "m.onnx", *SHIPPED.glob("*.onnx")):
        written = path.read_bytes()
        assert b"stack_trace" not in written, path
        assert b"export.py" not in written, path
        assert os.fsencode(Path(torch.__file__).parent) not in written, path


def test_a_model_says_whether_pictures_are_stretched(both):
    dim = np.random.default_rng(0).integers(5, 60, (64, 80, 3)).astype(np.uint8)
    for one in both[:2]:
        asked = replace(one, info=replace(one.info, stretch=True))
        expected = one.logit_map(stretched(dim), scale=1)
        np.testing.assert_array_equal(asked.logit_map(dim, scale=1), expected)
        assert (expected != one.logit_map(dim, scale=1)).any()


def test_mirrored_answers_are_those_of_torch(both, tmp_path, monkeypatch):
    trained, network, folder = both
    graph = onnx.load(folder / "m.onnx")
    monkeypatch.setattr(export, "onnx_graph", lambda trained, dtype: graph)
    export_onnx(trained, tmp_path / "m.onnx", mirrored=True)
    mirrored = load_onnx(tmp_path / "m.onnx")
    assert (mirrored.mirrored, network.mirrored) == (True, False)
    assert mirrored.weights != network.weights  # other results, another name
    image = np.random.default_rng(2).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    asks = formulation(trained.info.formulation)
    expected = logit_map(trained.model, image, precision="fp32", asks=asks, mirrored=True)
    found = mirrored.logit_map(image, scale=1)
    np.testing.assert_allclose(found, expected, atol=1 / 256)
    assert (found != network.logit_map(image, scale=1)).any()
    turned = mirrored.logit_map(np.ascontiguousarray(image[:, ::-1]), scale=1)
    back = asks.mirrored(turned if asks.planes else turned[None], -1)
    np.testing.assert_allclose(back if asks.planes else back[0], found, atol=1 / 256)


def test_several_pictures_at_once_enter_the_graph(both):
    _, network, _ = both
    pixels = np.random.default_rng(1).integers(0, 256, (3, 3, 33, 50)).astype(np.uint8)
    (together,) = network.session.run(None, {"pixels": pixels})
    for one, logits in zip(pixels, together, strict=True):
        alone = network.session.run(None, {"pixels": one[None]})[0][0]
        np.testing.assert_allclose(alone, logits, atol=1e-4)


def test_tiles_equal_the_whole(both, monkeypatch):
    monkeypatch.setattr(cut, "SMALLEST_TILE", 96)
    image = np.random.default_rng(5).integers(0, 256, (203, 341, 3)).astype(np.uint8)
    network = both[1]
    whole = network.logit_map(image, scale=1)
    np.testing.assert_allclose(network.logit_map(image, scale=1, memory_mb=0.001), whole, atol=0.01)
    short = replace(network, halo=network.halo // 4).logit_map(image, scale=1, memory_mb=0.001)
    assert np.abs(short - whole).max() > 0.01 or both[0].info.config.name == "fcn"


@pytest.mark.parametrize("name", names())
def test_shipped_models_give_the_same_labels_in_both_formats(name):
    trained, network = load_model(name, precision="fp32"), load_onnx(name)
    assert network.info == trained.info
    image, _ = draw(np.random.default_rng(3), size=(301, 407), number=9, radius=18)
    for said in ({}, {"cell_px": 36}, {"cell_px": 20}):
        pair = [predict(one, image, **said) for one in (trained, network)]
        np.testing.assert_array_equal(pair[0].labels, pair[1].labels)
        np.testing.assert_allclose(pair[0].heatmap, pair[1].heatmap, atol=0.01)


@pytest.mark.parametrize("keep", [0, 7, 5000, -1000])
def test_a_cut_file_is_an_error(both, tmp_path, keep):
    whole = (both[2] / "m.onnx").read_bytes()
    (tmp_path / "m.onnx").write_bytes(whole[:keep])
    with pytest.raises(DataError, match=r"m\.onnx: expected"):
        load_onnx(tmp_path / "m.onnx")


def test_foreign_files_are_errors(both, tmp_path):
    trained, _, folder = both
    path = tmp_path / "m.onnx"
    model = onnx.load(folder / "m.onnx")
    about = {p.key: p.value for p in model.metadata_props}
    for change, says in (
        ({"format": "x"}, "expected a model written by this project .* found 'x'"),
        ({"info": "{}"}, "its description cannot be used"),
        ({"halo": "far"}, "its description cannot be used"),
        ({"mirrored": "maybe"}, "its description cannot be used"),
    ):
        onnx.helper.set_model_props(model, about | change)
        onnx.save(model, path)
        with pytest.raises(DataError, match=says):
            load_onnx(path)
    path.write_bytes((folder / "m.safetensors").read_bytes())
    with pytest.raises(DataError, match="expected an ONNX file"):
        load_onnx(path)
    with pytest.raises(DataError, match="found nothing of that name"):
        load_onnx(tmp_path / "absent.onnx")
    with pytest.raises(InputError, match=r"ends in \.onnx"):
        export_onnx(trained, tmp_path / "m.pt")
