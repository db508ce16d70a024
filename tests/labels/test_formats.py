"""Every format there and back, the files of other programs, and files that are broken."""

import json

import numpy as np
import pytest
from PIL import Image

from cellcount_lib.errors import CellcountError, DataError, InputError
from cellcount_lib.labels.formats import FORMATS, read, recognised, write
from cellcount_lib.labels.labelled import Labelled, Pictures, base_name
from tests.command import cellcount
from tests.discs import draw

KEEP_NUMBERS = ("tiff", "cellpose")


def odd(seed, shape=(37, 53)):
    """Labels with holes, pieces, single pixels and objects on the edge."""
    rng = np.random.default_rng(seed)
    labels = draw(rng, size=shape, number=4, radius=4)[1].astype(np.int32)
    labels[rng.random(shape) < 0.1] = 0
    labels[-1, -1] = 9
    labels[0, ::7] = 12
    return labels


def in_order(labels):
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.png", "b.tif"):
        Image.new("L", (53, 37)).save(folder / name)
    return Pictures(folder)


@pytest.mark.parametrize("name", FORMATS)
def test_there_and_back_to_the_pixel(tmp_path, pictures, name):
    labelled = [Labelled("a.png", odd(0)), Labelled("b.tif", odd(1))]
    out = tmp_path / ("out.json" if FORMATS[name].many else "out")
    paths = write(labelled, out, name)
    assert recognised(paths[0]) in (name, name.rsplit("-", 1)[0])
    again = read(out, None, pictures)
    for one, back in zip(labelled, again, strict=True):
        expected = one.labels if name in KEEP_NUMBERS else in_order(one.labels)
        np.testing.assert_array_equal(back.labels, expected)
        assert back.name.split(".")[0] == one.name.split(".")[0]
        assert back.overlap == 0
    assert [p.name for p in write(labelled, out, name)] == [p.name for p in paths]


@pytest.mark.parametrize("name", FORMATS)
def test_a_picture_without_cells_stays_one(tmp_path, pictures, name):
    out = tmp_path / f"a{FORMATS[name].suffix}"
    write([Labelled("a.png", np.zeros((37, 53), np.int32))], out, name)
    (back,) = read(out, name, pictures)
    assert back.labels.shape == (37, 53)
    assert not back.labels.any()


VIA = {
    "a.png123": {
        "filename": "a.png",
        "size": 123,
        "regions": [
            {"shape_attributes": {"name": "rect", "x": 1, "y": 2, "width": 3, "height": 2}},
            {"shape_attributes": {"name": "circle", "cx": 20, "cy": 10, "r": 4}},
            {"shape_attributes": {"name": "ellipse", "cx": 40, "cy": 20, "rx": 6, "ry": 3}},
            {
                "shape_attributes": {
                    "name": "ellipse",
                    "cx": 10,
                    "cy": 25,
                    "rx": 6,
                    "ry": 2,
                    "theta": np.pi / 2,
                }
            },
        ],
        "file_attributes": {},
    }
}


def via_truth():
    y, x = np.mgrid[:37, :53] + 0.5
    truth = np.zeros((37, 53), np.int32)
    truth[2:4, 1:4] = 1
    truth[(x - 20) ** 2 + (y - 10) ** 2 < 16] = 2
    truth[((x - 40) / 6) ** 2 + ((y - 20) / 3) ** 2 < 1] = 3
    truth[((x - 10) / 2) ** 2 + ((y - 25) / 6) ** 2 < 1] = 4
    return truth


def test_what_via_exports_is_read(tmp_path, pictures):
    path = tmp_path / "via.json"
    path.write_text(json.dumps(VIA))
    (found,) = read(path, None, pictures)
    np.testing.assert_array_equal(found.labels, via_truth())
    VIA1 = {"a": VIA["a.png123"] | {"regions": {"0": VIA["a.png123"]["regions"][0]}}}
    path.write_text(json.dumps(VIA1))
    assert np.argwhere(read(path, None, pictures)[0].labels).tolist() == [
        [y, x] for y in (2, 3) for x in (1, 2, 3)
    ]


def test_what_label_studio_exports_is_read(tmp_path):
    def region(kind, **value):
        return {
            "type": kind,
            "original_width": 20,
            "original_height": 10,
            "value": value,
        }

    polygon = region("polygonlabels", points=[[10, 10], [30, 10], [30, 40], [10, 40]])
    rectangle = region("rectanglelabels", x=50, y=50, width=10, height=20, rotation=0)
    choice = {"type": "choices", "value": {"choices": ["good"]}}
    task = {
        "data": {"image": "/data/upload/1/5f3a-a.png"},
        "annotations": [
            {"result": [rectangle]},
            {"result": [polygon, rectangle, choice]},
            {"result": [], "was_cancelled": True},
        ],
    }
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task, {"data": {"image": "b.png"}, "annotations": []}]))
    (found,) = read(path, None, Pictures(None))
    assert found.name == "5f3a-a.png"
    expected = np.zeros((10, 20), np.int32)
    expected[1:4, 2:6] = 1
    expected[5:7, 10:12] = 2
    np.testing.assert_array_equal(found.labels, expected)


def test_what_qupath_exports_is_read(tmp_path, pictures):
    ring = [[1, 1], [5, 1], [5, 5], [1, 5], [1, 1]]
    hole = [[2, 2], [3, 2], [3, 3], [2, 3], [2, 2]]
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring, hole]}}
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps([feature]))
    (found,) = read(path, None, pictures)
    assert found.labels.sum() == 15
    assert found.labels[2, 2] == 0


