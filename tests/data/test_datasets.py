"""Every dataset through its own layout, with the traps that the real archives hold."""

import hashlib
import io
import json
import os
import pickle
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from cellcount_lib.data import manifest as manifests
from cellcount_lib.data.datasets import load
from cellcount_lib.data.download import download
from cellcount_lib.data.images import to_uint8, write_labels, write_png
from cellcount_lib.data.sample import Sample
from cellcount_lib.data.scaling import rescale, resize_image, resize_labels
from cellcount_lib.data.splits import seeded_split, shuffled
from cellcount_lib.errors import DataError, InputError
from tests.data import archives

SILENT = {"say": lambda line: None}


@pytest.fixture
def unpack(tmp_path, monkeypatch):
    """Put archives of a test into a mirror, download the dataset from there, return the root."""

    def run(name: str, made: dict[str, bytes], **changes) -> Path:
        own, mirror, root = (tmp_path / n for n in ("own", "mirror", "root"))
        own.mkdir(exist_ok=True)
        (mirror / name).mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv("CELLCOUNT_MANIFESTS", str(own))
        archives.own_manifest(own, name, made, **changes)
        for file, content in made.items():
            (mirror / name / file).write_bytes(content)
        download(name, root=root, mirror=mirror, **SILENT)
        return root

    return run


# --- simulated ---------------------------------------------------------------------------------


def test_simulated_is_what_the_simulator_draws():
    from cellcount_lib.data.simulate import simulate

    test = load("simulated", split="test")
    drawn = simulate(int(test.names[0]), seed=0, style="fnc-yellow")
    sample = test[0]
    np.testing.assert_array_equal(sample.image, drawn.image)
    np.testing.assert_array_equal(sample.labels, drawn.labels)
    assert sample.meta["name"] == test.names[0]
    assert (sample.meta["dataset"], sample.meta["split"]) == ("simulated", "test")
    assert sample.meta["labelling"] == drawn.meta["labelling"]


def test_simulated_split_has_the_sizes_of_the_study_and_mixes_the_labelling():
    names = {s: load("simulated", split=s).names for s in ("train", "val", "test")}
    assert {s: len(n) for s, n in names.items()} == {"train": 150, "val": 63, "test": 70}
    assert sorted(n for listed in names.values() for n in listed) == load("simulated").names
    # the last 31 indices are labelled by hand; in proportion to 150 : 63 : 70
    by_hand = {s: sum(int(n) >= 252 for n in listed) for s, listed in names.items()}
    assert by_hand == {"train": 16, "val": 7, "test": 8}
    assert load("simulated").names == [f"{i:04d}" for i in range(283)]
    assert len(load("simulated", split="trainval")) == 213


def test_simulated_styles_are_datasets_too():
    cells = load("simulated:simcep", split="test")
    assert cells[0].image.shape == (128, 128, 3)
    assert cells[0].meta["dataset"] == "simulated:simcep"
    assert cells.fingerprint != load("simulated", split="test").fingerprint
    with pytest.raises(InputError, match="did you mean 'simcep'"):
        load("simulated:simcap")


# --- splits and the sequence -------------------------------------------------------------------


def test_shuffled_is_the_order_of_sha256_and_stays_when_an_image_is_added():
    names = [f"n{i}" for i in range(50)]
    expected = sorted(names, key=lambda n: hashlib.sha256(b"7/" + n.encode()).hexdigest())
    assert shuffled(names, seed=7) == expected
    more = [n for n in shuffled([*names, "new"], seed=7) if n != "new"]
    assert more == expected
    assert shuffled(names, seed=8) != expected


def test_more_than_there_is_cannot_be_split():
    with pytest.raises(InputError, match=r"at most 3 images together, found 2 \+ 2"):
        seeded_split(["a", "b", "c"], seed=0, val=2, test=2)


def test_a_dataset_is_a_sequence(samples_dir):
    data = load(f"folder:{samples_dir / 'bbbc038_fluo'}", split="val")
    assert len(data) == len(data.names) == 37
    assert isinstance(data[0], Sample)
    assert data[-1].meta["name"] == data.names[-1]
    part = data[2:8:3]
    assert part.names == data.names[2:8:3]
    assert [s.meta["name"] for s in part] == part.names
    with pytest.raises(IndexError, match="37 samples"):
        data[37]
    again = pickle.loads(pickle.dumps(part))
    np.testing.assert_array_equal(again[0].image, part[0].image)


