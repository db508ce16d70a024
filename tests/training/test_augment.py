import math

import numpy as np
import pytest
import torch

from cellcount_lib.errors import InputError
from cellcount_lib.training.augment import Augmentation
from cellcount_lib.training.recipes import RECIPES

SIDE = 24


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(n=4, margin=0, seed=0):
    """Return crops with a margin, and weights, that are all different."""
    rng = np.random.default_rng(seed)
    full = SIDE + 2 * margin
    pixels = torch.tensor(rng.integers(0, 256, (n, 4, full, full)).astype(np.uint8))
    pixels[:, 3] %= 2
    weights = torch.tensor(rng.uniform(0, 3, (n, 1, full, full)).astype(np.float16))
    return pixels, weights


def inner(tensor, margin):
    return tensor[..., margin : margin + SIDE, margin : margin + SIDE]


def test_no_change_is_no_change():
    change = Augmentation()
    pixels, weights = batch()
    image, mask, heavy = change(pixels, weights, SIDE, generator())
    torch.testing.assert_close(image, pixels[:, :3] / 255)
    torch.testing.assert_close(mask, pixels[:, 3:])
    torch.testing.assert_close(heavy, weights.float())
    assert image.is_contiguous(memory_format=torch.channels_last)
    assert change(pixels, None, SIDE, generator())[2] is None


def test_turns_and_flips_are_the_eight_symmetries_and_keep_layers_together():
    change = Augmentation(quarter_turns=True, flip=True)
    pixels, weights = batch(n=64)
    image, mask, heavy = change(pixels, weights, SIDE, generator())
    seen = set()
    for n in range(64):
        layers = np.concatenate([pixels[n].numpy(), weights[n].numpy()])
        got = np.concatenate([image[n].numpy() * 255, mask[n].numpy(), heavy[n].numpy()])
        matches = [
            (turn, flip)
            for turn in range(4)
            for flip in (False, True)
            if np.allclose(
                np.flip(np.rot90(layers, turn, (1, 2)), 2)
                if flip
                else np.rot90(layers, turn, (1, 2)),
                got,
                atol=1e-3,
            )
        ]
        assert len(matches) == 1
        seen.add(matches[0])
    assert len(seen) == 8


def to_pixels(field, inside):
    """Positions of `grid_sample` as pixel indices (x, y)."""
    return (field.numpy() + 1) * inside / 2 - 0.5


@pytest.mark.parametrize("rotate", [15.0, 180.0])
def test_rotation_keeps_distances_and_its_range(rotate):
    change = Augmentation(rotate=rotate)
    inside = SIDE + 2 * change.margin(SIDE)
    at = to_pixels(change.positions(400, inside, SIDE, generator(1)), inside)
    along = at[:, 0, -1] - at[:, 0, 0]
    np.testing.assert_allclose(np.hypot(*along.T), SIDE - 1, atol=1e-3)
    np.testing.assert_allclose(at.mean(axis=(1, 2)), (inside - 1) / 2, atol=1e-3)
    angles = np.degrees(np.arctan2(along[:, 1], along[:, 0]))
    assert np.abs(angles).max() <= rotate + 1e-3
    assert np.abs(angles).max() > 0.9 * rotate
    assert abs(angles.mean()) < rotate / 5
    down = at[:, -1, 0] - at[:, 0, 0]
    np.testing.assert_allclose((along * down).sum(axis=1), 0, atol=1e-2)
    assert (along[:, 0] * down[:, 1] - along[:, 1] * down[:, 0] > 0).all()  # no mirror


def test_zoom_and_flip():
    change = Augmentation(zoom=0.2, flip=True)
    inside = SIDE + 2 * change.margin(SIDE)
    at = to_pixels(change.positions(400, inside, SIDE, generator(2)), inside)
    width = at[:, 0, -1, 0] - at[:, 0, 0, 0]
    height = at[:, -1, 0, 1] - at[:, 0, 0, 1]
    np.testing.assert_allclose(np.abs(width), height, atol=1e-3)
    share = height / (SIDE - 1)
    assert 1 / 1.2 - 1e-3 <= share.min() < 0.87
    assert 1.2 < share.max() <= 1 / 0.8 + 1e-3
    assert 0.4 < (width < 0).mean() < 0.6


