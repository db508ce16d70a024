import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cellcount_lib.errors import DataError, InputError
from cellcount_lib.inference.info import ModelInfo
from cellcount_lib.inference.model_file import load_model, save_model, tensor_digest
from cellcount_lib.inference.predict import heatmap
from cellcount_lib.models import MODELS, ModelConfig, build


@pytest.fixture
def stored(tmp_path):
    model = build("small-unet", bn_momentum=0.1, seed=3)
    info = ModelInfo(
        model.config,
        threshold=0.7,
        scale=0.25,
        pixel_size_um=0.3,
        cell_px=37.5,
        training={"dataset": "simulated", "seed": 3},
    )
    path = tmp_path / "m.safetensors"
    save_model(path, model, info)
    return model, info, path


@pytest.mark.parametrize("name", MODELS)
def test_a_model_comes_back_bit_for_bit(name, tmp_path):
    model = build(name, in_channels=2, out_channels=2 if name == "fcn" else 1, seed=1)
    path = tmp_path / "m.safetensors"
    save_model(path, model, ModelInfo(model.config))
    back = load_model(path)
    assert back.info == ModelInfo(model.config)
    assert not back.model.training
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, back.model.state_dict()[key]), key


def test_info_comes_back(stored):
    _, info, path = stored
    assert load_model(path).info == info
    assert load_model(str(path)).info.config == ModelConfig("small-unet", bn_momentum=0.1)


def test_half_precision_is_half_the_size_and_nearly_the_same(stored, tmp_path):
    model, info, path = stored
    save_model(tmp_path / "half.safetensors", model, info, half=True)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * path.stat().st_size
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    half = load_model(tmp_path / "half.safetensors").model
    assert {p.dtype for p in half.parameters()} == {torch.float32}
    difference = heatmap(model, image, precision="fp32") - heatmap(half, image, precision="fp32")
    assert 0 < np.abs(difference).max() < 5e-3


def test_no_pickle_is_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was executed",))

    path = tmp_path / "evil.safetensors"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError, match="safetensors"):
        load_model(path)
    torch.save({"weights": torch.zeros(3)}, path)
    with pytest.raises(DataError, match="safetensors"):
        load_model(path)


@pytest.mark.parametrize("keep", [0, 7, 100, 5000, -1])
def test_a_cut_file_is_an_error(stored, keep):
    path = stored[2]
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=str(path)):
        load_model(path)


def test_foreign_files_are_errors(stored, tmp_path):
    model, info, path = stored
    other = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(2)}, other)
    with pytest.raises(DataError, match="expected a model written by this project"):
        load_model(other)
    with pytest.raises(DataError, match="found nothing of that name"):
        load_model(tmp_path / "absent.safetensors")
    with pytest.raises(InputError, match="unknown model 'c-resnet'"):
        load_model("c-resnet")
    with pytest.raises(InputError, match=r"ends in \.safetensors"):
        save_model(tmp_path / "m.pt", model, info)
    with pytest.raises(InputError, match=r"info\.config"):
        save_model(path, model, replace(info, config=ModelConfig("unet")))


def test_weights_that_do_not_fit_are_errors(stored):
    model, _, path = stored
    state = dict(model.state_dict())
    first = next(iter(state))

    def write(tensors):
        from cellcount_lib.inference.model_file import read_tensors, write_tensors

        about = read_tensors(path)[1]
        write_tensors(path, tensors, about)

    good = path.read_bytes()
    write({k: v for k, v in state.items() if k != first})
    with pytest.raises(DataError, match="1 are missing or foreign"):
        load_model(path)
    path.write_bytes(good)
    write(state | {first: state[first][:1]})
    with pytest.raises(DataError, match="expected shape"):
        load_model(path)
    path.write_bytes(good)
    write(state | {first: torch.full_like(state[first], torch.nan)})
    with pytest.raises(DataError, match="NaN"):
        load_model(path)
    ended = load_model(path, finite=False)
    assert torch.isnan(ended.model.state_dict()[first]).all()


@pytest.mark.parametrize(
    "wrong",
    [{"threshold": 1.5}, {"scale": 0}, {"pixel_size_um": -1}, {"protocol": "x"}, {"cell_px": 0}],
)
def test_info_is_checked(wrong):
    with pytest.raises(InputError):
        ModelInfo(ModelConfig("fcn"), **wrong)


def test_digest_sees_names_bytes_and_text():
    a, b = torch.zeros(3), torch.tensor([0.0, 0.0, 1e-45])
    marks = {
        tensor_digest({"a": a}),
        tensor_digest({"a": b}),
        tensor_digest({"b": a}),
        tensor_digest({"a": a}, "text"),
        tensor_digest({"a": -a}),
    }
    assert len(marks) == 5
    assert tensor_digest({"a": a, "b": b}) == tensor_digest({"b": b, "a": a})
