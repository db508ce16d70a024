"""Pictures of discs whose colour and brightness are given."""

import numpy as np

from cellcount_lib.data.sample import Sample
from tests.discs import disc_labels


def picture(places, *, light=100, background=30, colour=(1, 1, 1), size=(90, 120)):
    labels = disc_labels(size, places)
    image = np.full((*size, 3), background, np.uint8)
    image[labels > 0] = (light * np.array(colour)).astype(np.uint8)
    return Sample(image, labels, {"name": "a"})