def test_elastic_moves_some_crops_by_at_most_its_share():
    change = Augmentation(elastic=0.1, share=0.5)
    inside = SIDE + 2 * change.margin(SIDE)
    at = to_pixels(change.positions(300, inside, SIDE, generator(3)), inside)
    plain = np.stack(np.meshgrid(*[np.arange(SIDE) + (inside - SIDE) / 2] * 2), axis=-1)
    moved = np.abs(at - plain).max(axis=(1, 2, 3))
    assert moved.max() <= 0.1 * SIDE + 1e-3
    assert moved.max() > 0.05 * SIDE
    assert 0.4 < (moved < 1e-3).mean() < 0.6


def test_the_shares_of_the_2023_study():
    """As in fastai, each of rotation, zoom, brightness and contrast is drawn on its own."""
    change, n = RECIPES["clissa2023"].augmentation, 4000
    inside = 4 + 2 * change.margin(4)
    at = to_pixels(change.positions(n, inside, 4, generator(5)), inside)
    across, down = at[:, 0, -1] - at[:, 0, 0], at[:, -1, 0] - at[:, 0, 0]
    rotated = np.abs(down[:, 0]) > 1e-4
    zoomed = np.abs(np.hypot(*down.T) - 3) > 1e-4
    mirrored = across[:, 0] < 0
    # a grey of 0.25 and one of 0.5 tell an offset from a factor
    greys = torch.tensor([0.25, 0.5]).expand(n, 3, 1, 2)
    low, high = change.develop(greys, generator(6))[:, 0, 0].numpy().T
    factor = (high - low) / 0.25
    contrast = np.abs(factor - 1) > 1e-4
    brightness = np.abs(low - 0.25 * factor) > 1e-4
    five = 5 * 0.5 / math.sqrt(n)  # five standard errors
    shares = {0.75: (rotated, zoomed), 0.5: (contrast, brightness, mirrored)}
    for share, every in shares.items():
        for changed in every:
            assert abs(changed.mean() - share) < five
    assert abs((rotated & zoomed).mean() - 0.75**2) < five
    assert abs((contrast & brightness).mean() - 0.25) < five


def test_the_elastic_field_of_the_study_does_not_fold():
    change = Augmentation(elastic=0.03, share=1.0)
    inside = SIDE + 2 * change.margin(SIDE)
    at = to_pixels(change.positions(300, inside, SIDE, generator(3)), inside)
    steps = np.concatenate(
        [np.diff(at[..., 0], axis=2).ravel(), np.diff(at[..., 1], axis=1).ravel()]
    )
    assert 0.4 < steps.min() < steps.max() < 1.6


@pytest.mark.parametrize(
    "change",
    [
        Augmentation(rotate=180, zoom=0.3, elastic=0.1, flip=True, quarter_turns=True),
        Augmentation(rotate=10),
        Augmentation(zoom=0.5),
    ],
)
def test_the_margin_holds_all_that_is_reached(change):
    for side in (16, 128):
        margin = change.margin(side)
        field = change.positions(500, side + 2 * margin, side, generator(4))
        assert float(field.abs().max()) <= 1


def test_one_warp_for_image_mask_and_weights():
    change = Augmentation(rotate=180, zoom=0.2, elastic=0.05, flip=True)
    margin = change.margin(SIDE)
    full = SIDE + 2 * margin
    y, x = np.mgrid[:full, :full]
    half = ((np.sin(x / 5) + np.cos(y / 4)) > 0).astype(np.uint8)
    pixels = torch.tensor(np.stack([half * 255] * 3 + [half]))[None].repeat(16, 1, 1, 1)
    weights = torch.tensor(half.astype(np.float16))[None, None].repeat(16, 1, 1, 1)
    image, mask, heavy = change(pixels, weights, SIDE, generator(5))
    torch.testing.assert_close(image[:, :1], heavy, atol=1e-5, rtol=0)
    sure = (image[:, :1] < 0.01) | (image[:, :1] > 0.99)
    assert sure.float().mean() > 0.5
    assert torch.equal((image[:, :1] > 0.5)[sure], mask[sure] > 0)
    assert set(mask.unique().tolist()) == {0, 1}
    assert mask.dtype == torch.uint8


