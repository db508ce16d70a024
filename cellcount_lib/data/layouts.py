"""Where each publisher puts images and truth: one small function per layout.

``scan(folder, manifest)`` lists the samples of an unpacked dataset. If the folder is not what the
manifest says, it raises a DataError. It runs once, when a dataset is downloaded.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cellcount_lib.data.finding import find, image_files, pair, read_table, some
from cellcount_lib.data.folder import scan_folder
from cellcount_lib.data.images import read_image
from cellcount_lib.data.manifest import Manifest
from cellcount_lib.data.sources import SampleSource
from cellcount_lib.data.splits import seeded_split, spelled
from cellcount_lib.errors import DataError, unknown_name
from cellcount_lib.registry import Registry

VERSION = 1  # of what `scan` returns; a stored index of another version is made again


def scan(folder: Path, manifest: Manifest) -> list[SampleSource]:
    """List the samples of an unpacked dataset, in a fixed order."""
    if manifest.layout not in LAYOUTS:
        raise unknown_name(f"layout of {manifest.name}", manifest.layout, LAYOUTS)
    return LAYOUTS[manifest.layout](folder, manifest)


def _expect(manifest: Manifest, folder: Path, number: int) -> None:
    if manifest.images is not None and number != manifest.images:
        raise DataError(
            f"{folder}: expected the {manifest.images} images of {manifest.name}, found {number}"
        )


def _split(names: Sequence[str], manifest: Manifest) -> dict[str, str]:
    rule = manifest.split
    return seeded_split(names, seed=rule.seed, val=rule.val, test=rule.test)


def _known(manifest: Manifest, **meta: Any) -> dict[str, Any]:
    if manifest.pixel_size_um is not None:
        meta = {"pixel_size_um": manifest.pixel_size_um, **meta}
    return meta


def _source(
    folder: Path, name: str, split: str, files: Sequence[Path], kind: str, **about: Any
) -> SampleSource:
    """Describe the sample of these files: the image, then those of the truth."""
    image, *truth = (path.relative_to(folder).as_posix() for path in files)
    return SampleSource(name, split, image, tuple(truth), kind, **about)


def fnc_v1(folder: Path, manifest: Manifest) -> list[SampleSource]:
    """``all_images/images/*.png`` and ``all_masks/masks/*.png`` of the same names.

    R21 numbers the images by their place in the sorted list of names and takes 0..251 as labelled
    semi-automatically; the test set is a list of names.
    """
    pairs = pair(
        image_files(find(folder, "all_images/images")), image_files(find(folder, "all_masks/masks"))
    )
    _expect(manifest, folder, len(pairs))
    pairs.sort(key=lambda p: p[0].name)
    tests = set(manifest.split.test_names)
    missing = sorted(tests - {image.name for image, _ in pairs})
    if missing:
        raise DataError(f"{folder}: expected the test images {some(missing)}, found no such files")
    others = [image.name for image, _ in pairs if image.name not in tests]
    part = _split(others, manifest)
    sources = []
    for number, files in enumerate(pairs):
        by = "semi-automatic" if number < manifest.options["semi_automatic"] else "manual"
        meta = _known(manifest, number=number, labelling=by)
        name, split = files[0].stem, part.get(files[0].name, "test")
        sources.append(_source(folder, name, split, files, "mask", meta=meta))
    return sources


def fnc_v2(folder: Path, manifest: Manifest) -> list[SampleSource]:
    """``<colour>/{trainval,test}/{images,ground_truths/masks}``, numbered file names.

    Masks without an image that the manifest names (green trainval/128) are left out.
    """
    without = set(manifest.options.get("without_image", []))
    pairs: dict[str, tuple[Path, Path]] = {}
    for part in ("trainval", "test"):
        images = image_files(find(folder, f"{part}/images"))
        masks = image_files(find(folder, f"{part}/ground_truths/masks"))
        here = {image.stem for image in images}
        left_out = {m for m in masks if m.stem not in here and f"{part}/{m.stem}" in without}
        paired = pair(images, [m for m in masks if m not in left_out])
        pairs |= {f"{part}-{image.stem}": (image, mask) for image, mask in paired}
    if len(pairs) + len(without) != manifest.images:
        _expect(manifest, folder, len(pairs))
    split = _split([n for n in pairs if n.startswith("trainval-")], manifest)
    size = manifest.options.get("pixel_size_of")
    sources = []
    for name, files in pairs.items():
        # Red has pictures of two microscopes; the pixel size of one of them is not known.
        meta = {} if size and _size(files[0]) != size else _known(manifest)
        sources.append(_source(folder, name, split.get(name, "test"), files, "mask", meta=meta))
    return sources


def _size(path: Path) -> list[int]:
    from PIL import Image

    try:
        with Image.open(path) as image:  # reads the header only
            return [image.height, image.width]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def sbsst265(folder: Path, manifest: Manifest) -> list[SampleSource]:
    """``rawimages/*.tif``, ``groundtruth/*.tif`` (labels), ``image_description.csv``.

    The table is separated by semicolons and uses decimal commas ("83,6"; also ">=4,<40").
    """
    raw = find(folder, "rawimages")
    pairs = {
        image.stem: (image, truth)
        for image, truth in pair(image_files(raw), image_files(find(folder, "groundtruth")))
    }
    _expect(manifest, folder, len(pairs))
    table = raw.parent / "image_description.csv"
    rows = {row.get("Image_Name", ""): row for row in read_table(table)}
    if set(rows) != set(pairs):
        raise DataError(
            f"{table}: expected one row per image, found no row for "
            f"{some(sorted(set(pairs) - set(rows)))} and no image for "
            f"{some(sorted(set(rows) - set(pairs)))}"
        )
    published = {name: spelled(rows[name].get("Train-/Testset split", "")) for name in pairs}
    wrong = [name for name, part in published.items() if part not in ("train", "test")]
    if wrong:
        raise DataError(
            f"{table}: expected train or test in column 'Train-/Testset split', "
            f"found something else for {some(wrong)}"
        )
    part = _split([n for n, p in published.items() if p == "train"], manifest)
    columns = {
        "Diagnosis": "diagnosis",
        "Preparation": "preparation",
        "Testset class": "test_class",
        "Magnification": "magnification",
        "Modality": "modality",
        "S/N Class": "snr_class",
    }
    sources = []
    for name, files in pairs.items():
        meta = {new: rows[name][old] for old, new in columns.items() if old in rows[name]}
        meta = _known(manifest, **meta)
        sources.append(_source(folder, name, part.get(name, "test"), files, "labels", meta=meta))
    return sources


def bbbc038(folder: Path, manifest: Manifest) -> list[SampleSource]:
    """``<id>/images/<id>.png`` (RGBA) and ``<id>/masks/*.png``; fluorescence pictures only."""
    images = sorted(folder.glob("*/images/*.png")) or sorted(folder.glob("*/*/images/*.png"))
    _expect(manifest, folder, len(images))
    chosen: list[list[Path]] = []
    for image in images:
        masks = image_files(image.parent.parent / "masks") if image.parent.parent.is_dir() else []
        if not masks:
            raise DataError(f"{image}: expected mask files in {image.parent.parent / 'masks'}")
        if is_fluorescence(image, below=manifest.options["background_below"]):
            chosen.append([image, *masks])
    split = _split([image.stem for image, *_ in chosen], manifest)
    return [
        _source(folder, files[0].stem, split[files[0].stem], files, "masks", meta=_known(manifest))
        for files in chosen
    ]


def is_fluorescence(path: Path, *, below: int) -> bool:
    """Tell fluorescence from stained tissue and bright field: R = G = B and a dark background."""
    import numpy as np

    image, _ = read_image(path)
    grey = bool((image == image[..., :1]).all())
    return grey and float(np.median(image[..., 0])) < below


def bbbc039(folder: Path, manifest: Manifest) -> list[SampleSource]:
    """``images/*.tif``, ``masks/*.png``, ``metadata/{training,validation,test}.txt``.

    The lists name the masks (``*.png``), not the images.
    """
    pairs = pair(image_files(find(folder, "images")), image_files(find(folder, "masks")))
    _expect(manifest, folder, len(pairs))
    lists = find(folder, "metadata")
    split: dict[str, str] = {}
    for stem, part in (("training", "train"), ("validation", "val"), ("test", "test")):
        path = lists / f"{stem}.txt"
        if not path.is_file():
            raise DataError(f"{path}: expected a list of names, found nothing")
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        stems = [Path(line).stem for line in lines if line]
        twice = sorted({s for s in stems if s in split or stems.count(s) > 1})
        if twice:
            raise DataError(f"{path}: expected every image in one list, found again {some(twice)}")
        split |= dict.fromkeys(stems, part)
    names = {image.stem for image, _ in pairs}
    if set(split) != names:
        raise DataError(
            f"{lists}: expected every image in a list, found none for "
            f"{some(sorted(names - set(split)))}, and lists name {some(sorted(set(split) - names))}"
            " without an image"
        )
    return [
        _source(folder, image.stem, split[image.stem], [image, mask], "red", meta=_known(manifest))
        for image, mask in pairs
    ]


def vgg_cells(folder: Path, manifest: Manifest) -> list[SampleSource]:
    """``NNNcell.png`` and ``NNNdots.png`` side by side."""
    images = sorted(folder.glob("*cell.png")) or sorted(folder.glob("*/*cell.png"))
    _expect(manifest, folder, len(images))
    pairs = {p.name.removesuffix("cell.png"): p for p in images}
    dots = {n: p.with_name(f"{n}dots.png") for n, p in pairs.items()}
    missing = [path.name for path in dots.values() if not path.is_file()]
    if missing:
        raise DataError(f"{folder}: expected dot annotations, found no {some(missing)}")
    half = len(pairs) // 2  # Lempitsky and Zisserman: 100 to choose from, 100 to test on
    first = _split(list(pairs)[:half], manifest)
    options = {"dot_radius": manifest.options["dot_radius"]}
    return [
        _source(folder, path.stem, first.get(n, "test"), [path, dots[n]], "dots", options=options)
        for n, path in pairs.items()
    ]


LAYOUTS: Registry[Callable[[Path, Manifest], list[SampleSource]]] = Registry(
    "layout",
    {
        "fnc-v1": fnc_v1,
        "fnc-v2": fnc_v2,
        "sbsst265": sbsst265,
        "bbbc038": bbbc038,
        "bbbc039": bbbc039,
        "vgg-cells": vgg_cells,
        "folder": scan_folder,
    },
)
