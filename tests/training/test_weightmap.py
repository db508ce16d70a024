import numpy as np
import pytest
import torch
from scipy import ndimage

from benchmarks.weightmap import (
    by_definition,
    double_loop,
    one_transform_per_object,
    same,
    scattered_cells,
)
from cellcount_lib.data.sample import Sample
from cellcount_lib.data.simulate import simulate
from cellcount_lib.errors import InputError
from cellcount_lib.losses import build
from cellcount_lib.training.crops import Crops
from cellcount_lib.training.data import WEIGHT_SIGMA
from cellcount_lib.training.recipes import RECIPES
from cellcount_lib.training.weightmap import R21_MAXIMUM, weight_map, weight_map_2021, window_radius


def difference(ours, reference):
    return np.abs(ours - reference).max()


@pytest.mark.parametrize("seed", range(4))
def test_equals_the_definition(seed):
    # Small sigma: windows end inside the image, so what they cut off is tested.
    labels = scattered_cells((70, 90), 12, seed=seed, radius=(2, 6))
    assert difference(weight_map(labels, sigma=4.0), by_definition(labels, sigma=4.0)) <= 1e-5
    assert difference(weight_map(labels), by_definition(labels)) <= 1e-5


def test_equals_the_double_loop_of_the_published_code():
    labels = scattered_cells((96, 96), 6, radius=(4, 9))
    assert same(weight_map(labels, sigma=6.0), double_loop(labels, sigma=6.0))


@pytest.mark.parametrize(("size", "count"), [((512, 512), 20), ((600, 500), 60)])
def test_equals_full_transforms_at_real_size(size, count):
    labels = scattered_cells(size, count)
    result = weight_map(labels)
    assert result.max() > 2  # crowded enough for the sums to matter
    assert same(result, one_transform_per_object(labels))


def test_windows_hold_the_error_for_many_objects_at_once():
    # A ring of objects just out of reach of the pixel in the middle, where two more lift the sum
    # above the clip: everything that the windows of the ring cut off is missing there.
    sigma, count = 5.0, 100
    radius = window_radius(count + 2, sigma)
    middle = radius + 4
    labels = np.zeros((2 * middle + 1, 2 * middle + 1), np.int32)
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    rows = np.round(middle + (radius + 1) * np.sin(angle)).astype(int)
    columns = np.round(middle + (radius + 1) * np.cos(angle)).astype(int)
    labels[rows, columns] = np.arange(1, count + 1)
    labels[middle, middle - 1], labels[middle, middle + 1] = count + 1, count + 2
    ours, reference = weight_map(labels, sigma=sigma), by_definition(labels, sigma=sigma)
    assert reference[middle, middle] > 1.9
    assert difference(ours, reference) <= 1e-5


def test_two_cells_by_hand():
    labels = np.zeros((1, 8), np.int32)
    labels[0, 1], labels[0, 5] = 1, 2
    # sigma^2 = 8: weights exp(-d^2 / 16); pixel 3 is at distance 2 of both, pixel 2 at 1 and 3.
    result = weight_map(labels, sigma=np.sqrt(8))[0]
    assert result[3] == pytest.approx(2 * np.exp(-4 / 16), abs=1e-6)
    assert result[2] == pytest.approx(np.exp(-1 / 16) + np.exp(-9 / 16), abs=1e-6)
    assert result[1] == result[5] == 1.5
    assert result[7] == 1  # exp(-4/16) + exp(-36/16) = 0.88: clipped


def test_one_object_alone_never_lifts_the_background():
    labels = np.zeros((60, 60), np.int32)
    labels[20:40, 25:35] = 7
    assert np.array_equal(weight_map(labels), np.where(labels > 0, np.float32(1.5), 1))


def test_no_objects_is_all_ones():
    result = weight_map(np.zeros((5, 7), np.uint8))
    assert result.dtype == np.float32
    assert np.array_equal(result, np.ones((5, 7)))


def test_nothing_but_cells():
    assert np.array_equal(
        weight_map(np.ones((4, 4), np.int64), cell_weight=3.0), np.full((4, 4), 3)
    )