def test_objects_that_overlap_are_counted(tmp_path, pictures):
    square = {"name": "rect", "x": 0, "y": 0, "width": 4, "height": 4}
    regions = [{"shape_attributes": square}, {"shape_attributes": square | {"x": 3}}]
    path = tmp_path / "via.json"
    path.write_text(json.dumps({"a": {"filename": "a.png", "size": 1, "regions": regions}}))
    (found,) = read(path, None, pictures)
    assert found.overlap == 4
    assert found.labels[0, :8].tolist() == [1, 1, 1, 2, 2, 2, 2, 0]


HUGE = {"id": 1, "file_name": "a", "width": 10**6, "height": 10**6}
BROKEN = {
    "text.json": b"hello",
    "number.json": b"3",
    "list.json": b"[1, 2]",
    "deep.json": b"[" * 100_000,
    "empty.json": b"",
    "binary.json": bytes(range(256)),
    "via.json": b'{"_via_img_metadata": {"a": {"filename": "a.png", "regions": [{}]}}}',
    "via2.json": b'{"a": {"filename": "..", "regions": []}}',
    "via3.json": b'{"a": {"filename": "a.png", "regions": [{"shape_attributes":'
    b' {"name": "point"}}]}}',
    "nan.json": b'{"a": {"filename": "a.png", "regions": [{"shape_attributes": {"name": "circle",'
    b' "cx": NaN, "cy": 1, "r": 1}}]}}',
    "sizes.json": b'{"a": {"filename": "a.png", "regions": [], "file_attributes":'
    b' {"width": "1e9", "height": "-3"}}}',
    "coco.json": json.dumps({"images": [HUGE], "annotations": []}).encode(),
    "coco2.json": b'{"images": [], "annotations": [{"image_id": 1}]}',
    "studio.json": b'[{"annotations": [{"result": [{"type": "brushlabels"}]}], "data": {}}]',
    "point.geojson": b'{"features": [{"geometry": {"type": "Point", "coordinates": [1, 2]}}]}',
    "none.geojson": b'{"features": [{"geometry": null}]}',
    "a.zip": b"PK\x03\x04 not",
    "a.roi": b"Iout",
    "a.tif": b"II*\0 not",
    "a.png": b"",
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_one_sentence(tmp_path, pictures, name):
    for picture in ("point", "none"):
        Image.new("L", (53, 37)).save(pictures.folder / f"{picture}.png")
    (tmp_path / name).write_bytes(BROKEN[name])
    out = tmp_path / "out"
    done = cellcount(
        "labels", "convert", tmp_path / name, out, "--to", "tiff", "--pictures", pictures.folder
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path / name}: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert not out.exists()


def test_names_of_pictures_do_not_lead_out_of_the_folder(tmp_path):
    labels = odd(0)
    out = tmp_path / "out"
    for name in ("../../x.png", "C:\\x.png", "/etc/x.png", "a/../x.png"):
        assert base_name(name) == "x.png"
    for name in ("..", "a/..", "", "a\0.png", "a\n.png", "x" * 300):
        with pytest.raises(DataError, match="name of a picture"):
            base_name(name)
    with pytest.raises(DataError, match="different names"):
        write([Labelled("x.png", labels), Labelled("X.tif", labels)], out, "tiff")
    assert not out.exists()


def test_the_command_converts_and_says_what(tmp_path, pictures):
    write([Labelled("a.png", odd(0)), Labelled("b.tif", odd(1))], tmp_path / "in", "tiff")
    done = cellcount("labels", "convert", tmp_path / "in", tmp_path / "v.json", "--to", "via")
    assert done.returncode == 0, done.stderr
    numbers = [len(np.unique(odd(seed))) - 1 for seed in (0, 1)]
    assert done.stdout == f"{sum(numbers)} objects of 2 pictures: {tmp_path / 'v.json'}\n"
    done = cellcount("labels", "convert", tmp_path / "v.json", tmp_path / "t", "--to", "cellpose")
    assert done.stdout.endswith(f"2 files in {tmp_path / 't'}\n")
    (first, _) = read(tmp_path / "t", None, Pictures(None))
    np.testing.assert_array_equal(first.labels, in_order(odd(0)))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["in", "x.json"], "several formats are JSON"),
        (["in", "x", "--to", "viaa"], "did you mean 'via'"),
        (["in", "x"], "does not say its format"),
        (["in", "x", "--to", "tiff", "--pictures", "nowhere"], "expected a folder of pictures"),
        (["nowhere.tif", "x", "--to", "tiff"], "expected an image file, found nothing"),
        (["nowhere.json", "x", "--to", "tiff"], "cannot be read"),
        (["mixed", "x", "--to", "tiff"], "expected files of one format"),
        (["empty", "x", "--to", "tiff"], "found none in the folder"),
        (["mixed", "x", "--from", "geojson", "--to", "tiff"], "--pictures FOLDER"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, monkeypatch, given, says):
    monkeypatch.chdir(tmp_path)
    labelled = [Labelled("a.png", odd(0))]
    for folder in ("in", "mixed", "empty"):
        (tmp_path / folder).mkdir()
    write(labelled, tmp_path / "in" / "a.tif", "tiff")
    write(labelled, tmp_path / "mixed" / "a.tif", "tiff")
    write(labelled, tmp_path / "mixed" / "a.geojson", "geojson")
    done = cellcount("labels", "convert", *given)
    assert done.returncode == 1
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_formats_whose_files_are_asked_for_by_name(tmp_path, pictures):
    with pytest.raises(InputError, match="Known: tiff, via"):
        read(tmp_path, "vvv", pictures)
    with pytest.raises(CellcountError, match="found none of that name"):
        pictures.shape("c.png")
