import io
import json
import struct
import zipfile

import numpy as np
import pytest
from matplotlib.path import Path as Polygon
from scipy import ndimage

from cellcount_lib.errors import DataError
from cellcount_lib.prediction.outlines import geojson, ring_area, rings, roi_zip

EIGHT = np.ones((3, 3))


def filled(rings_, shape):
    """Pixels whose centre lies in the first ring and in none of the others."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    centres = np.column_stack([x.ravel() + 0.5, y.ravel() + 0.5])
    inside = Polygon(rings_[0]).contains_points(centres)
    for hole in rings_[1:]:
        inside &= ~Polygon(hole).contains_points(centres)
    return inside.reshape(shape)


def test_rings_of_small_masks_by_hand():
    # an L of three pixels, clockwise from its upper left corner
    corner = np.array([[1, 0], [1, 1]], bool)
    (ring,) = rings(corner, diagonal=True)
    assert ring.tolist() == [[0, 0], [1, 0], [1, 1], [2, 1], [2, 2], [0, 2]]
    assert ring_area(ring) == 3
    # a ring of eight around a hole
    hollow = np.ones((3, 3), bool)
    hollow[1, 1] = False
    outer, hole = rings(hollow, diagonal=True)
    assert outer.tolist() == [[0, 0], [3, 0], [3, 3], [0, 3]]
    assert ring_area(hole) == -1
    # two pixels that share a corner: one ring through it twice, or two rings
    pinch = np.eye(2, dtype=bool)
    assert [ring_area(r) for r in rings(pinch, diagonal=True)] == [2]
    assert [ring_area(r) for r in rings(pinch, diagonal=False)] == [1, 1]
    assert rings(np.zeros((2, 2), bool), diagonal=True) == []


@pytest.mark.parametrize("seed", range(40))
def test_rings_of_random_masks(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 12, 2)) < rng.uniform(0.2, 0.95)
    outside = np.pad(~mask, 1, constant_values=True)
    together, apart = rings(mask, diagonal=True), rings(mask, diagonal=False)
    assert sum(map(ring_area, together)) == sum(map(ring_area, apart)) == mask.sum()
    assert sum(ring_area(r) > 0 for r in together) == ndimage.label(mask, EIGHT)[1]
    assert sum(ring_area(r) < 0 for r in together) == ndimage.label(outside)[1] - 1
    assert sum(ring_area(r) > 0 for r in apart) == ndimage.label(mask)[1]
    for ring in apart:
        assert len({tuple(point) for point in ring.tolist()}) == len(ring)  # simple
        steps = np.roll(ring, -1, axis=0) - ring
        assert ((steps == 0).sum(axis=1) == 1).all()  # along the edges of pixels
        assert ((steps[:, 0] == 0) != (np.roll(steps, 1, axis=0)[:, 0] == 0)).all()  # corners only


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
            inside = filled(polygon, labels.shape)
            assert not again[inside].any()
            again[inside] = int(feature["properties"]["name"])
    np.testing.assert_array_equal(again, labels)


def decode_roi(data):
    """Read a polygon ROI field by field, as ij.io.RoiDecoder does."""
    assert data[:4] == b"Iout"
    version, kind = struct.unpack(">hB", data[4:7])
    top, left, bottom, right = struct.unpack(">hhhh", data[8:16])
    (count,) = struct.unpack(">H", data[16:18])
    position, second = struct.unpack(">ii", data[56:64])
    x = np.frombuffer(data, ">i2", count, 64) + left
    y = np.frombuffer(data, ">i2", count, 64 + 2 * count) + top
    name_at, name_length = struct.unpack(">ii", data[second + 16 : second + 24])
    name = data[name_at : name_at + 2 * name_length].decode("utf-16-be")
    return version, kind, (top, left, bottom, right), position, x, y, name


def test_rois_are_the_outer_outlines_at_their_place():
    y, x = np.ogrid[:50, :70]
    labels = np.zeros((50, 70), np.int32)
    labels[(y - 20) ** 2 + (x - 45) ** 2 < 81] = 1
    labels[30:40, 5:12] = 3
    labels[34, 8] = 0  # a hole
    archive = zipfile.ZipFile(io.BytesIO(roi_zip(labels, position=4)))
    assert archive.namelist() == ["00001.roi", "00003.roi"]
    for entry, label in (("00001.roi", 1), ("00003.roi", 3)):
        version, kind, box, position, xs, ys, name = decode_roi(archive.read(entry))
        assert (version, kind, position, name) == (228, 0, 4, entry[:-4])
        rows, columns = np.nonzero(labels == label)
        assert box == (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
        inside = filled([np.column_stack([xs, ys])], labels.shape)
        np.testing.assert_array_equal(inside, ndimage.binary_fill_holes(labels == label))
    assert roi_zip(labels) == roi_zip(labels)


def test_a_picture_beyond_the_roi_format_is_an_error():
    with pytest.raises(DataError, match="32767"):
        roi_zip(np.zeros((1, 40000), np.int32))
