"""Baselines, controls and the oracle on pictures whose answer is known."""

import numpy as np
import pandas as pd
import pytest
from skimage.draw import disk

from cellcount_lib.data.sample import Sample, brightness
from cellcount_lib.errors import InputError
from cellcount_lib.methods.baselines import (
    QUANTILES,
    adaptive_threshold,
    intensity_rank,
    oracle,
    otsu_mask,
    otsu_watershed,
    predict_mean,
    predict_zero,
    tune_adaptive_threshold,
)
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.protocols import PROTOCOLS, protocol
from cellcount_lib.scoring.sweeps import sweep

SIZE = (300, 400)


def picture(n, *, seed=0, radius=17, level=120):
    """n separate discs on a noisy, uneven background, red stronger than green."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(SIZE, np.int32)
    for label in range(1, n + 1):
        row, column = divmod(label - 1, 4)
        labels[disk((60 + 90 * row, 50 + 100 * column), radius)] = label
    grey = 10 + np.linspace(0, 10, SIZE[1]) + rng.normal(0, 3, SIZE) + level * (labels > 0)
    red = np.clip(grey, 0, 255)
    image = np.stack([red, red / 2, red * 0], axis=2).astype(np.uint8)
    return Sample(image, labels, {"name": f"{n}-{seed}"})


def grey(values):
    return np.array([values], np.uint8)[..., None].repeat(3, axis=2)


def test_brightness_is_the_maximum_over_channels():
    image = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    assert np.array_equal(brightness(image), image.max(axis=2))


def test_rank_equals_its_definition():
    image = np.random.default_rng(0).integers(0, 9, (11, 13, 3), np.uint8)
    level = image.max(axis=2)
    expected = (level.ravel()[None, :] < level.ravel()[:, None]).mean(axis=1).reshape(level.shape)
    assert np.array_equal(intensity_rank(image), expected.astype(np.float32))


@pytest.mark.parametrize("quantile", [0, 0.2, 0.5, 0.9, 0.994])
def test_adaptive_threshold_cuts_at_the_quantile(quantile):
    image = picture(5).image
    mask = adaptive_threshold(image, quantile)
    level = np.quantile(image.max(axis=2), quantile, method="inverted_cdf")
    # pixels at the level itself are in if more than `quantile` of the image is darker than them
    assert mask[image.max(axis=2) > level].all()
    assert not mask[image.max(axis=2) < level].any()
    assert mask.mean() <= 1 - quantile


def test_adaptive_threshold_without_contrast():
    assert not adaptive_threshold(np.full((5, 6, 3), 7, np.uint8), 0.0).any()
    mask = adaptive_threshold(grey([1, 1, 1, 1, 5, 5, 5, 5]), 0.75)
    assert not mask.any()  # only half of the pixels are darker than the brightest


def test_tuning_finds_the_share_of_foreground():
    samples = [picture(n, seed=n) for n in (5, 6, 7)]
    share = np.mean([s.mask.mean() for s in samples])
    grid = [0.8, 1 - share, 0.98, 0.99]
    tuned = tune_adaptive_threshold(samples, protocol("recommended"), grid)
    assert tuned.choice.rule == "argmax"
    assert tuned.choice.cutoff == 1 - share
    assert tuned.choice.value == tuned.curve["f1"].max() == 1.0
    assert tuned.curve["cutoff"].tolist() == grid
    assert tuned.curve["f1"].iloc[0] < 0.8
    # the sweep is the baseline, cut by cut
    p = protocol("recommended")
    for quantile, f1 in zip(grid, tuned.curve["f1"], strict=True):
        masks = [adaptive_threshold(s.image, quantile).astype(np.float32) for s in samples]
        again = sweep(masks, [s.labels for s in samples], p, [0.5])
        assert again["f1"][0] == f1


def test_quantiles_hold_the_published_one():
    assert 0.994 in QUANTILES
    assert (QUANTILES[0], QUANTILES[-1], len(QUANTILES)) == (0.98, 0.999, 20)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_otsu_and_watershed_under_every_protocol(name):
    sample, p = picture(8, seed=2), protocol(name)
    labels = otsu_watershed(sample.image, p.postprocess)
    assert labels.dtype == np.int32
    row = p.score(sample.labels, labels)
    assert (row["tp"], row["fp"], row["fn"]) == (8, 0, 0)


def test_otsu_parts_touching_cells():
    labels = np.zeros((120, 160), int)
    labels[disk((60, 62), 20)] = 1
    labels[disk((60, 98), 20)] = 2
    image = np.stack([(labels > 0) * np.uint8(150) + np.uint8(8)] * 3, axis=2)
    assert otsu_watershed(image).max() == 2
    assert otsu_watershed(image, "none").max() == 1


def test_otsu_on_images_without_cells():
    blank = np.full((*SIZE, 3), 12, np.uint8)
    assert not otsu_mask(blank).any()
    assert otsu_watershed(blank).max() == 0
    # with noise Otsu finds something in nothing: many pixels, but blurred into few objects
    noise = picture(0).image
    assert 0.2 < otsu_mask(noise).mean() < 0.8
    found = otsu_watershed(noise).max()
    specks = otsu_watershed(noise, "none", sigma=0.1).max()
    assert 1 <= found <= 60
    assert specks > 10 * found


def test_otsu_follows_the_scale():
    sample = picture(6)
    small = sample.image[::2, ::2]
    assert otsu_watershed(sample.image).max() == otsu_watershed(small, scale=0.5).max() == 6


def test_controls_that_look_at_no_image():
    true = [0, 2, 4, 10]
    zero = predict_zero(true)
    assert (zero.mae, zero.medae) == (4.0, 3.0)
    assert zero.mpe_percent == pytest.approx(-75)  # 0 for the empty image, -100 for the others
    mean = predict_mean(true, n_train=[3, 5])
    assert (mean.mae, mean.r2) == (3.0, 0.0)
    assert predict_mean(true, n_train=[9]).r2 < 0
    assert predict_zero(true, mpe="paper2021").mpe_percent == pytest.approx(100)
    with pytest.raises(InputError, match="n_train"):
        predict_mean(true, n_train=[])


@pytest.mark.parametrize("name", PROTOCOLS)
def test_oracle_of_separate_cells_is_perfect(name):
    samples = [picture(n) for n in (0, 3, 8)]
    p = protocol(name)
    rows = oracle((s.labels for s in samples), p, images=["a", "b", "c"])
    scores = pooled(rows, mpe=p.mpe)
    assert (scores["f1"], scores["mae"], scores["n_images"]) == (1.0, 0.0, 3)
    assert rows["image"].tolist() == ["a", "b", "c"]
    expected = [p.score(s.labels, p.segment(s.mask.astype(np.float32), 0.5)) for s in samples]
    unnamed = rows.drop(columns="image")
    pd.testing.assert_frame_equal(unnamed, pd.DataFrame(expected).drop(columns="image"))


def test_oracle_shows_what_the_protocol_loses():
    labels = np.zeros(SIZE, np.int32)
    labels[disk((60, 60), 17)] = 1
    labels[disk((60, 200), 6)] = 2  # 113 pixels: below the smallest object
    scores = pooled(oracle([labels], protocol("recommended")))
    assert (scores["tp"], scores["fp"], scores["fn"]) == (1, 0, 1)


def test_bad_input():
    image = picture(1).image
    for quantile in (1.0, -0.1, np.nan):
        with pytest.raises(InputError, match="quantile"):
            adaptive_threshold(image, quantile)
    with pytest.raises(InputError, match="uint8 image"):
        adaptive_threshold(image.astype(float), 0.9)
    with pytest.raises(InputError, match="sigma"):
        otsu_mask(image, sigma=0)
    with pytest.raises(InputError, match="scale"):
        otsu_mask(image, scale=-1)
    with pytest.raises(InputError, match="rising"):
        tune_adaptive_threshold([picture(1)], protocol("recommended"), [0.99, 0.9])
