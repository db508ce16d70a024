"""Files as microscopes and programs write them."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from cellcount_lib.errors import DataError, InputError
from cellcount_lib.prediction.reading import parse_channels, read_pictures


def read_planes(path, channels=None, **how):
    return read_pictures(path, channels, **how).planes


def pixel_size(path):
    return read_pictures(path).pixel_um


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def eight(rng, *shape):
    return rng.integers(0, 256, shape).astype(np.uint8)


def sixteen(rng, *shape):
    return rng.integers(0, 4096, shape).astype(np.uint16)


def one(path, channels=None):
    (plane,) = read_planes(path, channels)
    assert plane.number == 0
    assert plane.image.dtype == np.uint8
    assert plane.image.shape == (*plane.stored.shape[:2], 3)
    return plane


def percentiles(array):
    """The rule of the project, written again."""
    low, high = np.percentile(array.astype(float), [0.1, 99.9])
    return np.rint(255 * np.clip((array.astype(float) - low) / (high - low), 0, 1))


@pytest.mark.parametrize("extension", ["png", "tif", "TIFF"])
def test_eight_bit_grey_and_colour_are_kept(tmp_path, rng, extension):
    grey, colour = eight(rng, 20, 30), eight(rng, 20, 30, 3)
    for array in (grey, colour):
        path = tmp_path / f"a.{extension}"
        Image.fromarray(array).save(path)
        plane = one(path)
        expected = array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=2)
        np.testing.assert_array_equal(plane.image, expected)
        assert plane.rule == "as stored"


def test_alpha_is_dropped(tmp_path, rng):
    array = eight(rng, 20, 30, 4)
    Image.fromarray(array).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", extrasamples=["unassalpha"])
    for name in ("a.png", "a.tif"):
        np.testing.assert_array_equal(one(tmp_path / name).image, array[..., :3])


def test_jpeg_is_close(tmp_path, rng):
    y, x = np.mgrid[:40, :50]
    smooth = np.dstack([y * 4, x * 4, y + x]).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    found = one(tmp_path / "a.jpg").image.astype(int)
    assert np.abs(found - smooth).mean() < 3


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_sixteen_bits_by_percentiles(tmp_path, rng, byteorder, compression):
    array = sixteen(rng, 20, 30)
    tifffile.imwrite(tmp_path / "a.tif", array, byteorder=byteorder, compression=compression)
    plane = one(tmp_path / "a.tif")
    np.testing.assert_array_equal(plane.image[..., 0], percentiles(array))
    np.testing.assert_array_equal(plane.stored[..., 0], array)
    Image.fromarray(array).save(tmp_path / "a.png")
    np.testing.assert_array_equal(one(tmp_path / "a.png").image, plane.image)


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [(0, 1, "f4"), (-3, 5000, "f8"), (0, 2**31, "u4"), (-500, 500, "i2"), (0, 200, "f4")],
)
def test_other_numbers_by_the_same_percentiles(tmp_path, rng, low, high, dtype):
    array = rng.uniform(low, high, (40, 30)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", array)
    plane = one(tmp_path / "a.tif")
    assert np.abs(plane.image[..., 0] - percentiles(array)).max() <= 1
    np.testing.assert_array_equal(plane.stored[..., 0], array)


def test_constant_and_black_pictures(tmp_path):
    for value in (0.0, 7.5):
        tifffile.imwrite(tmp_path / "a.tif", np.full((9, 9), value, np.float32))
        assert np.ptp(one(tmp_path / "a.tif").image) == 0
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((9, 9), bool), photometric="minisblack")
    assert one(tmp_path / "b.tif").image.max() == 0


def test_a_stack_has_numbered_planes(tmp_path, rng):
    stack = sixteen(rng, 3, 20, 30)
    tifffile.imwrite(tmp_path / "pages.tif", stack, photometric="minisblack")
    tifffile.imwrite(
        tmp_path / "imagej.tif", stack[:, None], imagej=True, metadata={"axes": "ZCYX"}
    )
    for name in ("pages.tif", "imagej.tif"):
        planes = read_planes(tmp_path / name)
        assert [p.number for p in planes] == [1, 2, 3]
        for plane, page in zip(planes, stack, strict=True):
            np.testing.assert_array_equal(plane.stored[..., 0], page)


def test_rgb_stack_of_pages(tmp_path, rng):
    stack = eight(rng, 2, 20, 30, 3)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="rgb")
    planes = read_planes(tmp_path / "a.tif")
    assert len(planes) == 2
    np.testing.assert_array_equal(planes[1].image, stack[1])


@pytest.mark.parametrize("kind", ["imagej", "ome", "planar"])
def test_channels_are_chosen_by_number(tmp_path, rng, kind):
    array = sixteen(rng, 2, 20, 30)
    path = tmp_path / ("a.ome.tif" if kind == "ome" else "a.tif")
    if kind == "imagej":
        tifffile.imwrite(path, array, imagej=True, metadata={"axes": "CYX"})
    elif kind == "ome":
        tifffile.imwrite(path, array, metadata={"axes": "CYX"})
    else:
        tifffile.imwrite(path, array, photometric="minisblack", planarconfig="separate")
    with pytest.raises(DataError, match=r"found 2 channels; say which to use: --channels"):
        read_planes(path)
    np.testing.assert_array_equal(one(path, (2,)).stored[..., 0], array[1])
    mixed = one(path, (2, 1, 0))
    # black is no channel of the file, and in no mean of intensities
    np.testing.assert_array_equal(mixed.stored, np.stack([array[1], array[0]], 2))
    assert mixed.image[..., 2].max() == 0
    with pytest.raises(DataError, match="expected channel 3, the file has 2"):
        read_planes(path, (3,))


def test_a_channel_of_an_rgb_picture(tmp_path, rng):
    array = eight(rng, 20, 30, 3)
    Image.fromarray(array).save(tmp_path / "a.png")
    plane = one(tmp_path / "a.png", (2,))
    np.testing.assert_array_equal(plane.image, np.repeat(array[..., 1:2], 3, axis=2))


def test_time_and_depth_and_channels(tmp_path, rng):
    array = eight(rng, 2, 3, 2, 10, 12)
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, metadata={"axes": "TZCYX"})
    planes = read_planes(tmp_path / "a.tif", (1,))
    assert len(planes) == 6
    np.testing.assert_array_equal(planes[4].stored[..., 0], array[1, 1, 0])


def test_palettes_and_lzw(tmp_path, rng):
    colours = Image.fromarray(eight(rng, 20, 30, 3)).quantize(16)
    expected = np.asarray(colours.convert("RGB"))
    for name in ("a.png", "a.tif"):
        colours.save(tmp_path / name)
        np.testing.assert_array_equal(one(tmp_path / name).image, expected)
    pages = [Image.fromarray(eight(rng, 20, 30)) for _ in range(3)]
    pages[0].save(
        tmp_path / "lzw.tif", save_all=True, append_images=pages[1:], compression="tiff_lzw"
    )
    planes = read_planes(tmp_path / "lzw.tif")
    np.testing.assert_array_equal(planes[2].stored[..., 0], np.asarray(pages[2]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"II*\0garbage", "truncated or damaged|PNG, JPEG or TIFF"),
        (b"\x89PNG\r\n\x1a\n", "truncated or damaged|PNG, JPEG or TIFF"),
        (b"hello world", "truncated or damaged|PNG, JPEG or TIFF"),
    ],
)
@pytest.mark.parametrize("extension", ["png", "tif", "jpg"])
def test_broken_files_are_explained(tmp_path, content, message, extension):
    path = tmp_path / f"a.{extension}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_planes(path)


def test_half_a_file_and_nan(tmp_path, rng):
    Image.fromarray(eight(rng, 200, 300, 3)).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", sixteen(rng, 200, 300))
    for name in ("a.png", "a.tif"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:9000])
        with pytest.raises(DataError, match=r"a\.(png|tif)"):
            read_planes(path)
    tifffile.imwrite(tmp_path / "nan.tif", np.full((9, 9), np.nan, np.float32))
    with pytest.raises(DataError, match="NaN"):
        read_planes(tmp_path / "nan.tif")


# --- pixel size ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.325}}, 0.325),
        ({"ome": True, "metadata": {"PhysicalSizeX": 325, "PhysicalSizeXUnit": "nm"}}, 0.325),
        ({"ome": True}, None),
        ({"imagej": True, "resolution": (2, 2), "metadata": {"unit": "um"}}, 0.5),
        ({"imagej": True, "resolution": (2, 2), "metadata": {"unit": "micron"}}, 0.5),
        ({"imagej": True, "resolution": (2, 2)}, None),  # pixels per unknown
        ({"resolution": (20000, 20000), "resolutionunit": "CENTIMETER"}, 0.5),
        ({"resolution": (50800, 50800), "resolutionunit": "INCH"}, 0.5),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, None),  # a screen
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, None),  # a printer
        ({}, None),
    ],
)
def test_pixel_size_of_tiffs(tmp_path, rng, options, expected):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, eight(rng, 20, 30), **options)
    found = pixel_size(path)
    assert found == (None if expected is None else pytest.approx(expected, rel=1e-4))


def test_other_files_state_none(tmp_path, rng):
    Image.fromarray(eight(rng, 20, 30)).save(tmp_path / "a.png", dpi=(50800, 50800))
    assert pixel_size(tmp_path / "a.png") is None


# --- --channels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "a", "1,2", "0", "0,0,0", "-1", "1,2,3,4", "1.5"])
def test_channels_are_checked(text):
    with pytest.raises(InputError, match="--channels"):
        parse_channels(text)


# --- stacks --------------------------------------------------------------------------------------


def test_a_stack_is_projected_on_request_along_its_depth_only(tmp_path, rng):
    array = sixteen(rng, 2, 3, 2, 10, 12)
    for name, how in (
        ("ij.tif", {"imagej": True}),
        ("a.ome.tif", {"photometric": "minisblack"}),
    ):
        tifffile.imwrite(tmp_path / name, array, metadata={"axes": "TZCYX"}, **how)
        found = read_pictures(tmp_path / name, (2,), project="max")
        assert (len(found.planes), found.depth) == (2, 3)  # a plane of each moment
        for plane, moment in zip(found.planes, array, strict=True):
            np.testing.assert_array_equal(plane.stored[..., 0], moment[:, 1].max(axis=0))
        assert len(read_planes(tmp_path / name, (2,))) == 6
    tifffile.imwrite(tmp_path / "pages.tif", array[0, :, 0], photometric="minisblack")
    plane = one_of(read_pictures(tmp_path / "pages.tif", project="max"))
    np.testing.assert_array_equal(plane.stored[..., 0], array[0, :, 0].max(axis=0))
    Image.fromarray(eight(rng, 9, 9)).save(tmp_path / "flat.png")
    assert read_pictures(tmp_path / "flat.png", project="max").depth == 1
    with pytest.raises(InputError, match="unknown projection 'mean'"):
        read_pictures(tmp_path / "pages.tif", project="mean")


def one_of(found):
    (plane,) = found.planes
    assert plane.number == 0
    return plane


def test_every_picture_of_an_ome_tiff_is_read(tmp_path, rng):
    first, second = sixteen(rng, 20, 30), sixteen(rng, 8, 9)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        for array in (first, second):
            file.write(array, metadata={"PhysicalSizeX": 0.5}, photometric="minisblack")
    found = read_pictures(tmp_path / "a.ome.tif")
    assert ([p.number for p in found.planes], found.pixel_um) == ([1, 2], 0.5)
    for plane, array in zip(found.planes, (first, second), strict=True):
        np.testing.assert_array_equal(plane.stored[..., 0], array)
