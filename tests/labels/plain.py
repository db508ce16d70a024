"""Plain implementations that labels are compared with."""

import numpy as np
from matplotlib.path import Path as Polygon


def filled_by_matplotlib(rings_, shape):
    """Pixels whose centre lies in the first ring and in none of the others."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    centres = np.column_stack([x.ravel() + 0.5, y.ravel() + 0.5])
    inside = Polygon(rings_[0]).contains_points(centres)
    for hole in rings_[1:]:
        inside &= ~Polygon(hole).contains_points(centres)
    return inside.reshape(shape)
