"""Baselines and the oracle on pictures whose answer is known."""

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
    score_adaptive_threshold,
    tune_adaptive_threshold,
)
from cellcount_lib.postprocess.otsu import otsu_mask, otsu_watershed
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
    p = protocol("recommended")
    tuned = tune_adaptive_threshold(samples, p, grid)
    assert (tuned.rule, tuned.cutoff) == ("argmax", 1 - share)
    # the baseline, cut by cut
    f1 = []
    for quantile in grid:
        masks = [adaptive_threshold(s.image, quantile).astype(np.float32) for s in samples]
        f1.append(sweep(masks, [s.labels for s in samples], p, [0.5])["f1"][0])
    assert tuned.value == max(f1) == f1[1] == 1.0
    assert f1[0] < 0.8


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_adaptive_threshold_is_scored_mask_by_mask(name):
    samples, p = [picture(4, seed=1), picture(2, seed=2, level=6)], protocol(name)
    rows = score_adaptive_threshold(samples, p, 0.97)
    for sample, (_, row) in zip(samples, rows.iterrows(), strict=True):
        mask = adaptive_threshold(sample.image, 0.97)
        found = p.segment(mask.astype(np.float32), 0.5)
        expected = p.score(sample.labels, found, image=sample.meta["name"], mask=mask)
        assert {k: v for k, v in row.items() if v == v} == {
            k: v for k, v in expected.items() if v == v
        }
    assert rows["tp"].tolist() == [4, 0]  # of the second picture's cells only specks are bright


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


@pytest.mark.parametrize(("levels", "above"), [((10, 40, 200), 40), ((10, 160, 200), 10)])
def test_otsu_splits_where_the_classes_are_furthest_apart(levels, above):
    # 60%, 25% and 15% of the pixels; share * share * (mean - mean)^2 of the two ways to split:
    # 10 | 40, 200: 0.24 * 90^2 = 1944, and 10, 40 | 200: 0.1275 * 181.2^2 = 4185
    # 10 | 160, 200: 0.24 * 165^2 = 6534, and 10, 160 | 200: 0.1275 * 145.9^2 = 2714
    light = np.repeat(np.array(levels, np.uint8), (12, 5, 3))[:, None].repeat(8, axis=1)
    image = np.stack([light, light // 2, light * 0], axis=2)
    assert np.array_equal(otsu_mask(image, sigma=0.1), light > above)


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


@pytest.mark.parametrize("name", PROTOCOLS)
def test_oracle_of_separate_cells_is_perfect(name):
    samples = [picture(n) for n in (0, 3, 8)]
    p = protocol(name)
    rows = oracle(samples, p)
    scores = pooled(rows, mpe=p.mpe)
    assert (scores["f1"], scores["mae"], scores["n_images"]) == (1.0, 0.0, 3)
    assert rows["image"].tolist() == ["0-0", "3-0", "8-0"]
    expected = [p.score(s.labels, p.segment(s.mask.astype(np.float32), 0.5)) for s in samples]
    unnamed = rows.drop(columns="image")
    pd.testing.assert_frame_equal(unnamed, pd.DataFrame(expected).drop(columns="image"))


def test_oracle_shows_what_the_protocol_loses():
    labels = np.zeros(SIZE, np.int32)
    labels[disk((60, 60), 17)] = 1
    labels[disk((60, 200), 6)] = 2  # 113 pixels: below the smallest object
    scores = pooled(
        oracle([Sample(picture(0).image, labels, {"name": "a"})], protocol("recommended"))
    )
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
