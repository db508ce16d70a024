import numpy as np
import pytest
import torch
from torch.nn import functional as F

from cellcount_lib.data.datasets import load
from cellcount_lib.errors import DataError
from cellcount_lib.inference.evaluation import ScaledProtocol, heatmaps
from cellcount_lib.inference.heatmaps import (
    Kept,
    decode,
    encode,
    load_heatmaps,
    rounded,
    save_heatmaps,
)
from cellcount_lib.inference.model_file import load_model
from cellcount_lib.inference.network import predict
from cellcount_lib.scoring.protocols import protocol


def test_a_code_is_within_half_a_step():
    logits = np.linspace(-8, 8, 5001, dtype=np.float32)[None]
    assert np.abs(rounded(logits) - logits).max() <= 1 / 512
    probability = 1 / (1 + np.exp(-rounded(logits)))
    assert np.abs(probability - 1 / (1 + np.exp(-logits))).max() <= 1 / 2048  # a quarter of it
    assert rounded(np.array([[-50.0, 50.0, np.inf]])).tolist() == [[-8, 8, 8]]
    codes = np.arange(-2048, 2049, dtype=np.int16)[None]
    np.testing.assert_array_equal(encode(decode(codes)), codes)
    np.testing.assert_array_equal(rounded(rounded(logits)), rounded(logits))


def test_enlarged_as_torch_does():
    code = np.random.default_rng(0).integers(-900, 900, (12, 20)).astype(np.int16)
    found = Kept(code, (50, 77)).heatmap()
    logits = torch.tensor(decode(code))[None, None]
    expected = F.interpolate(logits, (50, 77), mode="bilinear").sigmoid()[0, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)  # torch has places in float32


def test_kept_and_read_in_order(tmp_path):
    rng = np.random.default_rng(0)
    kept = {
        name: Kept(rng.integers(-900, 900, (5, 7)).astype(np.int16), (20, 28 + n))
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
    save_heatmaps(tmp_path / "h.npz", {"a": Kept(np.zeros((2, 2), np.uint8), (2, 2))})
    with pytest.raises(DataError, match=r"expected heatmaps in 16 bits, .* run it again"):
        load_heatmaps(tmp_path / "h.npz")
    with pytest.raises(DataError, match="found nothing there"):
        load_heatmaps(tmp_path / "absent.npz")


def test_nan_is_no_prediction():
    code = encode(np.array([[0.0, np.nan]]))
    assert Kept(code, (1, 2)).heatmap() is None
    truth = np.zeros((60, 60), np.int32)
    truth[10:40, 10:40] = 1
    blank = Kept(encode(np.full((60, 60), np.nan)), (60, 60))
    good = Kept(encode(np.where(truth > 0, 5.0, -5.0)), (60, 60))
    scaled = ScaledProtocol(protocol("recommended"), jobs=1)
    rows = scaled.score({"a": good, "b": blank}, {"a": truth, "b": truth}, 0.5)
    assert rows[["tp", "fn", "status"]].values.tolist() == [[1, 0, "ok"], [0, 1, "missing"]]
    choice, curve = scaled.choose_cutoff({"a": good}, {"a": truth})
    assert curve["f1"].max() == 1
    assert choice[:2] == (0.5, "middle")  # 0.05 to 0.975 are equal but for the ends
    with pytest.raises(DataError, match="first 'b'"):
        scaled.score({"a": good, "b": blank}, {"a": truth}, 0.5)


def test_what_is_kept_gives_the_objects_of_a_prediction_on_a_crowded_picture(tmp_path):
    """On this one, of 159 nuclei, heatmaps in steps of 0.05 gave other counts."""
    trained = load_model(precision="fp32")
    crowded = load("simulated:nuclei-overcrowded", split="val")
    samples = [crowded[crowded.names.index(name)] for name in ("0114",)]
    kept, labels = heatmaps(trained.model, samples, scale=trained.info.scale, precision="fp32")
    save_heatmaps(tmp_path / "h.npz", kept)
    for name, cutoff in (("recommended", trained.info.threshold), ("morelli2021", 0.5)):
        ruler = protocol(name)
        rows = ScaledProtocol(ruler).score(load_heatmaps(tmp_path / "h.npz"), labels, cutoff)
        for sample, row in zip(samples, rows.to_dict("records"), strict=True):
            found = predict(trained, sample.image, protocol=name, threshold=cutoff)
            direct = ruler.score(sample.labels, found.labels, image=sample.meta["name"])
            assert {key: row[key] for key in direct} == direct
            assert row["tp"] > 10
