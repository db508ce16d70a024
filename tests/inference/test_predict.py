import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cellcount_lib.errors import InputError
from cellcount_lib.inference import predict as inference
from cellcount_lib.inference import tiles as cut
from cellcount_lib.inference.info import ModelInfo
from cellcount_lib.inference.model_file import TrainedModel
from cellcount_lib.inference.network import magnified, predict
from cellcount_lib.inference.predict import choose_device, choose_precision, heatmap
from cellcount_lib.inference.tiles import tiles
from cellcount_lib.models import MODELS, ModelConfig, SegmentationModel, build
from cellcount_lib.models.measure import receptive_field
from tests.discs import draw

SIZES = [(75, 131), (64, 64), (1, 1), (17, 300)]


class Bright(SegmentationModel):
    """Logit = 20 (mean of the channels - 0.4): a network whose answer is known."""

    multiple = 1

    def __init__(self, channels=3):
        super().__init__(ModelConfig("fcn", in_channels=channels))
        self.layer = nn.Conv2d(channels, 1, 1)
        nn.init.constant_(self.layer.weight, 20 / channels)
        nn.init.constant_(self.layer.bias, -8)

    def segment(self, x):
        return self.layer(x)


@pytest.fixture
def picture():
    rng = np.random.default_rng(5)
    return rng.integers(0, 256, (203, 341, 3)).astype(np.uint8)


@pytest.fixture
def unrounded(monkeypatch):
    """The network's own logits, to compare to the last digits."""
    monkeypatch.setattr(inference, "rounded", lambda logits: logits)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", SIZES)
