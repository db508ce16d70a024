from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from cellcount_lib.data.simulator.fields import (
    Patch,
    radial,
    smooth_field,
    sprinkle,
    stroke,
    texture,
    upsample,
    walk,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_upsample_equals_scipy_zoom():
    coarse = rng().normal(size=(7, 5)).astype(np.float32)
    ours = upsample(coarse, (40, 33))
    reference = ndimage.zoom(coarse, (40 / 7, 33 / 5), order=1, grid_mode=False)
    assert ours.dtype == np.float32
    assert np.allclose(ours, reference, atol=1e-5)


def test_upsample_of_one_node_is_constant():
    assert (upsample(np.full((1, 1), 3.0), (4, 6)) == 3).all()


@pytest.mark.parametrize("reach", [6, 40, 160])
def test_smooth_fields_have_mean_0_and_sd_1_and_the_reach_asked_for(reach):
    fields = [smooth_field(rng(i), (320, 320), reach) for i in range(30)]
    values = np.stack(fields)
    assert values.dtype == np.float32
    assert abs(values.mean()) < 0.25
    assert 0.75 < values.std() < 1.3

    def alike(apart):
        return np.mean([np.mean(f[:, apart:] * f[:, :-apart]) for f in fields]) / values.var()

    assert alike(max(reach // 6, 1)) > 0.8
    assert alike(2 * reach if reach < 160 else 300) < 0.35


def test_radial_is_1_on_an_outline_of_the_area_asked_for():
    areas = [(radial(rng(i), 101, 20.0, elongation=1.6) < 1).sum() for i in range(40)]
    assert np.mean(areas) == pytest.approx(np.pi * 20**2, rel=0.12)
    round_one = radial(rng(), 61, 20.0, rough=0.0)
    assert (round_one < 1).sum() == pytest.approx(np.pi * 20**2, rel=0.02)
    assert round_one[30, 30] == 0
    assert round_one[30, 50] == pytest.approx(1)


def test_sprinkle_puts_puncta_where_the_density_is():
    density = np.zeros((60, 80), np.float32)
    density[20:30, 40:60] = 1
    dots = sprinkle(rng(), density, 25, spot=1.0, spread=0.0)
    assert dots[15:35, 35:65].sum() > 0.99 * dots.sum()
    # each is a Gaussian of peak 1, so its sum is 2 pi
    assert dots.sum() == pytest.approx(25 * 2 * np.pi, rel=0.01)
    assert not sprinkle(rng(), density, 0, spot=1.0).any()
    assert not sprinkle(rng(), 0 * density, 5, spot=1.0).any()


def test_a_walk_goes_one_pixel_at_a_time_and_straight_without_wander():
    points = walk(rng(), (5.0, 7.0), 0.0, 30, wander=0.0)
    assert np.allclose(points, [(5, 7 + k) for k in range(1, 31)])
    crooked = walk(rng(), (5.0, 7.0), 1.0, 200, wander=0.1)
    assert np.allclose(np.linalg.norm(np.diff(crooked, axis=0), axis=1), 1)


def test_a_straight_stroke_has_the_strength_and_width_asked_for():
    points = walk(rng(), (20.0, 10.0), 0.0, 80, wander=0.0)
    patch = stroke(points, np.full(len(points), 50.0), width=2.0)
    picture = np.zeros((40, 120), np.float32)
    patch.add_to(picture)
    profile = picture[:, 50]
    assert profile[20] == pytest.approx(50, rel=0.03)
    rows = np.arange(40)
    width = np.sqrt((profile * (rows - 20) ** 2).sum() / profile.sum())
    assert width == pytest.approx(2.0, rel=0.05)


def test_a_broad_stroke_is_drawn_on_a_coarser_grid_and_looks_the_same():
    points = walk(rng(), (150.0, 10.0), 0.0, 400, wander=0.0)
    picture = np.zeros((300, 420), np.float32)
    stroke(points, np.full(len(points), 50.0), width=20.0).add_to(picture)
    profile = picture[:, 210]
    expected = 50 * np.exp(-((np.arange(300) - 150) ** 2) / (2 * 20.0**2))
    assert np.abs(profile - expected).max() < 2


def test_texture_has_every_scale_alike_and_lumps_that_are_bright():
    field = np.stack([texture(rng(i), (384, 384), 6, 6) for i in range(6)])
    blurs = [field, *(ndimage.gaussian_filter(field, (0, s, s)) for s in (3, 6, 12, 24, 48))]
    bands = [(a - b).std() for a, b in pairwise(blurs)]
    assert max(bands[1:]) < 2 * min(bands[1:])
    fine = blurs[1] - blurs[3]
    assert ((fine / fine.std()) ** 3).mean() > 0.5, "brighter lumps than holes"


@pytest.mark.parametrize("place", [(-2, -3), (8, 9), (2, 3)])
def test_a_patch_is_cut_by_the_frame(place):
    values = np.arange(20, dtype=np.float32).reshape(4, 5) + 1
    picture = np.zeros((10, 12), np.float32)
    Patch(*place, values).add_to(picture)
    padded = np.zeros((30, 32), np.float32)
    padded[10 + place[0] : 14 + place[0], 10 + place[1] : 15 + place[1]] = values
    assert np.array_equal(picture, padded[10:20, 10:22])


def test_a_patch_outside_changes_nothing():
    picture = np.zeros((10, 12), np.float32)
    patch = Patch(10, 0, np.ones((3, 3), np.float32))
    patch.add_to(picture)
    assert patch.slices((10, 12)) is None
    assert not picture.any()
