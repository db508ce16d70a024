import numpy as np
import pytest
import torch
from torch.nn import functional as F

from cellcount_lib.errors import DataError
from cellcount_lib.inference.evaluation import ScaledProtocol
from cellcount_lib.inference.heatmaps import Kept, decode, encode, load_heatmaps, save_heatmaps
from cellcount_lib.scoring.protocols import protocol


def test_a_code_is_within_half_a_step():
    logits = np.linspace(-6.35, 6.35, 5001, dtype=np.float32)[None]
    assert np.abs(decode(encode(logits)) - logits).max() <= 0.025 + 1e-6
    probability = 1 / (1 + np.exp(-decode(encode(logits))))
    assert np.abs(probability - 1 / (1 + np.exp(-logits))).max() < 0.0065
    assert decode(encode(np.array([[-50.0, 50.0, np.inf]]))).tolist() == [
        [pytest.approx(-6.35), pytest.approx(6.35), pytest.approx(6.35)]
    ]
    codes = np.arange(255, dtype=np.uint8)[None]
    np.testing.assert_array_equal(encode(decode(codes)), codes)


def test_enlarged_as_torch_does():
    code = np.random.default_rng(0).integers(0, 255, (12, 20)).astype(np.uint8)
    found = Kept(code, (50, 77)).heatmap()
    logits = torch.tensor(decode(code))[None, None]
    expected = F.interpolate(logits, (50, 77), mode="bilinear").sigmoid()[0, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_kept_and_read_in_order(tmp_path):
    rng = np.random.default_rng(0)
    kept = {
        name: Kept(rng.integers(0, 255, (5, 7)).astype(np.uint8), (20, 28 + n))
        for n, name in enumerate(["b", "a/x", "ümlaut"])
    }
    save_heatmaps(tmp_path / "h.npz", kept)
    back = load_heatmaps(tmp_path / "h.npz")
    assert list(back) == list(kept)
    for name, (code, size) in kept.items():
        np.testing.assert_array_equal(back[name].code, code)
        assert back[name].size == size
    data = (tmp_path / "h.npz").read_bytes()
    (tmp_path / "h.npz").write_bytes(data[:-30])
    with pytest.raises(DataError, match="damaged"):
        load_heatmaps(tmp_path / "h.npz")
    with pytest.raises(DataError, match="found nothing there"):
        load_heatmaps(tmp_path / "absent.npz")


def test_nan_is_no_prediction():
    code = encode(np.array([[0.0, np.nan]]))
    assert Kept(code, (1, 2)).heatmap() is None
    truth = np.zeros((60, 60), np.int32)
    truth[10:40, 10:40] = 1
    blank = Kept(np.full((60, 60), 255, np.uint8), (60, 60))
    good = Kept(encode(np.where(truth > 0, 5.0, -5.0)), (60, 60))
    scaled = ScaledProtocol(protocol("recommended"), jobs=1)
    rows = scaled.score({"a": good, "b": blank}, {"a": truth, "b": truth}, 0.5)
    assert rows[["tp", "fn", "status"]].values.tolist() == [[1, 0, "ok"], [0, 1, "missing"]]
    choice, curve = scaled.choose_cutoff({"a": good}, {"a": truth})
    assert curve["f1"].max() == 1
    assert choice[:2] == (0.05, "argmax")  # the lowest of the equal ones
    with pytest.raises(DataError, match="first 'b'"):
        scaled.score({"a": good, "b": blank}, {"a": truth}, 0.5)
