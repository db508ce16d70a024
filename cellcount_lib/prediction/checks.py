"""Which counts a person should look at, and why."""

from typing import Any

import numpy as np

from cellcount_lib.data.sample import brightness
from cellcount_lib.data.stretch import HIGH_PERCENTILE, LEAST_RANGE, LOW_PERCENTILE
from cellcount_lib.prediction.reading import Plane

# Of the way from a cutoff to 1: a network whose pixels are less sure in the mean is far from what
# it knows. (0.82 for the cutoff 0.45; 1 of 40 validation pictures of nuclei lies below.)
SURE = 2 / 3
SATURATED = 0.01  # share of pixels at the largest value, in any channel
AS_EXPECTED = (0.6, 1.6)  # times the expected width


def reasons(
    plane: Plane, summary: dict[str, Any], *, cell_px: float | None, cutoff: float | None
) -> list[str]:
    """Say why the count of a picture should be looked at; nothing if it need not be.

    `summary` is of `outputs.measure`, `cell_px` the width that cells were expected to have, and
    `cutoff` what the network's pixels had to exceed; Otsu's threshold has none.
    """
    found = []
    if not summary["count"]:
        found.append("no cells")
    elif cutoff is not None and (sure := summary["confidence"]) < cutoff + SURE * (1 - cutoff):
        found.append(f"confidence {sure:.2f}")
    if summary["count"] and cell_px is not None:
        width = 2 * np.sqrt(summary["area_px_median"] / np.pi)
        if not AS_EXPECTED[0] <= width / cell_px <= AS_EXPECTED[1]:
            found.append(f"cells {width:.0f} px wide, expected {cell_px:.0f}")
    low, high = np.percentile(brightness(plane.image), (LOW_PERCENTILE, HIGH_PERCENTILE))
    if high - low < LEAST_RANGE:
        found.append("flat picture")
    elif (plane.stored == plane.stored.max()).any(axis=2).mean() > SATURATED:
        found.append("saturated picture")
    return found
