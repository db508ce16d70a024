import numpy as np
import pytest
import torch

from cellcount_lib.data.sample import Sample
from cellcount_lib.errors import InputError
from cellcount_lib.training.crops import (
    ARTIFACT_CROPS,
    Copies,
    Crops,
    Places,
    artifact_places,
    cell_places,
    epoch_places,
    grid_places,
    grid_starts,
    random_places,
)
from cellcount_lib.training.recipes import RECIPES
from cellcount_lib.training.weightmap import weight_map
from tests.discs import draw


def sample(seed, size=(60, 90), number=3, radius=6.0, **meta):
    image, labels = draw(np.random.default_rng(seed), size, number, radius)
    return Sample(image, labels, meta)


def blank(size, **meta):
    return Sample(np.zeros((*size, 3), np.uint8), np.zeros(size, np.int32), meta)


# --- places --------------------------------------------------------------------------------------


def test_the_published_grid():
    places = grid_places([blank((1200, 1600), labelling="manual")], 512)
    rows = sorted({int(y) for y in places.box[:, 0]})
    columns = sorted({int(x) for x in places.box[:, 2]})
    assert (rows, columns) == ([0, 400, 688], [0, 400, 800, 1088])  # S3: 4x3 crops per picture
    assert len(places.image) == 12
    assert (places.box[:, 0] == places.box[:, 1]).all()


@pytest.mark.parametrize("side", [1, 63, 64, 65, 100, 200, 997])
def test_a_grid_covers_a_side_without_leaving_it(side):
    starts = grid_starts(side, 64)
    covered = np.zeros(side, int)
    for start in starts:
        covered[start : start + 64] += 1
        assert start == 0 or start + 64 <= side
    assert covered.all()
    assert len(set(starts)) == len(starts)


def test_an_epoch_shows_a_crop_as_often_as_its_labels_say():
    samples = [
        blank((64, 64), labelling="manual"),
        blank((64, 64), labelling="semi-automatic"),
        blank((64, 64), labelling="exact"),
    ]
    places = epoch_places(samples, 64, "grid", Copies(semi_automatic=4, manual=10))
    image, corner = places.epoch(np.random.default_rng(0))
    assert np.bincount(image).tolist() == [10, 4, 1]
    assert (corner == 0).all()


@pytest.mark.parametrize(
    ("recipe", "in_all", "share"),
    [
        # 134 * 12 crops 6 times and 16 * 12 crops 12 times are 11,952; less 5 * 6 + 12 of the six
        # crops that are shown 129 times instead: 11,952 - 42 + 774
        ("morelli2021", 12_684, 0.0610),
        # 134 * 12 * 4 + 16 * 12 * 10 = 8,352; less 5 * 4 + 10; and 6 * 25
        ("morelli2021-s0", 8_472, 0.0177),
    ],
)
def test_the_share_of_artifacts_in_an_epoch_of_the_simulated_pictures(recipe, in_all, share):
    page = np.broadcast_to(np.uint8(0), (1200, 1600, 3))
    labels = np.broadcast_to(np.int32(0), (1200, 1600))
    by = ["manual"] * 16 + ["semi-automatic"] * 134
    samples = [Sample(page, labels, {"labelling": name}) for name in by]
    copies = RECIPES[recipe].copies
    places = epoch_places(samples, 512, "grid", copies)
    six = [15 * 12 + 3, *(40 * 12 + 5 * n for n in range(5))]  # one of a manual picture
    artifacts = Places(places.image[six], places.box[six], np.full(6, copies.artifact))
    places = places.with_artifacts(artifacts)
    assert len(places.times) == 150 * 12
    assert places.per_epoch == in_all
    assert artifacts.per_epoch / places.per_epoch == pytest.approx(share, abs=5e-5)


def test_artifacts_of_crops_without_a_grid_come_on_top():
    one = sample(0, size=(128, 256), number=4)
    one.image[:, 180:][one.labels[:, 180:] == 0] = 255  # in six crops of the grid or more
    plain, more = (
        epoch_places([one], 64, "random", Copies(artifact=7), artifacts=a) for a in (False, True)
    )
    assert more.per_epoch == plain.per_epoch + 7 * ARTIFACT_CROPS