def test_touching_objects_stay_two():
    labels = np.zeros((30, 30), np.int32)
    labels[10:20, 5:15], labels[10:20, 15:25] = 1, 2
    result = weight_map(labels)
    assert same(result, by_definition(labels))
    # Just above the seam: distance 1 to one, sqrt(2) to the other. One object would weigh nothing.
    assert result[9, 15] == pytest.approx(np.exp(-1 / 1250) + np.exp(-2 / 1250), abs=1e-6)
    assert weight_map((labels > 0).astype(int))[9, 15] == 1


@pytest.mark.parametrize("numbers", [(3, 900, 41), (2_000_000_000, 5, 1_999_999_999)])
def test_only_the_partition_matters_not_the_numbers(numbers):
    labels = scattered_cells((50, 50), 3, radius=(3, 6))
    renumbered = np.array([0, *numbers], np.int32)[labels]
    # The order of the sum may change, and with it the last bit.
    assert np.allclose(weight_map(renumbered), weight_map(labels), rtol=0, atol=1e-6)


def test_huge_labels_without_background():
    labels = np.full((3, 4), 2_000_000_000, np.int32)
    labels[:, 2:] = 7
    assert np.array_equal(weight_map(labels), np.full((3, 4), np.float32(1.5)))


def test_object_in_pieces_counts_once():
    labels = np.zeros((9, 9), np.int32)
    labels[4, 1] = labels[4, 7] = 1
    assert weight_map(labels)[4, 4] == 1  # two objects would give 2 exp(-9 / 1250)
    labels[4, 7] = 2
    assert weight_map(labels)[4, 4] == pytest.approx(2 * np.exp(-9 / 1250), abs=1e-6)


def test_objects_at_the_border_and_larger_than_a_window():
    labels = np.zeros((80, 60), np.int32)
    labels[0, :], labels[-1, :], labels[:, 0], labels[5:75, 20:40] = 1, 2, 3, 4
    assert same(weight_map(labels, sigma=2.0), by_definition(labels, sigma=2.0))


def test_turning_the_image_turns_the_map():
    labels = scattered_cells((60, 45), 5, radius=(3, 7))
    assert np.array_equal(weight_map(labels[::-1].T), weight_map(labels)[::-1].T)


def test_windows_reach_as_far_to_all_sides():
    sigma, labels = 1.16, np.zeros((15, 15), np.int32)
    labels[7, 6], labels[7, 8] = 1, 2  # between them the sum is above the clip
    labels[7, 13] = 3  # adds 1.5e-6 there, from the last pixel of its window
    assert window_radius(3, sigma) == 6
    middle = [weight_map(np.rot90(labels, turns), sigma=sigma)[7, 7] for turns in range(4)]
    assert len(set(middle)) == 1
    assert middle[0] > weight_map(labels * (labels < 3), sigma=sigma)[7, 7]


def test_window_radius_keeps_its_promise():
    for count in (1, 20, 1000):
        radius = window_radius(count, 25.0)
        assert (
            count * np.exp(-(radius**2) / 1250)
            <= 5e-6
            < count * np.exp(-((radius - 1) ** 2) / 1250)
        )


def test_map_of_2021_is_limited_and_in_eight_bits():
    labels = np.zeros((40, 300), np.int32)
    labels[20, 20], labels[20, 30], labels[20, 140] = 1, 2, 3
    today, stored = weight_map(labels), weight_map_2021(labels)
    steps = stored * 255
    assert np.array_equal(steps, np.round(steps))
    near = ndimage.distance_transform_cdt(labels == 0, metric="chessboard") < 49
    error = today[near] / R21_MAXIMUM - stored[near]
    assert error.min() >= -1e-6
    assert error.max() < 1 / 255 + 1e-6
    # At 80 the three Gaussians still add up to something, but no cell is within 50 pixels.
    assert stored[20, 82] == np.float32(np.floor(255 / R21_MAXIMUM) / 255)


