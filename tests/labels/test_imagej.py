import io
import struct
import zipfile

import numpy as np
import pytest
import roifile

from cellcount_lib.errors import DataError
from cellcount_lib.labels.imagej import read, roi_zip
from cellcount_lib.labels.labelled import Pictures
from tests.labels.plain import filled_by_matplotlib


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


def test_rois_are_the_outlines_at_their_place():
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
        inside = filled_by_matplotlib([np.column_stack([xs, ys])], labels.shape)
        np.testing.assert_array_equal(inside, labels == label)  # the hole is one
    assert roi_zip(labels) == roi_zip(labels)


def test_a_picture_beyond_the_roi_format_is_an_error():
    with pytest.raises(DataError, match="32767"):
        roi_zip(np.zeros((1, 40000), np.int32))


@pytest.fixture
def pictures(tmp_path):
    from PIL import Image

    (tmp_path / "pictures").mkdir()
    Image.new("L", (12, 10)).save(tmp_path / "pictures" / "a.png")
    return Pictures(tmp_path / "pictures")


def test_what_imagej_draws_is_read(tmp_path, pictures):
    path = tmp_path / "a.zip"
    rect = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.RECT, left=1, top=2, right=4, bottom=4)
    oval = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.OVAL, left=6, top=1, right=11, bottom=6)
    # ImageJ joins shapes to paths: 0 moves, 1 draws a line, 4 closes; here a square with a hole
    outer, hole = [(0, 5), (4, 5), (4, 9), (0, 9)], [(1, 6), (2, 6), (2, 7), (1, 7)]
    path_of = [v for ring in (outer, hole) for i, p in enumerate(ring) for v in (int(i > 0), *p)]
    path_of.insert(12, 4)
    path_of.append(4)
    both = roifile.ImagejRoi(
        roitype=roifile.ROI_TYPE.RECT,
        multi_coordinates=np.array(path_of, np.float32),
        shape_roi_size=len(path_of),
    )
    roifile.roiwrite(path, [rect, oval, both], name=["a", "b", "c"], mode="w")
    (found,) = read(path, pictures)
    y, x = np.mgrid[:10, :12]
    expected = np.zeros((10, 12), np.int32)
    expected[2:4, 1:4] = 1
    expected[(x + 0.5 - 8.5) ** 2 + (y + 0.5 - 3.5) ** 2 < 2.5**2] = 2
    expected[5:9, 0:4] = 3
    expected[6, 1] = 0
    np.testing.assert_array_equal(found.labels, expected)


def test_a_single_roi_file_is_read(tmp_path, pictures):
    roi = roifile.ImagejRoi.frompoints([[1, 1], [3, 1], [3, 4], [1, 4]])
    (tmp_path / "a.roi").write_bytes(roi.tobytes())
    (found,) = read(tmp_path / "a.roi", pictures)
    assert np.argwhere(found.labels).tolist() == [[y, x] for y in (1, 2, 3) for x in (1, 2)]


@pytest.mark.parametrize("kind", ["line", "bomb", "many", "damaged"])
def test_archives_that_are_no_areas_or_a_burden(tmp_path, pictures, kind):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        if kind == "line":
            line = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.LINE, x2=4, y2=4)
            archive.writestr("a.roi", line.tobytes())
        elif kind == "bomb":
            archive.writestr("a.roi", bytes(2**26))
        elif kind == "many":
            for number in range(3):
                archive.writestr(f"{number}.roi", bytes(2**24))
        else:
            archive.writestr("a.roi", b"Iout" + bytes(12) + b"\xff\xff" + bytes(90))
    with pytest.raises(DataError) as caught:
        read(path, pictures)
    said = {"line": "a line", "bomb": "32 MB", "many": "32 MB", "damaged": "something else"}
    assert said[kind] in str(caught.value)
    assert str(path) in str(caught.value)