def test_heatmap_is_the_sigmoid_of_the_plain_forward_pass(name, size, unrounded):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    model = build(name, seed=2).train()
    plain = build(name, seed=2).eval()
    with torch.no_grad():
        pixels = torch.tensor(image / 255, dtype=torch.float32).permute(2, 0, 1)[None].contiguous()
        expected = torch.sigmoid(plain(pixels))[0, 0].numpy()
    found = heatmap(model, image, precision="fp32")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert model.training  # as it was given
    for a, b in zip(model.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(a, b)  # not even the running statistics have moved


@pytest.mark.parametrize("name", MODELS)
def test_tiles_equal_the_whole(name, picture, monkeypatch, unrounded):
    monkeypatch.setattr(cut, "SMALLEST_TILE", 96)
    model = build(name, seed=1)
    whole = heatmap(model, picture, precision="fp32")
    passes = []
    monkeypatch.setattr(
        inference, "_forward", lambda *a, f=inference._forward: passes.append(a[1]) or f(*a)
    )
    tiled = heatmap(model, picture, precision="fp32", memory_mb=0.001)
    assert len(passes) == 3 * 4
    np.testing.assert_allclose(tiled, whole, atol=1e-4)
    # a halo of a quarter of the receptive field is not enough: the test would notice
    monkeypatch.setattr(inference, "receptive_field", lambda m, at: receptive_field(m, at=at) // 4)
    short = heatmap(model, picture, precision="fp32", memory_mb=0.001)
    assert np.abs(short - whole).max() > 1e-4


@pytest.mark.parametrize("side", [1, 7, 48, 49, 100, 333])
@pytest.mark.parametrize("halo", [0, 5, 16])
@pytest.mark.parametrize("multiple", [1, 8, 16])
def test_tiles_cover_a_side_once_with_their_halo(side, halo, multiple):
    found = list(tiles(side, kept=48, halo=halo, multiple=multiple))
    kept = np.concatenate([np.arange(t.keep_from, t.keep_to) for t in found])
    np.testing.assert_array_equal(kept, np.arange(side))
    for t in found:
        assert t.read_from % multiple == 0
        assert t.read_to % multiple == 0 or t.read_to == side
        assert t.read_from <= max(0, t.keep_from - halo)
        assert t.read_to >= min(side, t.keep_to + halo)


def test_scale_reduces_by_area_and_enlarges_logits_bilinearly(picture):
    half = picture[:200, :340].astype(np.float64).reshape(100, 2, 170, 2, 3).mean(axis=(1, 3))
    logits = 20 * (np.rint(half).mean(axis=2) / 255) - 8
    enlarged = F.interpolate(torch.tensor(logits)[None, None], (200, 340), mode="bilinear")
    found = heatmap(Bright(), picture[:200, :340], scale=0.5, precision="fp32")
    np.testing.assert_allclose(found, enlarged.sigmoid()[0, 0], atol=0.02)
    assert heatmap(Bright(), picture, scale=0.3).shape == picture.shape[:2]
    assert heatmap(Bright(), picture, scale=2).shape == picture.shape[:2]


def test_a_network_of_one_channel_sees_the_mean(picture):
    np.testing.assert_allclose(
        heatmap(Bright(1), picture, precision="fp32"),
        heatmap(Bright(3), picture, precision="fp32"),
        atol=1e-5,
    )


def test_bfloat16_is_close(picture):
    model = build("c-resunet", seed=0)
    exact = heatmap(model, picture, precision="fp32")
    rough = heatmap(model, picture, precision="bf16")
    assert 0 < np.abs(rough - exact).mean() < 0.01


def test_precision_and_device():
    cpu = torch.device("cpu")
    assert choose_precision(cpu, "fp32") == torch.float32
    assert choose_precision(cpu, "bf16") == torch.bfloat16
    assert choose_precision(cpu) in (torch.float32, torch.bfloat16)
    with pytest.raises(InputError, match="needs a GPU"):
        choose_precision(cpu, "fp16")
    with pytest.raises(InputError, match="did you mean 'bf16'"):
        choose_precision(cpu, "bf-16")
    assert choose_device("cpu") == cpu
    for wrong in ("gpu", "cuda:99"):
        with pytest.raises(InputError, match="cannot be used here"):
            choose_device(wrong)


@pytest.mark.parametrize(
    ("cuda", "mps", "best"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_the_best_device_is_a_gpu_of_nvidia_then_of_apple(cuda, mps, best, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device() == torch.device(best)


def test_on_apples_gpu_the_network_runs_in_float32(monkeypatch):
    monkeypatch.setattr(inference, "_bf16_in_cpu", lambda: True)
    assert choose_precision(torch.device("mps")) == torch.float32
    assert choose_precision(torch.device("mps"), "fp16") == torch.float16


@pytest.mark.parametrize("cpu_has_it", [True, False])
def test_auto_takes_bfloat16_only_where_it_is_native(cpu_has_it, monkeypatch):
    names = ("avx512_bf16", "amx_bf16", "sve_bf16")
    monkeypatch.setattr(
        torch.cpu,
        "get_capabilities",
        lambda: dict.fromkeys(names, cpu_has_it),
        raising=False,
    )
    expected = torch.bfloat16 if cpu_has_it else torch.float32
    assert choose_precision(torch.device("cpu")) == expected


def info(**about):
    return ModelInfo(ModelConfig("fcn"), **about)


def test_predict_counts_the_discs_at_any_size():
    rng = np.random.default_rng(1)
    image, labels = draw(rng, size=(200, 260), number=7, radius=14)
    trained = TrainedModel(Bright().eval(), info(pixel_size_um=0.5, cell_px=28))
    found = predict(trained, image)
    assert found.threshold == 0.5
    assert found.protocol == "recommended"
    np.testing.assert_array_equal(found.labels > 0, labels > 0)
    assert found.labels.max() == 7
    # the same picture at half the size: found again if its size is said, in either way
    small = image[::2, ::2]
    for said in ({"pixel_size_um": 1.0}, {"cell_px": 14}):
        again = predict(trained, small, **said)
        assert again.labels.shape == small.shape[:2]
        assert again.labels.max() == 7
    # not said: 154 pixels are too small for a cell of this protocol
    assert predict(trained, small).labels.max() == 0


def test_predict_takes_threshold_and_protocol():
    image = np.full((60, 60, 3), 115, np.uint8)  # sigmoid(20 * 0.451 - 8) = 0.735
    trained = TrainedModel(Bright().eval(), info())
    assert predict(trained, image, threshold=0.73).labels.max() == 1
    assert predict(trained, image, threshold=0.74).labels.max() == 0
    assert predict(trained, image, protocol="clissa2023").protocol == "clissa2023"


def test_magnification():
    known = info(pixel_size_um=0.3, cell_px=36)
    assert magnified(known, pixel_size_um=0.6) == 2
    assert magnified(known, cell_px=18, pixel_size_um=0.1) == 2
    assert magnified(known) == 1
    assert magnified(info(), pixel_size_um=0.6, cell_px=18) == 1
    with pytest.raises(InputError):
        magnified(known, cell_px=0)


def test_bad_images_are_errors():
    for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3))):
        with pytest.raises(InputError, match="image"):
            heatmap(Bright(), wrong)
    with pytest.raises(InputError, match="memory_mb"):
        heatmap(Bright(), np.zeros((4, 4, 3), np.uint8), memory_mb=0)
