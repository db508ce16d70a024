"""COCO's JSON: objects as run lengths (written here: exact, holes included) or polygons.

Run lengths go down the columns and begin with background. Compressed, each is written less the one
two before it, in groups of five bits with a sixth for "more follow" (``rleToString`` of COCO's
maskApi.c).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.errors import DataError
from cellcount_lib.labels.labelled import (
    Canvas,
    Labelled,
    Pictures,
    base_name,
    checked_shape,
    points,
    read_json,
    reading,
)
from cellcount_lib.labels.outlines import corner, objects, one_ring


def runs_of(mask: NDArray[np.bool_]) -> list[int]:
    """Return the run lengths of a mask.

    Examples
    --------
    >>> runs_of(np.array([[True, False], [True, True]]))
    [0, 2, 1, 1]
    """
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    runs: list[int] = np.diff(edges).tolist()
    return [0, *runs] if flat[0] else runs


def compressed(runs: Sequence[int]) -> str:
    """Return run lengths as COCO's text."""
    text = bytearray()
    for place, run in enumerate(runs):
        value = run - runs[place - 2] if place > 2 else run
        more = True
        while more:
            group, value = value & 31, value >> 5
            more = value != (-1 if group & 16 else 0)
            text.append(48 + group + 32 * more)
    return text.decode()


def decompressed(text: str) -> list[int]:
    """Return the run lengths of COCO's text."""
    runs: list[int] = []
    value = shift = 0
    for letter in text.encode():
        group = letter - 48
        if not 0 <= group < 64 or shift > 60:
            raise DataError(f"expected run lengths of COCO, found the letter {chr(letter)!r}")
        value |= (group & 31) << shift
        shift += 5
        if not group & 32:
            value -= (group & 16) << (shift - 4)
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise DataError("expected run lengths of COCO, found text that is cut off")
    return runs


def mask_of(runs: Sequence[int], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask of run lengths."""
    if any(run < 0 for run in runs) or sum(runs) != shape[0] * shape[1]:
        raise DataError(f"expected run lengths of {shape[0] * shape[1]} pixels, found {sum(runs)}")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(shape, order="F")


def write(pictures: Sequence[Labelled]) -> bytes:
    """Return the file of all pictures, with run lengths."""
    return _write(pictures, polygons=False)


def write_polygons(pictures: Sequence[Labelled]) -> bytes:
    """Return the file of all pictures, with polygons (`one_ring`)."""
    return _write(pictures, polygons=True)


def _write(pictures: Sequence[Labelled], *, polygons: bool) -> bytes:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image, one in enumerate(pictures, start=1):
        height, width = one.labels.shape
        images.append({"id": image, "file_name": one.name, "width": width, "height": height})
        for label, box, mask in objects(one.labels):
            x, y = corner(box)
            segmentation: Any = [(one_ring(mask) + corner(box)).ravel().tolist()]
            if not polygons:
                whole = compressed(runs_of(one.labels == label))
                segmentation = {"size": [height, width], "counts": whole}
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": 1,
                    "segmentation": segmentation,
                    "area": int(mask.sum()),
                    "bbox": [x, y, mask.shape[1], mask.shape[0]],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": 1, "name": "cell"}]
    whole_file = {"images": images, "annotations": annotations, "categories": categories}
    return json.dumps(whole_file).encode()


def read(path: Path, pictures: Pictures) -> list[Labelled]:
    """Read objects of every category; run lengths and polygons may be mixed."""
    with reading(path, "annotations of COCO"):
        stored = read_json(path)
        canvases, names = {}, {}
        for image in stored["images"]:
            canvases[image["id"]] = Canvas((image["height"], image["width"]))
            names[image["id"]] = base_name(image["file_name"])
        for annotation in stored["annotations"]:
            canvas = canvases[annotation["image_id"]]
            outline = annotation["segmentation"]
            if isinstance(outline, list):
                canvas.add_rings([points(np.reshape(ring, (-1, 2))) for ring in outline])
                continue
            shape = checked_shape(outline["size"])
            if shape != canvas.labels.shape:
                raise DataError(f"expected run lengths of {canvas.labels.shape}, found {shape}")
            runs = outline["counts"]
            if isinstance(runs, str):
                runs = decompressed(runs)
            canvas.add((slice(0, shape[0]), slice(0, shape[1])), mask_of(runs, shape))
    return [canvas.labelled(names[image]) for image, canvas in canvases.items()]
