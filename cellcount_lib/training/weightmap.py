"""Weight maps: background pixels that are squeezed between cells weigh more (S3, Eq. 1 and Alg. 1).

The network is punished harder for joining two cells than for missing background far away from any
cell. Every object spreads a Gaussian of the distance to it; where several objects are near, their
contributions add up.
"""

import edt
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cellcount_lib.checks import check_labels, check_positive

# What the contributions dropped beyond the windows may add up to, over all objects, at any pixel:
# half of the 1e-5 that is promised, the other half is left to float32 sums.
TOLERANCE = 5e-6

# R21 divides every map by this number (the largest weight it met) to store it in 8 bits.
R21_MAXIMUM = 3.8177538


def window_radius(n_objects: int, sigma: float) -> int:
    """Distance in pixels beyond which `n_objects` Gaussians together stay below `TOLERANCE`.

    n exp(-r^2 / 2 sigma^2) <= TOLERANCE, solved for r. The clip at 1 can only shrink the error.

    Examples
    --------
    >>> window_radius(1, sigma=25), window_radius(40, sigma=25)
    (124, 141)
    """
    return int(np.ceil(sigma * np.sqrt(2 * np.log(max(n_objects, 1) / TOLERANCE))))


def weight_map(
    labels: NDArray[np.integer], *, sigma: float = 25.0, cell_weight: float = 1.5
) -> NDArray[np.float32]:
    """Weight of every pixel: high on background between close cells, 1 on background elsewhere.

    For background pixels, w(p) = max(1, sum over objects of exp(-d(p)^2 / (2 sigma^2))), where d is
    the Euclidean distance from p to the nearest pixel of that object. Object pixels get
    `cell_weight`. One object alone never lifts the background above 1; it takes two.

    An object's contribution is computed inside a window around it only, chosen so that the result
    equals the definition on the whole image to 1e-5. Objects that touch stay apart because their
    numbers differ; an object may consist of several pieces. `sigma` is the mean radius of a cell in
    pixels (25 in S3); the weight of cells is that of S0 and R21.

    References
    ----------
    S3, section "Weight maps", Eq. 1 and Alg. 1; after the border weights of Ronneberger et al.
    (2015), "U-Net". Squared distances: Felzenszwalb & Huttenlocher (2012), as in the package edt.

    Taught in: 04_ablations.

    Examples
    --------
    Two cells of one pixel with one pixel between them; that pixel is at distance 1 of both:

    >>> weight_map(np.array([[1, 0, 2, 0, 0]]), sigma=1.0).round(3)
    array([[1.5  , 1.213, 1.5  , 1.   , 1.   ]], dtype=float32)
    """
    labels = check_labels("labels", labels)
    sigma = check_positive("sigma", sigma)
    cell_weight = check_positive("cell_weight", cell_weight)

    objects = _bounding_boxes(labels)
    radius = window_radius(len(objects), sigma)
    total = np.zeros(labels.shape, np.float32)
    for label, box in objects:
        window = tuple(slice(max(s.start - radius, 0), s.stop + radius) for s in box)
        # Squared distances in pixels are whole numbers far below 2^24: exact in float32.
        squared = edt.edtsq(labels[window] != label, parallel=1)
        squared *= np.float32(-0.5 / sigma**2)
        total[window] += np.exp(squared, out=squared)
    return np.where(labels > 0, np.float32(cell_weight), np.maximum(total, np.float32(1)))


def weight_map_2021(labels: NDArray[np.integer], *, sigma: float = 25.0) -> NDArray[np.float32]:
    """Historical: the weight map as R21 stored it, for the chapter that compares the two.

    Differs from `weight_map` in two ways. Only background within a 100x100 square around a cell
    pixel is weighted. The map is divided by `R21_MAXIMUM` and cut to 8 bits, so it comes in 255
    steps of 0.015 and all weights are smaller by the same factor 3.8; larger ones saturate here
    (R21 stops at them). The small objects and holes that R21 removes first are left as they are.
    Values are k / 255, k = 0..255, as R21's training reads them back.

    Examples
    --------
    >>> np.unique(weight_map_2021(np.array([[1, 0]])) * 255)
    array([ 66., 100.], dtype=float32)
    """
    weights = weight_map(labels, sigma=sigma)
    near_a_cell = ndimage.maximum_filter(np.asarray(labels) > 0, size=100, mode="constant")
    weights[~near_a_cell] = 1
    scaled = np.minimum(weights / np.float32(R21_MAXIMUM), 1)
    return np.floor(scaled * 255).astype(np.float32) / np.float32(255)


def _bounding_boxes(labels: NDArray[np.int32]) -> list[tuple[int, tuple[slice, slice]]]:
    """Return (label, bounding box) of every object present, in order of the labels."""
    if labels.max() <= labels.size:
        boxes = ndimage.find_objects(labels)
        return [(i, box) for i, box in enumerate(boxes, start=1) if box is not None]
    # find_objects makes a list as long as the largest label: not for labels such as 2,000,000,000.
    present, dense = np.unique(labels, return_inverse=True)
    boxes = ndimage.find_objects(dense.reshape(labels.shape) + int(present[0] > 0))
    return list(zip(present[present > 0].tolist(), boxes, strict=True))
