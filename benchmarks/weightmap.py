"""Weight maps: the definition, the published algorithm and the usual shortcut, against ours."""

from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.draw import disk

from benchmarks.harness import Case
from cellcount_lib.training.weightmap import weight_map


def by_definition(
    labels: NDArray[np.integer], *, sigma: float = 25.0, cell_weight: float = 1.5
) -> NDArray[np.float64]:
    """S3 Eq. 1 word for word, in float64: distance to the nearest of the object's pixels.

    Every pixel is compared with every pixel of every object: for small images only.
    """
    rows, columns = np.indices(labels.shape)
    total = np.zeros(labels.shape)
    for label in np.unique(labels[labels > 0]):
        nearest = np.full(labels.shape, np.inf)
        for row, column in np.argwhere(labels == label):
            nearest = np.minimum(nearest, (rows - row) ** 2 + (columns - column) ** 2)
        total += np.exp(-nearest / (2 * sigma**2))
    return np.where(labels > 0, cell_weight, np.maximum(total, 1))


def double_loop(
    labels: NDArray[np.integer], *, sigma: float = 25.0, cell_weight: float = 1.5
) -> NDArray[np.float64]:
    """R21's algorithm, written anew: per object a distance transform of the whole image, then a
    Python loop over rows and columns for the exponential."""
    height, width = labels.shape
    total = np.zeros(labels.shape)
    for label in np.unique(labels[labels > 0]):
        distance = ndimage.distance_transform_edt(labels != label)
        weight = np.zeros(labels.shape)
        for i in range(height):
            for j in range(width):
                if distance[i, j] != 0:
                    weight[i, j] = np.exp(-(distance[i, j] ** 2) / (2 * sigma**2))
                else:
                    weight[i, j] = 1
        total += weight
    return np.where(labels > 0, cell_weight, np.maximum(total, 1))


def one_transform_per_object(
    labels: NDArray[np.integer], *, sigma: float = 25.0, cell_weight: float = 1.5
) -> NDArray[np.float64]:
    """Vectorised: one distance transform of the whole image per object, exponential in NumPy."""
    total = np.zeros(labels.shape)
    for label in np.unique(labels[labels > 0]):
        distance = ndimage.distance_transform_edt(labels != label)
        total += np.exp(-(distance**2) / (2 * sigma**2))
    return np.where(labels > 0, cell_weight, np.maximum(total, 1))


def scattered_cells(
    size: tuple[int, int], count: int, *, seed: int = 0, radius: tuple[int, int] = (10, 24)
) -> NDArray[np.int32]:
    """Draw `count` discs, about the size of real cells; later ones cover earlier ones in part."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(size, np.int32)
    for label in range(1, count + 1):
        centre = rng.uniform((0, 0), size)
        labels[disk(centre, rng.uniform(*radius), shape=size)] = label
    return labels


def same(ours: NDArray[np.float32], reference: NDArray[np.float64]) -> bool:
    return bool(np.abs(ours - reference).max() <= 1e-5)


def cases() -> list[Case]:
    crop = scattered_cells((512, 512), 20)
    image = scattered_cells((1200, 1600), 40)
    return [
        Case(
            "weight map, 512x512 crop, 20 objects",
            ours=partial(weight_map, crop),
            reference=partial(double_loop, crop),
            reference_is="R21: double Python loop per object",
            at_least=100,
            same=same,
        ),
        Case(
            "weight map, 512x512 crop, 20 objects",
            ours=partial(weight_map, crop),
            reference=partial(one_transform_per_object, crop),
            reference_is="one full-image EDT per object",
            at_least=4,
            same=same,
        ),
        Case(
            "weight map, 1600x1200 image, 40 objects",
            ours=partial(weight_map, image),
            reference=partial(one_transform_per_object, image),
            reference_is="one full-image EDT per object",
            at_most_s=0.2,
            same=same,
        ),
    ]
