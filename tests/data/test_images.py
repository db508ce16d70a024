"""Reading and writing pictures: exact values for every kind of file, and helpful errors."""

import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from cellcount_lib.data.images import (
    read_image,
    read_labels,
    read_mask,
    to_uint8,
    write_labels,
    write_png,
)
from cellcount_lib.errors import DataError, InputError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (7, 9), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (7, 9, 3), dtype=np.uint8)


def png16(path, array):
    """A 16-bit PNG written by hand from the specification; Pillow writes only grey ones."""
    height, width = array.shape[:2]
    channels = 1 if array.ndim == 2 else array.shape[2]
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


@pytest.mark.parametrize("extension", ["png", "tif", "TIFF"])
def test_grey_is_repeated_and_colour_is_kept(tmp_path, extension):
    grey, colour = tmp_path / f"grey.{extension}", tmp_path / f"colour.{extension}"
    kind = "PNG" if extension == "png" else "TIFF"
    Image.fromarray(GREY).save(grey, format=kind)
    Image.fromarray(COLOUR).save(colour, format=kind)
    image, note = read_image(grey)
    for channel in range(3):
        np.testing.assert_array_equal(image[..., channel], GREY)
    assert note == {"bits": 8, "channels": 1, "intensity": "as stored"}
    np.testing.assert_array_equal(read_image(colour)[0], COLOUR)
    assert image.flags["C_CONTIGUOUS"]


def test_jpeg_is_read(tmp_path):
    Image.fromarray(np.full((16, 16, 3), (200, 100, 0), np.uint8)).save(tmp_path / "a.jpg")
    image, _ = read_image(tmp_path / "a.jpg")
    assert np.abs(image.astype(int) - (200, 100, 0)).max() <= 3


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_dropped_and_said(tmp_path, mode):
    alpha = RNG.integers(0, 256, (7, 9), dtype=np.uint8)
    base = GREY if mode == "LA" else COLOUR
    Image.fromarray(np.dstack([base, alpha]), mode=mode).save(tmp_path / "a.png")
    image, note = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(image, np.dstack([GREY] * 3) if mode == "LA" else COLOUR)
    assert note["alpha"] == "dropped"


def test_palette_pictures_give_colours_and_palette_labels_give_indices(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [2, 2]], np.uint8), mode="P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 250])
    image.save(tmp_path / "p.png")
    assert read_image(tmp_path / "p.png")[0][1, 0].tolist() == [0, 0, 250]
    assert read_labels(tmp_path / "p.png").tolist() == [[0, 1], [2, 2]]


def test_sixteen_bits_become_eight_by_the_stated_rule():
    array = RNG.integers(0, 4096, (50, 60), dtype=np.uint16)
    values, rule = to_uint8(array)
    low, high = np.percentile(array, 0.1), np.percentile(array, 99.9)
    expected = np.clip(np.round((array.astype(float) - low) / (high - low) * 255), 0, 255)
    assert np.abs(values.astype(int) - expected).max() <= 1  # float32 against float64
    assert (values != expected).mean() < 0.01
    assert (rule["low"], rule["high"]) == (round(low, 3), round(high, 3))
    assert "0.1 and 99.9" in rule["intensity"]


def test_sixteen_bit_colours_keep_their_ratio():
    array = np.zeros((20, 20, 3), np.uint16)
    array[..., 0], array[..., 1] = np.arange(400).reshape(20, 20) * 10, 1000
    values, _ = to_uint8(array)
    assert values[..., 2].max() == 0
    assert values[0, 0, 1] == pytest.approx(255 * 1000 / 3990, abs=2)


def test_eight_bit_values_in_a_sixteen_bit_file_are_kept():
    values, rule = to_uint8(GREY.astype(np.uint16))
    np.testing.assert_array_equal(values, GREY)
    assert "kept" in rule["intensity"]


@pytest.mark.parametrize("value", [0, 300, 65535])
def test_constant_and_nearly_constant_pictures_do_not_divide_by_zero(value):
    array = np.full((100, 100), value, np.uint16)
    assert to_uint8(array)[0].max() == 0
    array[3, 3] = 1000 if value < 1000 else 0  # one pixel in 10,000 is outside both percentiles
    values, _ = to_uint8(array)
    assert {values.min(), values.max()} == {0, 255}


@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bit_colour_png_loses_nothing(tmp_path, channels):
    array = RNG.integers(0, 65536, (40, 50, channels), dtype=np.uint16)
    png16(tmp_path / "a.png", array)
    tifffile.imwrite(tmp_path / "a.tif", array[..., :3], photometric="rgb")
    from_png, note = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(from_png, read_image(tmp_path / "a.tif")[0])
    assert note["bits"] == 16
    # the low bytes count: rescaled from a narrow range, 8-bit reading would leave steps of many
    narrow = (array[..., :3] % 300 + 1000).astype(np.uint16)
    png16(tmp_path / "n.png", narrow)
    np.testing.assert_array_equal(read_image(tmp_path / "n.png")[0], to_uint8(narrow)[0])


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_compressed_tiff(tmp_path, compression, dtype):
    array = (GREY.astype(np.uint16) * (200 if dtype == np.uint16 else 1)).astype(dtype)
    Image.fromarray(array).save(tmp_path / "a.tif", compression=compression)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), array)


def test_planar_colour_tiff(tmp_path):
    planes = np.moveaxis(COLOUR, 2, 0)
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[0], COLOUR)


def test_one_pixel_wide_tiff_keeps_its_shape(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY[:, :1])
    assert read_image(tmp_path / "a.tif")[0].shape == (7, 1, 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int16, np.int32])
