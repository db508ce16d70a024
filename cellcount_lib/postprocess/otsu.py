"""Otsu's threshold and the watershed: labels without a network."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from cellcount_lib.checks import check_positive
from cellcount_lib.data.sample import brightness
from cellcount_lib.postprocess.postprocess import POSTPROCESS, Postprocessing, postprocess


def otsu_mask(
    image: NDArray[np.uint8], *, sigma: float = 2.0, scale: float = 1.0
) -> NDArray[np.bool_]:
    """Mask of the pixels above Otsu's threshold, after a Gaussian blur.

    Otsu's threshold splits the histogram into two classes whatever there is to split. Where cells
    are rare (0.6% of the pixels) it may fall into the background, and it does in an image without
    cells: half of the noise becomes foreground. The blur joins that into dozens of patches instead
    of thousands of specks, but an empty image still gets objects; that is a property of the method,
    and a reason why the baseline is shown. Only an image of one intensity has an empty mask.
    `sigma` of the blur is in pixels of an image at `scale` 1.

    References
    ----------
    Otsu (1979), "A threshold selection method from gray-level histograms", IEEE SMC 9:62.
    """
    sigma = check_positive("sigma", sigma) * check_positive("scale", scale)
    grey = ndimage.gaussian_filter(brightness(image).astype(np.float32), sigma)
    if np.ptp(grey) < 1e-3:  # rounding of the blur, not intensity
        return np.zeros(grey.shape, bool)
    return grey > threshold_otsu(grey)


def otsu_watershed(
    image: NDArray[np.uint8],
    settings: Postprocessing | str = POSTPROCESS["recommended"],
    *,
    sigma: float = 2.0,
    scale: float = 1.0,
) -> NDArray[np.int32]:
    """Otsu's threshold, then the watershed of the distance transform: labels int32 (H, W).

    For a score under a protocol, the post-processing is `protocol.postprocess`.

    Examples
    --------
    >>> y, x = np.ogrid[:80, :80]
    >>> cell = ((y - 40) ** 2 + (x - 40) ** 2 < 400) * np.uint8(100)
    >>> int(otsu_watershed(np.stack([cell] * 3, axis=2)).max())
    1
    """
    return postprocess(otsu_mask(image, sigma=sigma, scale=scale), settings, scale=scale)
