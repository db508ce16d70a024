"""Small archives in the layouts of the publishers, with their traps, and manifests for them."""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from cellcount_lib.data.manifest import manifest

Files = dict[str, bytes]


def png(array: np.ndarray, mode: str | None = None) -> bytes:
    image = Image.fromarray(array)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, format="PNG")
    return buffer.getvalue()


def tif(array: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def own_manifest(folder: Path, name: str, archives: Mapping[str, bytes], **changes: Any) -> None:
    """Write the manifest of a built-in dataset again, for archives that a test made.

    ``sha256`` is set to that of the archive where the publisher states one. ``changes`` replace
    keys; those of ``split`` and ``options`` are merged.
    """
    content = json.loads(json.dumps(asdict(manifest(name))))
    names = content["split"].pop("test_names")
    if names:
        content["split"]["test_names_file"] = "names.txt"
        (folder / "names.txt").write_text("\n".join(names))
    for file in content["files"]:
        file["size"] = None
        if file["sha256"]:
            file["sha256"] = sha256(archives[file["name"]]).hexdigest()
    for key in ("split", "options"):
        content[key] |= changes.pop(key, {})
    (folder / f"{name}.json").write_text(json.dumps(content | changes))


def simple_manifest(
    folder: Path, archive: bytes, *, published: bool = True, **changes: Any
) -> None:
    """A dataset "tiny" of one archive in the folder layout."""
    content = {
        "name": "tiny",
        "title": "Two pictures",
        "layout": "folder",
        "licence": "CC0 1.0",
        "citation": "Nobody (2024)",
        "files": [
            {
                "name": "tiny.zip",
                "url": "http://127.0.0.1:9/nowhere/tiny.zip",
                "sha256": sha256(archive).hexdigest() if published else None,
            }
        ],
        "split": {"rule": "seeded", "seed": 1, "val": 0, "test": 1},
        "unpacked_mb": 5,
    }
    (folder / "tiny.json").write_text(json.dumps(content | changes))


def tiny(seed: int = 0, *, size: int = 300) -> Files:
    """Noise does not compress: with size 300 the archive has about 540 kB."""
    rng = np.random.default_rng(seed)
    files: Files = {}
    for name in ("a", "b"):
        labels = np.zeros((size, size), np.uint16)
        labels[10:20, 10:20], labels[30:50, 30:40] = 1, 2
        files[f"images/{name}.png"] = png(rng.integers(0, 256, (size, size, 3), dtype=np.uint8))
        files[f"labels/{name}.png"] = png(labels)
    return files


def fnc_v1() -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    """283 pairs of 12x16 pixels with the 70 released test names; and the masks by name.

    Masks are uint16 except the first three, empty for every fifth, and not binary for the last 20.
    """
    tests = manifest("fnc-v1").split.test_names
    names = sorted([*tests, *(f"Mar40S1C1R{i}_VLPAGr_200x_y.png" for i in range(213))])
    rng = np.random.default_rng(0)
    files: Files = {"fluocells/README.md": b"# Fluorescent Neuronal Cells"}
    masks = {}
    for number, name in enumerate(names):
        mask = np.zeros((12, 16), np.uint8 if number < 3 else np.uint16)
        if number % 5:
            mask[2:5, 2:6] = 255
            mask[5:8, 6:9] = 255  # touches the first one at a corner: two 4-connected components
        if number >= 263:
            mask[3, 3], mask[10, 1] = 7, 1  # left by an image editor; 1 is foreground too
        masks[name] = mask
        files[f"fluocells/all_images/images/{name}"] = png(
            rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        )
        files[f"fluocells/all_masks/masks/{name}"] = png(mask)
    return {"fluocells.zip": zipped(files)}, masks


def fnc_v2(colour: str, *, trainval: int = 10, test: int = 4) -> dict[str, bytes]:
    """Pairs in the published folders; green lacks image 128, red has two sizes."""
    files: Files = {}
    for part, count in (("trainval", trainval), ("test", test)):
        numbers = [*range(count - 1), 128] if part == "trainval" else range(count)
        for number in numbers:
            big = colour == "red" and number % 2
            shape = (24, 32) if big else (12, 16)
            mask = np.zeros(shape, np.uint8)
            mask[1:4, 1:4] = 255
            if not (colour == "green" and part == "trainval" and number == 128):
                files[f"{colour}/{part}/images/{number}.png"] = png(
                    np.full((*shape, 3), number % 256, np.uint8)
                )
            files[f"{colour}/{part}/ground_truths/masks/{number}.png"] = png(mask)
            files[f"{colour}/{part}/ground_truths/rle/{number}.pickle"] = b"x"
            files[f"{colour}/{part}/ground_truths/Pascal_VOC/{number}.xml"] = b"<x/>"
        files[f"{colour}/{part}/ground_truths/COCO/annotations.json"] = b"{}"
    files[f"{colour}/unlabelled/images/500.png"] = png(np.zeros((12, 16, 3), np.uint8))
    return {f"{colour}.zip": zipped(files)}


SBSST_HEADER = (
    "Image_Name;Diagnosis;Preparation;Train-/Testset split;Testset class;Magnification;Modality;"
    "Device;Software;Mean BG signal;Mean FG signal;Signal/Noise;S/N Class"
)


def sbsst265(train: int = 5, test: int = 3) -> dict[str, bytes]:
    """Grey and RGB TIFFs, label masks of several depths, a table with semicolons and commas."""
    rows, files = [SBSST_HEADER], {}
    for number in range(train + test):
        name = f"Neuroblastoma_{number}"
        part, kind = ("train", "-") if number < train else ("test", "NB-I")
        rows.append(
            f"{name};Neuroblastoma;BM cytospin;{part};{kind};63x;FM;Zeiss Axioplan II;Metafer;"
            "13,1;99,4;7,6;>=4,<40"
        )
        labels = np.zeros((20, 30), (np.uint8, np.uint16, np.int32)[number % 3])
        labels[2:6, 2:6], labels[6:9, 2:6], labels[15, 20] = (
            1,
            2,
            5,
        )  # touching, and a gap in numbers
        grey = np.full((20, 30), 40 + number, np.uint8)
        image = np.stack([0 * grey, 0 * grey, grey], axis=2) if number % 2 else grey
        files[f"rawimages/{name}.tif"] = tif(image)
        files[f"groundtruth/{name}.tif"] = tif(labels)
        files[f"groundtruth_svgs/{name}.svg"] = b"<svg/>"
        files[f"visualized_groundtruth/{name}.png"] = png(grey)
    files["image_description.csv"] = ("\r\n".join(rows) + "\r\n").encode()
    files["readme.txt"] = b"readme"
    return {"dataset.zip": zipped(files)}


def bbbc038() -> dict[str, bytes]:
    """Six fluorescence pictures, a stained tissue, a bright field and one grey on white."""
    files: Files = {}
    for number in range(6):
        grey = np.full((20, 24), 10, np.uint8)
        masks = {}
        for nucleus, (top, left) in enumerate([(2, 2), (4, 4), (12, 12)]):
            mask = np.zeros((20, 24), np.uint8)
            side = 6 if nucleus == 1 else 4
            mask[top : top + side, left : left + side] = 255
            grey[mask > 0] = 200
            masks[f"{'cba'[nucleus]}{number}"] = mask
        files |= _bbbc038_image(f"f{number}", np.stack([grey] * 3, axis=2), masks)
    white = np.full((20, 24, 3), 240, np.uint8)
    stained = white.copy()
    stained[..., 1] = 120
    dark_but_coloured = np.zeros((20, 24, 3), np.uint8)
    dark_but_coloured[5, 5] = (10, 0, 30)
    mask = np.zeros((20, 24), np.uint8)
    mask[3:6, 3:6] = 255
    for name, image in (("w", white), ("s", stained), ("d", dark_but_coloured)):
        files |= _bbbc038_image(f"{name}0", image, {"m": mask})
    return {"stage1_train.zip": zipped(files)}


def _bbbc038_image(name: str, image: np.ndarray, masks: dict[str, np.ndarray]) -> Files:
    alpha = np.full((*image.shape[:2], 1), 255, np.uint8)
    files = {f"{name}/images/{name}.png": png(np.concatenate([image, alpha], axis=2))}
    return files | {f"{name}/masks/{m}.png": png(mask) for m, mask in masks.items()}


def bbbc039(each: int = 2) -> dict[str, bytes]:
    """Three archives; lists of .png names for .tif images, and what macOS leaves in archives."""
    images: Files = {"__MACOSX/images/._x.tif": b"junk", "images/.DS_Store": b"junk"}
    masks: Files = {"__MACOSX/masks/._x.png": b"junk"}
    lists: dict[str, list[str]] = {"training": [], "validation": [], "test": []}
    number = 0
    for names in lists.values():
        for _ in range(each):
            name = f"IXMtest_A{number:02d}_s1_w1"
            image = np.linspace(100, 4000, 30 * 40).reshape(30, 40).astype(np.uint16)
            red = np.zeros((30, 40), np.uint8)
            red[2:6, 2:6], red[6:9, 2:6] = 1, 2  # two nuclei that touch
            red[20:25, 20:25] = 1  # the value 1 again, elsewhere: another nucleus
            red[25, 25] = 1  # joined at a corner
            rgba = np.dstack([red, np.zeros_like(red), np.zeros_like(red), np.full_like(red, 255)])
            images[f"images/{name}.tif"] = tif(image)
            masks[f"masks/{name}.png"] = png(rgba)
            names.append(f"{name}.png")
            number += 1
    metadata: Files = {
        f"metadata/{k}.txt": ("\n".join(v) + "\n").encode() for k, v in lists.items()
    }
    metadata["__MACOSX/metadata/._test.txt"] = b"junk"
    return {
        "images.zip": zipped(images),
        "masks.zip": zipped(masks),
        "metadata.zip": zipped(metadata),
    }


def vgg_cells(count: int = 20) -> dict[str, bytes]:
    files: Files = {}
    for number in range(1, count + 1):
        dots = np.zeros((40, 40, 3), np.uint8)
        dots[10, 10, 0] = dots[10, 11, 0] = dots[30, 30, 0] = 255  # two dots side by side
        files[f"{number:03d}cell.png"] = png(np.full((40, 40, 3), number, np.uint8))
        files[f"{number:03d}dots.png"] = png(dots)
    return {"cells.zip": zipped(files)}
