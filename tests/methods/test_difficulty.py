"""The report on small pictures, beside scores from plain sorts and counts."""

import numpy as np
import pandas as pd
import pytest
from skimage.draw import disk

from cellcount_lib.data.sample import Sample
from cellcount_lib.methods import difficulty
from cellcount_lib.scoring.protocols import protocol


def picture(name, cells, seed):
    """Cells that differ in brightness, and a bright spot that is no cell."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((280, 320), np.int32)
    image = rng.normal(20, 4, labels.shape)
    image[disk((220, 250), 13)] += 60  # bright, and no cell
    for number, (row, column, radius, light) in enumerate(cells, start=1):
        inside = disk((row, column), radius)
        image[inside] += light
        labels[inside] = number
    grey = np.clip(image, 0, 255).astype(np.uint8)
    return Sample(np.stack([grey // 2, grey, grey * 0], axis=2), labels, {"name": name})


CELLS = [(60, 60, 20, 90), (60, 82, 9, 80), (150, 220, 15, 55)]  # the first two touch
PICTURES = {
    "val": [picture("a", CELLS, 0), picture("b", CELLS[1:], 1)],
    "test": [picture("c", CELLS, 2), picture("d", CELLS[:1], 3)],
}


def masks(samples, quantile):
    """Pixels that are brighter than a share of the picture, by a plain sort."""
    for sample in samples:
        light = sample.image.max(axis=2)
        darker = np.searchsorted(np.sort(light.ravel()), light)
        yield darker > quantile * light.size


def scores(ruler, samples, found):
    """F1, precision, recall and mean error of the count, by plain counting."""
    heatmaps = (mask.astype(np.float32) for mask in found)
    rows = [
        ruler.score(s.labels, ruler.segment(h, 0.5)) for s, h in zip(samples, heatmaps, strict=True)
    ]
    tp, fp, fn = (sum(row[name] for row in rows) for name in ("tp", "fp", "fn"))
    error = np.mean([abs(row["n_pred"] - row["n_true"]) for row in rows])
    return 2 * tp / (2 * tp + fp + fn), tp / (tp + fp), tp / (tp + fn), error


@pytest.fixture
def small(monkeypatch):
    asked = []

    def load(name, *, split):
        asked.append((name, split))
        return PICTURES[split]

    monkeypatch.setattr(difficulty, "load", load)
    yield
    assert asked == [("simulated", "val"), ("simulated", "test")]


def test_the_report_is_what_plain_counting_gives(small, tmp_path, capsys):
    difficulty.write_difficulty(tmp_path / "difficulty.csv", jobs=1)
    report = pd.read_csv(tmp_path / "difficulty.csv")
    assert "quantile chosen on" in capsys.readouterr().out
    assert (
        list(report["method"])
        == ["adaptive threshold"]
        + [
            "adaptive threshold",
            "oracle (true mask)",
        ]
        * 2
    )
    assert report.loc[0, ["n_images", "threshold", "f1"]].tolist() == [70, 0.994, 0.6106]
    assert report.loc[2, "f1"] != report.loc[4, "f1"], "the protocols differ"
    places = iter(report.index[1:])
    for name in ("morelli2021", "recommended"):
        ruler = protocol(name)
        f1 = {
            quantile: scores(ruler, PICTURES["val"], masks(PICTURES["val"], quantile))[0]
            for quantile in difficulty.QUANTILES
        }
        best = max(f1, key=lambda quantile: f1[quantile])
        truth = [sample.labels > 0 for sample in PICTURES["test"]]
        for found, cutoff in ((masks(PICTURES["test"], best), best), (truth, np.nan)):
            row = report.loc[next(places)]
            assert (row["protocol"], row["n_images"]) == (name, 2)
            assert row["threshold"] == pytest.approx(cutoff, nan_ok=True)
            expected = scores(ruler, PICTURES["test"], found)
            assert row[list(difficulty.COLUMNS)].tolist() == pytest.approx(expected, abs=6e-5)
        assert min(f1.values()) < max(f1.values()), "the choice matters"