@pytest.mark.parametrize(
    ("labels", "settings", "named"),
    [
        (np.zeros((3, 3, 3), int), {}, "labels"),
        (np.zeros((0, 3), int), {}, "labels"),
        (np.zeros((3, 3)), {}, "labels"),
        (np.zeros((3, 3), bool), {}, "labels"),
        (np.full((3, 3), -1), {}, "labels"),
        (np.zeros((3, 3), int), {"sigma": 0}, "sigma"),
        (np.zeros((3, 3), int), {"sigma": np.nan}, "sigma"),
        (np.zeros((3, 3), int), {"cell_weight": -1.5}, "cell_weight"),
    ],
)
def test_bad_input_is_named(labels, settings, named):
    with pytest.raises(InputError, match=named):
        weight_map(labels, **settings)


def test_real_labels(samples_dir):
    from PIL import Image

    paths = sorted((samples_dir / "bbbc038_fluo" / "labels").glob("*"))[:3]
    assert paths
    for path in paths:
        labels = np.asarray(Image.open(path)).astype(np.int32)
        assert same(weight_map(labels), one_transform_per_object(labels))


# --- what the map does to the gradient of the recipe's loss --------------------------------------


def pull(labels, weights, *, logit=-2.0):
    """Size of the gradient of every pixel under the loss of 2021, at the same logit everywhere."""
    logits = torch.full((1, 1, *labels.shape), logit, requires_grad=True)
    mask = torch.tensor(labels > 0)[None]
    build(RECIPES["morelli2021"].loss)(logits, mask, weights).backward()
    return logits.grad[0, 0].abs().numpy()


def crop_of(labels, *, mapped):
    """Return the weights of a training crop."""
    picture = Sample(np.zeros((*labels.shape, 3), np.uint8), labels, {})
    crops = Crops([picture], weight_sigma=WEIGHT_SIGMA if mapped else None)
    weights = crops.cut(torch.tensor([0]), torch.tensor([[0, 0]]), max(labels.shape))[1]
    return None if weights is None else weights[:, :, : labels.shape[0], : labels.shape[1]]


def test_a_cell_pixel_pulls_2_25_times_as_hard_with_the_map_and_1_5_times_without():
    labels = np.zeros((40, 40), np.int32)
    labels[10:20, 10:20] = 1
    for mapped, weight in ((True, 2.25), (False, 1.5)):
        size = pull(labels, crop_of(labels, mapped=mapped), logit=0.0)  # p = 1 - p
        assert size[15, 15] / size[0, 0] == pytest.approx(weight, rel=1e-6)


def test_in_a_crowd_the_map_raises_the_share_of_cells_as_in_the_code_of_2021():
    """The densest window of chapter 4.

    An audit of the released code found 0.717 and 0.734, as this code did, in a picture of the
    simulator before. The picture is another one now: the shares are worked out from the formula.
    """
    sample = simulate(281, seed=0)
    density = ndimage.uniform_filter(sample.mask.astype(float), (220, 300))
    row, column = np.unravel_index(density[110:1090, 150:1450].argmax(), (980, 1300))
    labels = sample.labels[row : row + 220, column : column + 300]

    def share(weights):
        size = pull(labels, weights)
        return size[labels > 0].sum() / size.sum()

    without, with_map = (share(crop_of(labels, mapped=mapped)) for mapped in (False, True))
    plain = share(torch.tensor(weight_map(labels, cell_weight=1.0))[None, None])

    def worked_out(cell, background):
        p = 1 / (1 + np.exp(2.0))  # cells pull by 1 - p and weigh 1.5, background pulls by p
        inside = labels > 0
        pulled = np.where(inside, 1.5 * (1 - p) * cell, p * background)
        return pulled[inside].sum() / pulled.sum()

    outside = one_transform_per_object(labels)
    assert without == pytest.approx(worked_out(1.0, 1.0), abs=1e-4)
    assert with_map == pytest.approx(worked_out(1.5, outside), abs=2e-3)  # kept in few bits
    assert plain == pytest.approx(worked_out(1.0, outside), abs=1e-4)
    assert plain < without < with_map, "the map without its 1.5 takes from the cells"
