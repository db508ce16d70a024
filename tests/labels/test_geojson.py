import json

import numpy as np
import pytest
from scipy import ndimage

from cellcount_lib.labels.geojson import geojson
from tests.labels.plain import filled_by_matplotlib
from tests.labels.test_outlines import EIGHT


@pytest.mark.parametrize("seed", range(20))
def test_filling_the_geojson_gives_the_labels_back(seed):
    rng = np.random.default_rng(seed)
    labels = ndimage.label(rng.random((14, 17)) < 0.6, EIGHT)[0].astype(np.int32)
    labels[labels == 2] = 0  # a gap in the numbers
    collection = json.loads(geojson(labels))
    assert collection["type"] == "FeatureCollection"
    again = np.zeros_like(labels)
    for feature in collection["features"]:
        shape = feature["geometry"]
        polygons = shape["coordinates"]
        if shape["type"] == "Polygon":
            polygons = [polygons]
        for polygon in polygons:
            assert all(ring[0] == ring[-1] for ring in polygon)
            inside = filled_by_matplotlib(polygon, labels.shape)
            assert not again[inside].any()
            again[inside] = int(feature["properties"]["name"])
    np.testing.assert_array_equal(again, labels)
