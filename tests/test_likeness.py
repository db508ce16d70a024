"""The measure of likeness on pictures and numbers whose answer is known."""

import numpy as np
import pytest

from benchmarks import likeness


def rows(offset, seed=0):
    """Thirty pictures of 20 patches, half of them real; every picture has its own level."""
    rng = np.random.default_rng(seed)
    picture = np.repeat(np.arange(30), 20)
    real = picture < 15
    level = rng.normal(0, 1, 30)[picture]
    values = np.stack([level + offset * real, rng.normal(0, 1, 600)], axis=1)
    return values + rng.normal(0, 0.1, values.shape), real, picture


def test_what_does_not_differ_is_not_told_apart_though_every_picture_has_its_level():
    # a split by patches would know every picture by its level, and give about 1
    areas, _ = likeness.told_apart(*rows(0.0), folds=2)
    assert len(areas) == 2
    assert 0.2 < np.mean(areas) < 0.8


def test_what_differs_is_told_apart_by_what_differs():
    areas, importance = likeness.told_apart(*rows(20.0), folds=2)
    assert min(areas) == 1.0
    assert importance[0] > 5 * importance[1]
    assert importance.sum() == pytest.approx(1)


def test_features_say_what_is_in_a_patch():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:128, :128]
    stripes = 60 + 40 * np.sin(2 * np.pi * 6 * x / 128) + rng.normal(0, 1, y.shape)
    image = np.clip(np.stack([stripes, stripes / 2, 0 * y], axis=2), 0, 255).astype(np.uint8)
    found = likeness.features(image)
    assert found["red p50"] == pytest.approx(60, abs=3)
    assert found["green / red"] == pytest.approx(0.5, abs=0.02)
    assert found["spectrum 4-8"] > np.log(0.9)  # six waves across the patch
    assert found["direction 4-8"] > 0.9
    assert found["red-green coarse"] > 0.99
    assert all(np.isfinite(v) for v in likeness.features(0 * image).values())
    assert len(likeness.patches(np.zeros((300, 400, 3), np.uint8))) == 6  # two by three


def test_the_table_keeps_rows_of_other_names(tmp_path, monkeypatch, capsys):
    out = tmp_path / "likeness.csv"
    monkeypatch.setattr(likeness, "load", lambda name: [])
    for name, area in (("before", 0.9), ("now", 0.8), ("now", 0.75)):
        answer = ([area], ["green (0.20)", "fine (0.60)"], 42)
        monkeypatch.setattr(likeness, "measure", lambda images, n, answer=answer: answer)
        monkeypatch.setattr("sys.argv", ["x", "any", "--name", name, "--out", str(out)])
        likeness.main()
    lines = [line.split(",") for line in out.read_text().splitlines()]
    assert [(line[0], line[4]) for line in lines[1:]] == [("before", "0.900"), ("now", "0.750")]
    assert all(len(line) == len(lines[0]) for line in lines)
