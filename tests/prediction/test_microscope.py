"""Files of microscopes. CZI is written for real; nothing can write ND2 or LIF, so what their
readers give is played by an object that answers as their documentation says."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from cellcount_lib.errors import DataError
from cellcount_lib.prediction.models import OTSU
from cellcount_lib.prediction.reading import read_pictures
from tests.command import cellcount
from tests.discs import draw


@pytest.fixture
def stack():
    return np.random.default_rng(0).integers(0, 4000, (2, 3, 20, 30)).astype(np.uint16)  # CZYX


def write_czi(path, stack, *, um=0.325):
    from pylibCZIrw import czi

    with czi.create_czi(str(path)) as file:
        for c, depth in enumerate(stack):
            for z, plane in enumerate(depth):
                file.write(plane[..., None], plane={"C": c, "Z": z})
        file.write_metadata("a", scale_x=um * 1e-6, scale_y=um * 1e-6)


def test_czi(tmp_path, stack):
    path = tmp_path / "a.CZI"
    write_czi(path, stack)
    with pytest.raises(DataError, match="found 2 channels; say which to use"):
        read_pictures(path)
    found = read_pictures(path, (2,))
    assert (len(found.planes), found.depth) == (3, 3)
    assert found.pixel_um == pytest.approx(0.325)
    for plane, array in zip(found.planes, stack[1], strict=True):
        np.testing.assert_array_equal(plane.stored[..., 0], array)
    (flat,) = read_pictures(path, (2, 1, 0), project="max").planes
    np.testing.assert_array_equal(flat.stored[..., 0], stack[1].max(axis=0))
    np.testing.assert_array_equal(flat.stored[..., 1], stack[0].max(axis=0))


def test_scenes_and_colours_of_a_czi(tmp_path):
    from pylibCZIrw import czi

    rng = np.random.default_rng(0)
    scenes = [rng.integers(0, 255, (*size, 3)).astype(np.uint8) for size in ((20, 30), (8, 9))]
    with czi.create_czi(str(tmp_path / "a.czi")) as file:
        for number, scene in enumerate(scenes):  # the format has blue first
            file.write(scene[..., ::-1], scene=number, location=(100 * number, 0))
    found = read_pictures(tmp_path / "a.czi")
    assert [p.number for p in found.planes] == [1, 2]
    assert found.pixel_um is None
    for plane, scene in zip(found.planes, scenes, strict=True):
        np.testing.assert_array_equal(plane.image, scene)


class Played:
    """An open file; `nd2` gives sizes and array itself, `liffile` in images."""

    def __init__(self, **answers):
        self.__dict__ |= answers

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def play(monkeypatch, module, opens, played):
    made = ModuleType(module)
    setattr(made, opens, lambda path: played)
    monkeypatch.setitem(sys.modules, module, made)


def test_nd2(tmp_path, monkeypatch, stack):
    array = np.moveaxis(np.stack([stack, stack + 1]), 2, 1)  # P, Z, C, Y, X
    sizes = dict(zip("PZCYX", array.shape, strict=True))
    answers = {"sizes": sizes, "asarray": lambda: array, "nbytes": array.nbytes}
    voxel = SimpleNamespace(x=0.65, y=0.65, z=2.0)
    play(monkeypatch, "nd2", "ND2File", Played(voxel_size=lambda: voxel, **answers))
    (tmp_path / "a.nd2").write_bytes(b"x")
    found = read_pictures(tmp_path / "a.nd2", (1,), project="max")
    assert (found.pixel_um, found.depth, len(found.planes)) == (0.65, 3, 2)
    np.testing.assert_array_equal(found.planes[1].stored[..., 0], stack[0].max(axis=0) + 1)


def test_lif(tmp_path, monkeypatch, stack):
    places = {"X": np.arange(30) * 0.4e-6}
    image = SimpleNamespace(
        sizes=dict(zip("CZYX", stack.shape, strict=True)),
        asarray=lambda: stack,
        coords=places,
        nbytes=stack.nbytes,
    )
    line = SimpleNamespace(sizes={"T": 9, "X": 30}, coords={}, nbytes=270)
    play(monkeypatch, "liffile", "LifFile", Played(images=[line, image]))
    (tmp_path / "a.lif").write_bytes(b"x")
    found = read_pictures(tmp_path / "a.lif", (2,))
    assert found.pixel_um == pytest.approx(0.4)
    assert [p.number for p in found.planes] == [1, 2, 3]
    np.testing.assert_array_equal(found.planes[2].stored[..., 0], stack[1, 2])


@pytest.mark.parametrize("suffix", [".czi", ".nd2", ".lif"])
def test_damaged_files_and_missing_readers_are_one_line(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match=r"a\.\w+: cannot be read .* truncated or damaged"):
        read_pictures(path)
    for module in ("pylibCZIrw", "nd2", "liffile"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError, match=r"needs \w+: pip install 'cellcount-book\[microscopy\]'"):
        read_pictures(path)


def test_the_command_counts_them_and_says_what_it_did_with_stacks(tmp_path):
    image, truth = draw(np.random.default_rng(0), size=(150, 170), number=5, radius=14)
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    half = (truth > 2)[..., None].repeat(3, axis=2)
    grey = image[..., 0].astype(np.uint16)
    write_czi(folder / "a.czi", np.stack([grey * half[..., 0], grey * ~half[..., 0]])[None])
    Image.fromarray(image).save(folder / "b.png")
    given = ["predict", folder, "--out", out, "--model", OTSU, "--cell-size", 28]
    ended = cellcount(*given)
    assert "3 pictures, 10 cells" in ended.stdout
    assert "1 files are stacks; every plane was counted for itself" in ended.stdout
    ended = cellcount(*given, "--project", "max")
    assert "2 pictures, 10 cells" in ended.stdout
    assert "stacks" not in ended.stdout
    ended = cellcount(*given, "--project", "mean")
    assert ended.stderr.startswith("error: unknown projection 'mean'")