def test_a_known_rotation_against_scipy():
    from scipy import ndimage

    change = Augmentation(rotate=40)
    margin = change.margin(SIDE)
    pixels, _ = batch(n=3, margin=margin)
    smooth = ndimage.gaussian_filter(pixels.numpy().astype(float), (0, 0, 2, 2))
    pixels = torch.tensor(np.rint(smooth).astype(np.uint8))
    field = change.positions(3, pixels.shape[-1], SIDE, generator(6))
    image, _, _ = change.warp(pixels, None, SIDE, generator(6))
    at = to_pixels(field, pixels.shape[-1])
    for n in range(3):
        expected = ndimage.map_coordinates(
            pixels[n, 0].numpy().astype(float), [at[n, ..., 1], at[n, ..., 0]], order=1
        )
        np.testing.assert_allclose(image[n, 0].numpy() * 255, expected, atol=1e-2)


def test_light_changes_brightness_and_contrast_within_limits():
    change = Augmentation(light=0.2, share=1.0)
    grey = torch.full((200, 3, 8, 8), 0.5)
    dark = torch.full((200, 3, 8, 8), 0.25)
    bright = change.develop(grey, generator(7))[:, 0, 0, 0]
    assert bright.min() >= 0.5 * 0.8 - 0.2 - 1e-6
    assert bright.max() <= 0.5 * 1.2 + 0.2 + 1e-6
    assert bright.std() > 0.1
    factor = (bright - change.develop(dark, generator(7))[:, 0, 0, 0]) / 0.25
    assert 0.8 - 1e-5 <= factor.min() < 0.85
    assert 1.15 < factor.max() <= 1.2 + 1e-5
    white = change.develop(torch.ones(50, 3, 4, 4), generator(8))
    assert 0 <= white.min() <= white.max() <= 1


def test_noise_has_its_level_and_differs_between_crops():
    change = Augmentation(noise=0.1, share=1.0)
    flat = torch.full((100, 3, 32, 32), 0.5)
    found = change.develop(flat, generator(9)) - 0.5
    level = found.flatten(1).std(dim=1)
    assert level.max() <= 0.105
    assert level.max() > 0.09
    assert level.min() < 0.02
    assert abs(float(found.mean())) < 1e-3


def test_blur_smooths_some_and_keeps_the_mean():
    change = Augmentation(blur=2.0, share=0.5)
    pixels, _ = batch(n=60)
    image = pixels[:, :3] / 255
    blurred = change.develop(image, generator(10))
    share = blurred.flatten(1).std(dim=1) / image.flatten(1).std(dim=1)
    untouched = (blurred == image).flatten(1).all(dim=1)
    assert 0.3 < untouched.float().mean() < 0.7
    assert share[~untouched].min() < 0.3
    torch.testing.assert_close(
        blurred.mean(dim=(1, 2, 3)), image.mean(dim=(1, 2, 3)), atol=0.02, rtol=0
    )


def test_grey_shows_the_brightest_channel():
    pixels, _ = batch(n=100)
    image = pixels[:, :3] / 255
    found = Augmentation(grey=1.0).develop(image, generator(11))
    torch.testing.assert_close(found, image.amax(dim=1, keepdim=True).expand_as(image))
    some = Augmentation(grey=0.4).develop(image, generator(12))
    assert 0.25 < (some == image).flatten(1).all(dim=1).float().mean() < 0.75


def test_the_same_generator_gives_the_same_batch_and_another_one_another():
    change = Augmentation(
        rotate=90, zoom=0.1, elastic=0.05, light=0.1, noise=0.1, blur=1.0, grey=0.5, flip=True
    )
    pixels, weights = batch(margin=change.margin(SIDE))
    one, two, other = (change(pixels, weights, SIDE, generator(s)) for s in (1, 1, 2))
    for a, b, c in zip(one, two, other, strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)


@pytest.mark.parametrize(
    "wrong", [{"rotate": -1}, {"zoom": 1.0}, {"share": 1.2}, {"grey": 2}, {"noise": math.nan}]
)
def test_amounts_are_checked(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Augmentation(**wrong)