def test_labels_of_any_depth(tmp_path, dtype):
    labels = np.array([[0, 1, 1], [0, 0, 100]], dtype)
    tifffile.imwrite(tmp_path / "a.tif", labels)
    read = read_labels(tmp_path / "a.tif")
    assert read.dtype == np.int32
    np.testing.assert_array_equal(read, labels)


def test_labels_repeated_in_three_channels(tmp_path):
    labels = np.array([[0, 3], [9, 3]], np.uint8)
    Image.fromarray(np.dstack([labels] * 3)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), labels)


def test_mask_of_one_bit_and_coloured_mask(tmp_path):
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "bit.png")
    assert (read_mask(tmp_path / "bit.png") > 0).tolist() == [[True, False]]
    coloured = np.zeros((1, 3, 4), np.uint8)
    coloured[..., 3] = 255  # opaque everywhere: alpha is not foreground
    coloured[0, 1, 2] = 9
    Image.fromarray(coloured).save(tmp_path / "rgba.png")
    assert (read_mask(tmp_path / "rgba.png") > 0).tolist() == [[False, True, False]]


def test_written_files_read_back_the_same(tmp_path):
    labels = np.array([[0, 65535], [300, 1]], np.int32)
    write_labels(tmp_path / "l.png", labels)
    np.testing.assert_array_equal(read_labels(tmp_path / "l.png"), labels)
    write_png(tmp_path / "i.png", COLOUR)
    np.testing.assert_array_equal(read_image(tmp_path / "i.png")[0], COLOUR)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["i.png", "l.png"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    write_png(tmp_path / "i.png", COLOUR)
    before = (tmp_path / "i.png").read_bytes()

    def full(self, file, format):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space"):
        write_png(tmp_path / "i.png", COLOUR[::-1])
    assert [p.name for p in tmp_path.iterdir()] == ["i.png"]
    assert (tmp_path / "i.png").read_bytes() == before


def test_labels_that_do_not_fit_in_sixteen_bits_are_not_wrapped(tmp_path):
    with pytest.raises(InputError, match=r"65535.*found 65536"):
        write_labels(tmp_path / "l.png", np.array([[65536]], np.int32))
    with pytest.raises(InputError, match=r"\.png"):
        write_labels(tmp_path / "l.tif", np.array([[1]], np.int32))
    assert list(tmp_path.iterdir()) == []


def damaged(kind, tmp_path):
    """One file for every way in which a picture can be no picture, and what the error says."""
    path = tmp_path / f"a.{'tif' if 'tif' in kind else 'png'}"
    if kind == "missing":
        return path, "found nothing"
    if kind == "folder":
        path.mkdir()
        return path, "found a folder"
    if kind == "empty":
        path.write_bytes(b"")
        return path, "file is empty"
    if kind == "text":
        path.write_text("<html>login</html>")
        return path, "begins with b'<html>lo'"
    if kind == "text.tif":
        path.write_text("<html>login</html>")
        return path, "truncated or damaged"
    if kind == "half":
        Image.fromarray(RNG.integers(0, 256, (90, 90), dtype=np.uint8)).save(path)
    elif kind == "half.tif":
        tifffile.imwrite(path, RNG.integers(0, 256, (90, 90), dtype=np.uint8))
    elif kind == "stack.tif":
        tifffile.imwrite(path, np.zeros((5, 8, 8), np.uint8), photometric="minisblack")
        return path, "stack with axes .* project it"
    elif kind == "float.tif":
        tifffile.imwrite(path, np.full((8, 8), 0.5, np.float32))
        return path, "float32 values from 0.5 to 0.5"
    elif kind == "inverted.tif":
        tifffile.imwrite(path, GREY, photometric="miniswhite")
        return path, "inverted grey"
    elif kind == "negative.tif":
        tifffile.imwrite(path, np.array([[-4, 3]], np.int16))
        return path, "from -4 to 3"
    elif kind == "deep.tif":
        tifffile.imwrite(path, GREY.astype(np.uint32))
        return path, "8 or 16 bit, found uint32"
    elif kind == "grey16-alpha":
        png16(path, np.zeros((4, 4, 2), np.uint16))
        return path, "remove the alpha"
    elif kind == "cmyk.tif":
        Image.fromarray(np.zeros((4, 4, 4), np.uint8), mode="CMYK").save(path)
        return path, "expected grey or RGB, found separated"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path, "truncated or damaged"


KINDS = ["missing", "folder", "empty", "text", "text.tif", "half", "half.tif", "stack.tif"]
KINDS += ["float.tif", "inverted.tif", "negative.tif", "deep.tif", "grey16-alpha", "cmyk.tif"]


@pytest.mark.parametrize("kind", KINDS)
def test_bad_files_are_named_with_what_is_wrong(tmp_path, kind):
    path, says = damaged(kind, tmp_path)
    with pytest.raises(DataError, match=says) as caught:
        read_image(path)
    assert str(path) in str(caught.value)


def test_wrong_truth_is_explained(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "c.png")
    with pytest.raises(DataError, match=r"c\.png: expected a grey label image"):
        read_labels(tmp_path / "c.png")
    Image.fromarray(GREY).save(tmp_path / "m.jpg")
    for read in (read_labels, read_mask):
        with pytest.raises(DataError, match="JPEG changes pixel values"):
            read(tmp_path / "m.jpg")


@pytest.mark.parametrize("value", [1, 255])
def test_a_mask_given_as_labels_is_noticed(tmp_path, value):
    mask = np.zeros((9, 9), np.uint8)
    mask[1, 1] = mask[4, 4] = value
    Image.fromarray(mask).save(tmp_path / "a.png")
    assert read_labels(tmp_path / "a.png").max() == value  # one object in two pieces may be
    mask[7, 7] = value
    Image.fromarray(mask).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"3 separate pieces.*masks/"):
        read_labels(tmp_path / "a.png")