@pytest.mark.parametrize("split", ["training", "", "tests"])
def test_unknown_split_names_the_known_ones(split):
    with pytest.raises(InputError, match="Known: train, val, trainval, test, all"):
        load("simulated", split=split)


def test_unknown_dataset_suggests_the_nearest():
    with pytest.raises(InputError, match="did you mean 'bbbc038'"):
        load("bbc038")
    with pytest.raises(InputError, match="only simulated:STYLE and folder:PATH"):
        load("fnc-v1:red")


def test_what_is_not_downloaded_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLCOUNT_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"get it with: cellcount download fnc-v1$"):
        load("fnc-v1")
    with pytest.raises(DataError, match=rf"download sbsst265 --root {tmp_path / 'other'}$"):
        load("sbsst265", root=tmp_path / "other")


# --- scale ---------------------------------------------------------------------------------------


def test_half_size_is_the_mean_of_four_pixels_and_the_nearest_label():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)
    means = image.reshape(5, 2, 6, 2, 3).mean(axis=(1, 3))
    assert np.abs(resize_image(image, (5, 6)) - means).max() <= 1
    labels = rng.integers(0, 9, (9, 12)).astype(np.int32)
    np.testing.assert_array_equal(resize_labels(labels, (3, 4)), labels[1::3, 1::3])
    np.testing.assert_array_equal(resize_labels(labels, (18, 12))[::2], labels)


def test_scale_follows_into_meta_and_vanished_objects_are_listed():
    labels = np.zeros((40, 60), np.int32)
    labels[0:20, 0:20], labels[29, 29] = 4, 9
    structures = [{"kind": "stripe", "box": (8, 16, 40, 60)}]
    meta = {"scale": 1.0, "pixel_size_um": 0.315, "structures": structures, "dots": [(12, 8)]}
    small = rescale(Sample(np.zeros((40, 60, 3), np.uint8), labels, meta), 0.25)
    assert small.image.shape == (10, 15, 3)
    assert small.meta["vanished"] == [9]
    assert set(np.unique(small.labels)) == {0, 4}
    assert (small.labels == 4).sum() == 25
    assert small.meta["scale"] == 0.25
    assert small.meta["pixel_size_um"] == pytest.approx(1.26)
    assert small.meta["structures"] == [{"kind": "stripe", "box": (2, 4, 10, 15)}]
    assert small.meta["dots"] == [(3, 2)]
    assert meta["scale"] == 1.0, "the original must not change"
    assert rescale(small, 4.0).meta["vanished"] == [9]


def test_full_scale_is_the_stored_bytes_and_wrong_scales_are_errors(samples_dir):
    folder = samples_dir / "fnc_sample" / "yellow"
    data = load(f"folder:{folder}")
    stored = np.asarray(Image.open(folder / "images" / f"{data.names[0]}.png"))
    np.testing.assert_array_equal(data[0].image, stored)
    half = load(f"folder:{folder}", scale=0.5)[0]
    assert half.image.shape == (600, 800, 3)
    assert half.count == data[0].count
    for scale in (0, -1, float("nan")):
        with pytest.raises(InputError, match="scale: expected a finite number > 0"):
            load("simulated", scale=scale)


# --- FNC v1 --------------------------------------------------------------------------------------