def test_random_crops_are_spread_over_the_picture_and_stay_inside():
    samples = [blank((100, 300)), blank((64, 64)), blank((20, 500))]
    places = random_places(samples, 64)
    assert places.times.tolist() == [
        len(grid_starts(h, 64)) * len(grid_starts(w, 64))
        for h, w in ((100, 300), (64, 64), (20, 500))
    ]
    many = Places(places.image, places.box, places.times * 200)
    image, corner = many.epoch(np.random.default_rng(1))
    first = corner[image == 0]
    assert first.min(axis=0).tolist() == [0, 0]
    assert first.max(axis=0).tolist() == [36, 236]
    counts = np.bincount(first[:, 1], minlength=237)
    assert counts.std() < 3 * np.sqrt(counts.mean())  # even
    assert corner[image == 2][:, 0].max() == 0


def test_half_of_the_crops_hold_a_cell():
    samples = [sample(0), sample(1, number=5), blank((60, 90))]
    places = cell_places(samples, 32)
    assert places.per_epoch == 8 + 3 * 3  # 8 cells; then round(8 / 3) anywhere in each of three
    cells = Places(places.image[:8], places.box[:8], places.times[:8] * 50)
    image, corner = cells.epoch(np.random.default_rng(0))
    for i, (y, x) in zip(image, corner, strict=True):
        assert 0 <= y <= 60 - 32
        assert 0 <= x <= 90 - 32
        assert samples[i].labels[y : y + 32, x : x + 32].any()
    assert len({(int(y), int(x)) for y, x in corner}) > 100


def test_an_epoch_is_a_function_of_its_generator():
    places = cell_places([sample(0), sample(1)], 32)
    one, two, other = (places.epoch(np.random.default_rng(seed)) for seed in (4, 4, 5))
    np.testing.assert_array_equal(one[1], two[1])
    assert (one[1] != other[1]).any()


def test_artifact_crops_are_those_with_bright_matter_outside_cells():
    samples = [sample(i, size=(128, 256), number=4) for i in range(2)]
    free = samples[1].labels[:, 180:] == 0
    samples[1].image[:, 180:][free] = 255  # a stripe as bright as nothing else
    places = artifact_places(samples, 64, 150, number=2)
    assert places.times.tolist() == [150, 150]
    for i, box in zip(places.image, places.box, strict=True):
        assert i == 1
        assert box[2] + 64 > 180
    with pytest.raises(InputError, match="no crop shows anything as bright"):
        artifact_places(samples[:1], 64, 2)
    with pytest.raises(InputError, match="at least one cell"):
        artifact_places([blank((64, 64))], 64, 2)


# --- crops ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("margin", [0, 5, 70])
@pytest.mark.parametrize("side", [16, 80])
def test_crops_are_the_mirrored_picture(margin, side):
    samples = [sample(0), sample(1, size=(50, 40), number=2)]
    crops = Crops(samples, weight_sigma=5.0)
    image = torch.tensor([0, 1, 1])
    corner = torch.tensor([[3, 70], [0, 0], [34, 24]])
    pixels, weights = crops.cut(image, corner, side, margin=margin)
    assert pixels.dtype == torch.uint8
    assert pixels.is_contiguous(memory_format=torch.channels_last)
    assert weights.dtype == torch.float16
    far = 300
    for n, (i, (y, x)) in enumerate(zip(image.tolist(), corner.tolist(), strict=True)):
        whole = np.dstack([samples[i].image, samples[i].labels > 0])
        padded = np.pad(whole, ((far, far), (far, far), (0, 0)), mode="symmetric")
        rows = slice(far + y - margin, far + y + side + margin)
        columns = slice(far + x - margin, far + x + side + margin)
        np.testing.assert_array_equal(pixels[n].permute(1, 2, 0).numpy(), padded[rows, columns])
        heavy = weight_map(samples[i].labels, sigma=5.0).astype(np.float16)
        heavy = np.pad(heavy, far, mode="symmetric")
        np.testing.assert_array_equal(weights[n, 0].numpy(), heavy[rows, columns])


def test_without_weights_there_are_none_and_bytes_are_counted():
    samples = [sample(0), sample(1)]
    crops = Crops(samples)
    assert crops.weights is None
    assert crops.cut(torch.tensor([0]), torch.tensor([[0, 0]]), 8)[1] is None
    assert Crops.bytes_needed(samples, weights=False) == crops.pixels.nbytes
    heavy = Crops(samples, weight_sigma=5.0)
    assert Crops.bytes_needed(samples, weights=True) == heavy.pixels.nbytes + heavy.weights.nbytes
    with pytest.raises(InputError, match="at least one picture"):
        Crops([])
