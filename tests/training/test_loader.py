import numpy as np
import pytest
import torch

from cellcount_lib.data.sample import Sample
from cellcount_lib.errors import InputError
from cellcount_lib.training.augment import Augmentation
from cellcount_lib.training.crops import Crops, cell_places, grid_places
from cellcount_lib.training.loader import Batches
from tests.discs import draw


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(0)
    return [Sample(*draw(rng), {}) for _ in range(3)]


def train_batches(samples, seed=0, steps=5, weights=True):
    return Batches(
        Crops(samples, weight_sigma=5.0 if weights else None),
        cell_places(samples, 32),
        side=32,
        batch=4,
        seed=seed,
        augmentation=Augmentation(rotate=180, flip=True, noise=0.1),
        steps=steps,
    )


def epoch(batches, number):
    batches.epoch = number
    return list(batches)


def test_an_epoch_is_a_function_of_seed_and_number(samples):
    batches = train_batches(samples)
    first, second = epoch(batches, 0), epoch(batches, 1)
    again = epoch(train_batches(samples), 1)
    other = epoch(train_batches(samples, seed=1), 1)
    assert len(first) == len(batches) == 5
    for a, b, c, d in zip(second, again, first, other, strict=True):
        for x, y in zip(a, b, strict=True):
            assert torch.equal(x, y)
        assert not torch.equal(a[0], c[0])
        assert not torch.equal(a[0], d[0])


def test_a_batch_is_image_mask_and_weights(samples):
    image, mask, weights = train_batches(samples).one_batch()
    assert (image.shape, image.dtype) == ((4, 3, 32, 32), torch.float32)
    assert (mask.shape, mask.dtype) == ((4, 1, 32, 32), torch.uint8)
    assert (weights.shape, weights.dtype) == ((4, 1, 32, 32), torch.float32)
    assert 0 <= image.min() <= image.max() <= 1
    assert len(train_batches(samples, weights=False).one_batch()) == 2


def test_more_steps_than_crops_go_around_again(samples):
    batches = train_batches(samples, steps=40)
    assert batches.places.per_epoch < 160
    assert len(epoch(batches, 0)) == len(batches) == 40
    assert all(len(image) == 4 for image, *_ in epoch(batches, 3))


def test_batches_are_whole_where_there_are_fewer_crops_than_one_has(samples):
    batches = Batches(
        Crops(samples[:1]),
        cell_places(samples[:1], 32),
        side=32,
        batch=50,
        augmentation=Augmentation(),
        steps=4,
    )
    assert 0 < batches.places.per_epoch < 50
    assert [len(image) for image, *_ in epoch(batches, 0)] == [50] * 4
    batches.steps = None
    assert [len(image) for image, *_ in epoch(batches, 0)] == [batches.places.per_epoch]


def test_without_steps_every_crop_comes_once_but_for_an_incomplete_batch(samples):
    batches = train_batches(samples, steps=None)
    assert len(batches) == batches.places.per_epoch // 4 == len(epoch(batches, 0))


def test_validation_is_every_place_once_unchanged(samples):
    places = grid_places(samples, 32)
    batches = Batches(Crops(samples), places, side=32, batch=7)
    got = list(batches)
    assert len(got) == len(batches) == -(-len(places.image) // 7)
    image = torch.cat([b[0] for b in got])
    mask = torch.cat([b[1] for b in got])
    for n, (i, box) in enumerate(zip(places.image, places.box, strict=True)):
        part = np.s_[box[0] : box[0] + 32, box[2] : box[2] + 32]
        shown = np.rint(image[n].permute(1, 2, 0).numpy() * 255)
        np.testing.assert_array_equal(shown, samples[i].image[part])
        np.testing.assert_array_equal(mask[n, 0].numpy(), samples[i].labels[part] > 0)


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"side": 0}, {"steps": 0}])
def test_sizes_are_checked(samples, wrong):
    with pytest.raises(InputError, match="batch, side, steps"):
        Batches(Crops(samples), grid_places(samples, 32), **{"side": 32, "batch": 2} | wrong)