def test_fnc_v1(unpack):
    made, masks = archives.fnc_v1()
    root = unpack("fnc-v1", made)
    data = load("fnc-v1", root=root)
    names = sorted(masks)
    assert data.names == [n.removesuffix(".png") for n in names]
    sizes = {s: len(load("fnc-v1", root=root, split=s)) for s in ("train", "val", "test")}
    assert sizes == {"train": 150, "val": 63, "test": 70}
    tests = {f"{n}.png" for n in load("fnc-v1", root=root, split="test").names}
    assert tests == set(manifests.manifest("fnc-v1").split.test_names)
    four = [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    for number in (0, 1, 2, 251, 252, 263, 282):
        sample, mask = data[number], masks[names[number]]
        expected, count = ndimage.label(mask > 0, structure=four)
        np.testing.assert_array_equal(sample.labels, expected)
        assert sample.count == count
        assert sample.meta["number"] == number
        assert sample.meta["labelling"] == ("semi-automatic" if number < 252 else "manual")
        assert sample.meta["mask_dtype"] == ("uint8" if number < 3 else "uint16")
        assert sample.meta["mask_binary"] == (number < 263)
        assert sample.meta["pixel_size_um"] == 0.315
    assert data[0].count == 0  # an empty mask is an image without cells, not an error
    assert data[1].count == 2  # joined at a corner only
    assert data[282].count == 3  # the pixel of value 1 counts: > 0, not > 127


def without(archive: bytes, *names: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        kept = {n: opened.read(n) for n in opened.namelist() if not n.endswith(names)}
    return archives.zipped(kept)


def test_fnc_v1_with_a_missing_mask_is_refused_by_name(unpack):
    made, masks = archives.fnc_v1()
    gone = sorted(masks)[100]
    made["fluocells.zip"] = without(made["fluocells.zip"], f"masks/{gone}")
    with pytest.raises(
        DataError, match=f"images without: {gone}; labels or masks without image: n"
    ):
        unpack("fnc-v1", made)


def test_fnc_v1_with_too_few_images_or_without_a_test_image_is_refused(unpack):
    made, _ = archives.fnc_v1()
    name = manifests.manifest("fnc-v1").split.test_names[5]
    short = {"fluocells.zip": without(made["fluocells.zip"], name)}
    with pytest.raises(DataError, match="expected the 283 images of fnc-v1, found 282"):
        unpack("fnc-v1", short)
    with pytest.raises(DataError, match=f"expected the test images {name}, found no such"):
        unpack("fnc-v1", short, images=282)


# --- FNC v2 --------------------------------------------------------------------------------------


def test_fnc_v2_yellow(unpack):
    root = unpack("fnc-v2-yellow", archives.fnc_v2("yellow"), images=14)
    names = load("fnc-v2-yellow", root=root, split="test").names
    assert names == ["test-0", "test-1", "test-2", "test-3"]
    train, val = (load("fnc-v2-yellow", root=root, split=s).names for s in ("train", "val"))
    assert (len(train), len(val)) == (8, 2)
    assert all(name.startswith("trainval-") for name in train + val)
    sample = load("fnc-v2-yellow", root=root)[0]
    assert (sample.count, sample.image.shape) == (1, (12, 16, 3))
    every = load("fnc-v2-yellow", root=root).names
    assert "500" not in "".join(every), "unlabelled pictures are not samples"


def test_fnc_v2_validation_images_depend_on_the_seed_only(unpack):
    made = archives.fnc_v2("yellow", trainval=40)
    first = unpack("fnc-v2-yellow", made, images=44)
    val = load("fnc-v2-yellow", root=first, split="val").names
    fingerprint = load("fnc-v2-yellow", root=first).fingerprint
    own = Path(os.environ["CELLCOUNT_MANIFESTS"])
    archives.own_manifest(own, "fnc-v2-yellow", made, images=44, split={"seed": 1})
    again = load("fnc-v2-yellow", root=first, split="val")  # the stored index is of another seed
    assert len(again) == len(val) == 8
    assert again.names != val
    assert again.fingerprint != fingerprint


def test_fnc_v2_green_leaves_out_the_mask_without_image_and_no_other(unpack):
    made = archives.fnc_v2("green")
    root = unpack("fnc-v2-green", made, images=14)
    names = load("fnc-v2-green", root=root).names
    assert len(names) == 13
    assert "trainval-128" not in names
    shutil.rmtree(root)
    made["green.zip"] = without(made["green.zip"], "trainval/images/3.png")
    with pytest.raises(DataError, match=r"labels or masks without image: 3\.png"):
        unpack("fnc-v2-green", made, images=14)


def test_fnc_v2_red_mixes_sizes_and_knows_the_pixel_size_of_one_of_them(unpack):
    made = archives.fnc_v2("red")
    root = unpack("fnc-v2-red", made, images=14, options={"pixel_size_of": [12, 16]})
    sizes = {
        (s.image.shape[:2], s.meta.get("pixel_size_um")) for s in load("fnc-v2-red", root=root)
    }
    assert sizes == {((12, 16), 0.315), ((24, 32), None)}


# --- S-BSST265 -----------------------------------------------------------------------------------


def test_sbsst265(unpack):
    root = unpack("sbsst265", archives.sbsst265(), images=8)
    sizes = {s: len(load("sbsst265", root=root, split=s)) for s in ("train", "val", "test")}
    assert sizes == {"train": 4, "val": 1, "test": 3}
    for sample in load("sbsst265", root=root):
        assert sample.count == 3  # two that touch stay two; numbers need not be consecutive
        assert np.unique(sample.labels).tolist() == [0, 1, 2, 5]
        assert sample.meta["snr_class"] == ">=4,<40"
        assert sample.meta["magnification"] == "63x"
        assert sample.meta["channels"] in (1, 3)
    assert load("sbsst265", root=root, split="test")[0].meta["test_class"] == "NB-I"


def test_sbsst265_reads_the_published_table(samples_dir):
    from cellcount_lib.data.finding import read_table

    rows = read_table(samples_dir / "sbsst265_sample" / "image_description.csv")
    assert len(rows) == 79
    parts = [row["Train-/Testset split"] for row in rows]
    assert (parts.count("train"), parts.count("test")) == (42, 37)
    assert rows[0]["Mean FG signal"] == "83,6"
    assert rows[0]["S/N Class"] == ">=4,<40"


def test_sbsst265_without_a_row_for_an_image_is_refused(unpack):
    made = archives.sbsst265()
    with zipfile.ZipFile(io.BytesIO(made["dataset.zip"])) as opened:
        files = {n: opened.read(n) for n in opened.namelist()}
    lines = files["image_description.csv"].decode().splitlines()
    files["image_description.csv"] = "\n".join([*lines[:3], *lines[4:]]).encode()
    with pytest.raises(DataError, match="no row for Neuroblastoma_2"):
        unpack("sbsst265", {"dataset.zip": archives.zipped(files)}, images=8)


# --- BBBC038 and BBBC039 -------------------------------------------------------------------------


def test_bbbc038(unpack):
    root = unpack("bbbc038", archives.bbbc038(), images=9)
    data = load("bbbc038", root=root)
    assert data.names == [f"f{i}" for i in range(6)]  # not stained, bright-field or coloured ones
    labels = data[0].labels
    # files in the order of their names: a0 = (12, 12), b0 = (4, 4) of side 6, c0 = (2, 2) of side 4
    assert labels[13, 13] == 1
    assert labels[9, 9] == 2
    assert labels[2, 2] == 3
    assert labels[4, 4] == labels[5, 5] == 3, "the smaller nucleus keeps the overlap"
    assert [(labels == n).sum() for n in (1, 2, 3)] == [16, 36 - 4, 16]
    assert data[0].meta["overlap_px"] == 4
    assert data[0].meta["hidden_objects"] == 0
    assert data[0].meta["channels"] == 4
    assert data[0].image.max() == 200


def test_bbbc038_sample_is_all_fluorescence(samples_dir):
    from cellcount_lib.data.layouts import is_fluorescence

    images = sorted((samples_dir / "bbbc038_fluo" / "images").glob("*.png"))
    assert len(images) == 200
    assert all(is_fluorescence(path, below=128) for path in images)


def test_bbbc039(unpack):
    root = unpack("bbbc039", archives.bbbc039(), images=6)
    sizes = {s: len(load("bbbc039", root=root, split=s)) for s in ("train", "val", "test")}
    assert sizes == {"train": 2, "val": 2, "test": 2}
    sample = load("bbbc039", root=root, split="test")[0]
    assert sample.meta["name"] == "IXMtest_A04_s1_w1"
    labels = sample.labels
    assert sample.count == 3
    assert labels[2, 2] != labels[6, 2], "touching nuclei of different values are two"
    assert labels[2, 2] != labels[20, 20], "the same value elsewhere is another nucleus"
    assert labels[24, 24] == labels[25, 25], "8-connected"
    stored = np.linspace(100, 4000, 30 * 40).reshape(30, 40).astype(np.uint16)
    np.testing.assert_array_equal(sample.image[..., 1], to_uint8(stored)[0])
    assert (sample.meta["bits"], sample.image.min(), sample.image.max()) == (16, 0, 255)
    assert "percentiles" in sample.meta["intensity"]
    assert not list(root.rglob("__MACOSX")) + list(root.rglob("._*")) + list(root.rglob(".DS_*"))


def test_bbbc039_with_an_image_in_no_list_is_refused(unpack):
    made = archives.bbbc039()
    lists = {"training": "0,1", "validation": "2,3", "test": "4"}
    files = {
        f"metadata/{name}.txt": "\n".join(
            f"IXMtest_A0{i}_s1_w1.png" for i in numbers.split(",")
        ).encode()
        for name, numbers in lists.items()
    }
    with pytest.raises(DataError, match="found none for IXMtest_A05_s1_w1"):
        unpack("bbbc039", made | {"metadata.zip": archives.zipped(files)}, images=6)
    files["metadata/test.txt"] = b"IXMtest_A01_s1_w1.png\n"
    with pytest.raises(DataError, match="in one list, found again IXMtest_A01_s1_w1"):
        unpack("bbbc039", made | {"metadata.zip": archives.zipped(files)}, images=6)


# --- VGG cells -----------------------------------------------------------------------------------


def test_vgg_cells(unpack):
    root = unpack("vgg-cells", archives.vgg_cells(), images=20)
    assert load("vgg-cells", root=root, split="test").names == [
        f"{i:03d}cell" for i in range(11, 21)
    ]
    sizes = {s: len(load("vgg-cells", root=root, split=s)) for s in ("train", "val")}
    assert sizes == {"train": 8, "val": 2}
    sample = load("vgg-cells", root=root)[0]
    assert sample.count == 3, "neighbouring dots are two cells"
    assert sample.meta["dots"] == [(10, 10), (10, 11), (30, 30)]
    assert sample.meta["labelling"] == "dots"
    rows, columns = np.indices((40, 40))
    disk = (rows - 30) ** 2 + (columns - 30) ** 2 <= 16
    np.testing.assert_array_equal(sample.labels == sample.labels[30, 30], disk)
    assert sample.labels[10, 7] == sample.labels[10, 10] != sample.labels[10, 14]


def test_vgg_cells_without_dots_are_refused(unpack):
    made = archives.vgg_cells()
    made["cells.zip"] = without(made["cells.zip"], "007dots.png")
    with pytest.raises(DataError, match=r"found no 007dots\.png"):
        unpack("vgg-cells", made, images=20)


# --- folders of one's own ------------------------------------------------------------------------

EMPTY = np.zeros((20, 20, 3), np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Images a, b, c with labels, no table."""
    for sub in ("images", "labels"):
        (tmp_path / sub).mkdir()
    for number, name in enumerate("abc"):
        write_png(tmp_path / "images" / f"{name}.png", EMPTY + number)
        labels = np.zeros((20, 20), np.int32)
        labels[2:5, 2:5], labels[5:9, 2:5] = 1, 2
        write_labels(tmp_path / "labels" / f"{name}.png", labels)
    return tmp_path


def test_a_folder_needs_no_table(folder):
    data = load(f"folder:{folder}")
    assert data.names == ["a", "b", "c"]
    assert [s.image[0, 0, 0] for s in data] == [0, 1, 2]
    assert [s.count for s in data] == [2, 2, 2]
    parts = [load(f"folder:{folder}", split=s).names for s in ("train", "val", "test")]
    assert [len(p) for p in parts] == [1, 1, 1]
    assert data.manifest.images == 3


def test_masks_become_components_and_labels_win_over_masks(folder):
    (folder / "masks").mkdir()
    mask = np.zeros((20, 20), np.uint8)
    mask[1:3, 1:3] = mask[3:5, 3:5] = 255
    for name in "abc":
        Image.fromarray(mask).save(folder / "masks" / f"{name}.tif")
    assert load(f"folder:{folder}")[0].labels[3, 3] == 1
    shutil.rmtree(folder / "labels")
    sample = load(f"folder:{folder}")[0]
    assert sample.count == 2
    assert sample.meta["mask_binary"]


def test_a_table_chooses_names_splits_and_more(folder):
    (folder / "index.csv").write_text(
        "\ufeffid;image;label;split;labelling;pixel_size_um;who\r\n"
        "first;images/b.png;labels/b.png;training;manual;0.5;Ann\r\n"
        "second;images/c.png;labels/a.png;valid;;;Bob\r\n",
        encoding="utf-8",
    )
    data = load(f"folder:{folder}")
    assert data.names == ["first", "second"]
    assert [i.split for i in data.sources] == ["train", "val"]
    meta = data[0].meta
    assert (meta["labelling"], meta["pixel_size_um"]) == ("manual", 0.5)
    assert meta["row"]["who"] == "Ann"
    with pytest.raises(DataError, match="no images in split 'test'; it has train 1, val 1, test 0"):
        load(f"folder:{folder}", split="test")


def test_rows_without_split_and_trainval_rows_are_divided_by_seed(folder):
    rows = ["image,label,split", "images/a.png,labels/a.png,test"]
    for number in range(10):
        shutil.copy(folder / "images" / "a.png", folder / "images" / f"n{number}.png")
        rows.append(f"images/n{number}.png,labels/a.png,{'trainval' if number < 5 else ''}")
    (folder / "index.csv").write_text("\n".join(rows))
    part = {i.name: i.split for i in load(f"folder:{folder}").sources}
    assert part["a"] == "test"
    both, free = [part[f"n{i}"] for i in range(5)], [part[f"n{i}"] for i in range(5, 10)]
    assert sorted(both) == ["train"] * 4 + ["val"]
    assert sorted(free) == ["test", "train", "train", "train", "val"]


def test_fingerprint_depends_on_pixels_and_splits_and_not_on_the_place(folder, tmp_path_factory):
    first = load(f"folder:{folder}", split="train", scale=0.5).fingerprint
    moved = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(folder, moved)
    assert load(f"folder:{moved}").fingerprint == first
    write_png(moved / "images" / "b.png", EMPTY + 9)
    changed = load(f"folder:{moved}").fingerprint
    assert changed != first
    rows = "".join(f"images/{n}.png,labels/{n}.png,test\n" for n in "abc")
    (folder / "index.csv").write_text("image,label,split\n" + rows)
    assert load(f"folder:{folder}").fingerprint not in (first, changed)


def break_folder(how: str, folder: Path) -> None:
    if how == "image alone":
        (folder / "labels" / "b.png").unlink()
    elif how == "label alone":
        (folder / "images" / "c.png").unlink()
    elif how == "no labels":
        shutil.rmtree(folder / "labels")
    elif how == "no images":
        shutil.rmtree(folder / "images")
    elif how == "empty":
        for path in (folder / "images").iterdir():
            path.unlink()
    elif how == "same name":
        Image.fromarray(EMPTY).save(folder / "images" / "a.tif")
    elif how == "columns":
        (folder / "index.csv").write_text("picture,truth\na,b\n")
    elif how == "no such file":
        (folder / "index.csv").write_text("image,label\nimages/z.png,labels/a.png\n")
    elif how == "outside":
        (folder / "index.csv").write_text("image,label\n../a.png,labels/a.png\n")
    elif how == "no label":
        (folder / "index.csv").write_text("image,label\nimages/a.png,\n")
    elif how == "same id":
        row = "images/a.png,labels/a.png\n"
        (folder / "index.csv").write_text("image,label\n" + row + row)
    elif how == "split":
        (folder / "index.csv").write_text("image,label,split\nimages/a.png,labels/a.png,fold1\n")
    elif how == "cells":
        (folder / "index.csv").write_text("image,label\nimages/a.png,labels/a.png,x\n")
    elif how == "no rows":
        (folder / "index.csv").write_text("image,label\n")
    elif how == "encoding":
        (folder / "index.csv").write_bytes("image,label\nimages/ä.png,l\n".encode("latin-1"))
    elif how == "number":
        (folder / "index.csv").write_text(
            "image,label,pixel_size_um\nimages/a.png,labels/a.png,0.3um\n"
        )


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("image alone", r"images without: b\.png; labels or masks without image: none"),
        ("label alone", r"images without: none; labels or masks without image: c\.png"),
        ("no labels", "found neither; a dataset needs the truth"),
        ("no images", "expected images/ and labels/ .*found labels"),
        ("empty", r"expected \.png, \.jpg, .* files, found none"),
        ("same name", r"expected one file per name, found a\.png and a\.tif"),
        ("columns", "expected columns 'image' and 'label' .or 'mask'., found picture, truth"),
        ("no such file", r"names files that are not in .*images/z\.png"),
        ("outside", r"row 2: expected a path inside .*found '\.\./a\.png'"),
        ("no label", "row 2 has no path"),
        ("same id", "expected different ids, found again a"),
        ("split", "found 'fold1' for a"),
        ("cells", "row 2 has more or fewer"),
        ("no rows", "at least one row"),
        ("encoding", "expected a table in UTF-8"),
        ("number", "expected a number in 'pixel_size_um', found '0.3um' for a"),
    ],
)
def test_a_folder_that_is_not_right_is_explained(folder, how, says):
    break_folder(how, folder)
    with pytest.raises(DataError, match=says) as caught:
        load(f"folder:{folder}")
    assert str(folder) in str(caught.value)


def test_a_long_list_of_names_is_cut(folder):
    for number in range(30):
        write_png(folder / "images" / f"x{number:02d}.png", EMPTY)
    with pytest.raises(DataError, match=r"x00\.png, x01\.png.* and 25 more") as caught:
        load(f"folder:{folder}")
    assert "x07" not in str(caught.value)


def test_labels_of_another_size_are_refused_when_read(folder):
    write_labels(folder / "labels" / "b.png", np.ones((20, 19), np.int32))
    data = load(f"folder:{folder}")
    assert data[0].count == 2
    with pytest.raises(DataError, match=r"labels/b\.png.*images/b\.png, \(20, 20\).*\(20, 19\)"):
        data[1]


def test_no_such_folder(tmp_path):
    with pytest.raises(DataError, match="nowhere: expected a folder with images/"):
        load(f"folder:{tmp_path / 'nowhere'}")
    with pytest.raises(InputError, match="folder:my-data"):
        load("folder:")


def test_real_samples_load_with_the_counts_of_their_tables(samples_dir):
    """Published counts of nuclei and cells, from the tables beside the pictures."""
    nuclei = load(f"folder:{samples_dir / 'bbbc038_fluo'}")
    sizes = [len(load(f"folder:{samples_dir / 'bbbc038_fluo'}", split=s)) for s in ("train", "val")]
    assert (len(nuclei), sizes) == (200, [135, 37])
    for sample in nuclei[::20]:
        assert sample.count == int(sample.meta["row"]["n_nuclei"])
        assert sample.image.shape[:2] == (
            int(sample.meta["row"]["height"]),
            int(sample.meta["row"]["width"]),
        )
    neurons = load(f"folder:{samples_dir / 'fnc_sample'}")
    assert [s.count for s in neurons] == [4, 6, 35, 73, 53]
    assert [s.count for s in load(f"folder:{samples_dir / 'fnc_sample' / 'yellow'}")] == [4, 6, 35]
    tumour = load(f"folder:{samples_dir / 'sbsst265_sample'}")
    assert [s.count for s in tumour[:2]] == [30, 15]
    assert {s.image.shape for s in tumour} == {(1024, 1280, 3)}


def test_masks_and_labels_of_the_real_sample_agree(samples_dir, tmp_path):
    source = samples_dir / "fnc_sample" / "yellow"
    for sub in ("images", "masks"):
        (tmp_path / sub).symlink_to(source / sub)
    for ours, theirs in zip(load(f"folder:{tmp_path}"), load(f"folder:{source}"), strict=True):
        np.testing.assert_array_equal(ours.mask, theirs.mask)
        assert ours.count >= theirs.count  # theirs are 8-connected


# --- manifests -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", manifests.names())
def test_every_manifest_says_what_a_user_must_know(name):
    info = manifests.manifest(name)
    assert info.images
    assert info.licence
    assert info.split.rule
    assert info.citation
    if name != "simulated":
        assert info.homepage.startswith("https://")
        assert all(file.url.startswith("https://") for file in info.files)
        assert all(file.sha256 for file in info.files) == (name != "fnc-v1")


def test_published_facts():
    hashes = {f.name: f.sha256[:8] for f in manifests.manifest("bbbc039").files}
    assert hashes == {"images.zip": "6f30a5d4", "masks.zip": "f9e6043d", "metadata.zip": "a2c1f900"}
    names = manifests.manifest("fnc-v1").split.test_names
    assert (len(names), len(set(names))) == (70, 70)
    assert manifests.manifest("fnc-v2-red").images == 138 + 46


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"nmae": "x"}, "unknown key 'nmae'; did you mean 'name'"),
        ({"files": [{"name": "../a.zip", "url": "https://x/y"}]}, "plain file names"),
        ({"files": [{"name": "a.zip", "url": "ftp://x/y"}]}, r"an http\(s\) address"),
        ({"files": [{"name": "a.zip", "url": "https://x", "sha256": "abc"}]}, "64 lower-case"),
        ({"files": [{"name": "a.zip", "url": "https://x", "md5": "abc"}]}, "unknown key 'md5'"),
        ({"name": "other"}, "expected the name 'mine'"),
        ({"split": {"rule": "x", "val": 1.5}}, "val and test as a count or a fraction below 1"),
        ({"unpacked_mb": 0}, "unpacked_mb > 0"),
        ({"split": {}}, "rule"),
    ],
)
def test_a_wrong_manifest_is_explained(tmp_path, monkeypatch, change, says):
    good = {"name": "mine", "title": "t", "layout": "folder", "licence": "l"}
    content = good | {"split": {"rule": "x"}} | change
    (tmp_path / "mine.json").write_text(json.dumps(content))
    monkeypatch.setenv("CELLCOUNT_MANIFESTS", str(tmp_path))
    with pytest.raises(DataError, match=says):
        manifests.manifest("mine")


def test_a_manifest_that_is_not_json_and_a_folder_that_is_not_there(tmp_path, monkeypatch):
    (tmp_path / "mine.json").write_text("{")
    monkeypatch.setenv("CELLCOUNT_MANIFESTS", str(tmp_path))
    with pytest.raises(DataError, match="expected a manifest in JSON"):
        manifests.manifest("mine")
    monkeypatch.setenv("CELLCOUNT_MANIFESTS", str(tmp_path / "no"))
    with pytest.raises(DataError, match="CELLCOUNT_MANIFESTS: expected a folder"):
        manifests.names()


def test_identity_follows_data_and_not_prose(tmp_path, monkeypatch):
    info = manifests.manifest("fnc-v1")
    assert replace(info, notes=(), title="x", licence="y").identity == info.identity
    assert replace(info, split=replace(info.split, seed=1)).identity != info.identity
    assert replace(info, options={"semi_automatic": 251}).identity != info.identity


# --- joined --------------------------------------------------------------------------------------


def test_joined_datasets_are_one_with_the_splits_of_each(tmp_path):
    from tests.discs import write_dataset

    a, b = (f"folder:{write_dataset(tmp_path / n, seed=i)}" for i, n in enumerate("ab"))
    both = load(f"{a}+{b}", split="train")
    one, two = load(a, split="train"), load(b, split="train")
    assert len(both) == len(one) + len(two)
    assert both.names == [f"{a}/{n}" for n in one.names] + [f"{b}/{n}" for n in two.names]
    for index, part in ((0, one), (len(one), two)):
        np.testing.assert_array_equal(both[index].image, part[0].image)
        np.testing.assert_array_equal(both[index].labels, part[0].labels)
        assert both[index].meta["part"] == part.name
    assert both.fingerprint == load(f"{a}+{b}", split="test").fingerprint
    assert both.fingerprint not in (one.fingerprint, two.fingerprint)
    half = load(f"{a}+{b}", split="val", scale=0.5)
    assert half[0].labels.shape == (48, 56)
    mixed = load(f"simulated+{a}", split="test")
    assert len(mixed) == 70 + 2


def test_joined_names_are_checked(tmp_path):
    for wrong in ("simulated+simulated", "simulated+", "+"):
        with pytest.raises(InputError, match=r"different names joined by \+"):
            load(wrong)
    with pytest.raises(InputError, match="unknown"):
        load("simulated+fnc-v9")
    folder = tmp_path / "a+b"
    from tests.discs import write_dataset

    write_dataset(folder)
    assert len(load(f"folder:{folder}", split="train")) == 6
