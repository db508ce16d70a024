"""What is written for one counted picture: a row, its objects, overlay, labels, outlines."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from skimage.segmentation import find_boundaries

from cellcount_lib.errors import DataError
from cellcount_lib.files import write_whole
from cellcount_lib.inference.network import Prediction
from cellcount_lib.labels.geojson import geojson
from cellcount_lib.labels.imagej import roi_zip
from cellcount_lib.plots import FOUND, brighten
from cellcount_lib.prediction.reading import Plane

MOST_OBJECTS = np.iinfo(np.uint16).max
OBJECT_COLUMNS = ("object", "x", "y", "area_px", "area_um2", "mean_intensity", "confidence")


class Counted(NamedTuple):
    """Measures of a picture and of each of its objects, ready for JSON and CSV."""

    summary: dict[str, Any]
    objects: list[dict[str, Any]]


def measure(plane: Plane, prediction: Prediction, pixel_size_um: float | None) -> Counted:
    """Measure the objects of a plane.

    Intensities are in the units of the file, averaged over the chosen channels. The confidence of
    an object is the mean of the heatmap over its pixels, that of a picture the mean over objects.
    """
    labels = prediction.labels
    n = int(labels.max())
    inside = np.flatnonzero(labels != 0)
    which = labels.ravel()[inside]
    areas = np.bincount(which, minlength=n + 1)[1:]

    def mean(values: NDArray[Any]) -> NDArray[np.float64]:
        chosen = values.ravel()[inside].astype(np.float64)
        return np.bincount(which, chosen, minlength=n + 1)[1:] / areas

    grey = plane.stored.mean(axis=2, dtype=np.float64)
    y, x = np.unravel_index(inside, labels.shape)
    columns = {
        "object": np.arange(1, n + 1),
        "x": np.bincount(which, x, minlength=n + 1)[1:] / areas,
        "y": np.bincount(which, y, minlength=n + 1)[1:] / areas,
        "area_px": areas,
        "mean_intensity": mean(grey),
    }
    if prediction.heatmap is not None:
        columns["confidence"] = mean(prediction.heatmap)
    if pixel_size_um is not None:
        columns["area_um2"] = areas * pixel_size_um**2
    objects = [
        {k: round(v.item(), 4) for k, v in zip(columns, values, strict=True)}
        for values in zip(*columns.values(), strict=True)
    ]
    summary: dict[str, Any] = {"count": n, "area_px_total": int(areas.sum())}
    if n:
        summary |= {
            "area_px_mean": round(float(areas.mean()), 2),
            "area_px_median": float(np.median(areas)),
            "mean_intensity": round(float(columns["mean_intensity"].mean()), 4),
        }
    if n and "confidence" in columns:
        summary["confidence"] = round(float(columns["confidence"].mean()), 4)
    if n and pixel_size_um is not None:
        summary["area_um2_mean"] = round(float(areas.mean() * pixel_size_um**2), 4)
    return Counted(summary, objects)


def write_outputs(
    out: Path,
    key: str,
    plane: Plane,
    labels: NDArray[np.int32],
    *,
    pixel_size_um: float | None,
    formats: Sequence[str],
) -> None:
    """Write overlay and labels of a plane, and outlines in the `formats` "geojson" and "rois"."""
    if labels.max() > MOST_OBJECTS:
        raise DataError(
            f"{key}: expected at most {MOST_OBJECTS} objects in a 16-bit label image, "
            f"found {labels.max()}; raise --threshold"
        )
    write_whole(out / "overlays" / f"{key}.png", overlay(plane.image, labels))
    write_whole(out / "labels" / f"{key}.tif", label_tiff(labels, pixel_size_um))
    if "geojson" in formats:
        write_whole(out / "geojson" / f"{key}.geojson", geojson(labels))
    if "rois" in formats:
        write_whole(out / "rois" / f"{key}.zip", roi_zip(labels, position=plane.number))


def label_tiff(labels: NDArray[np.int32], pixel_size_um: float | None) -> bytes:
    """Return labels as a compressed 16-bit TIFF, with the pixel size if it is known."""
    scale: dict[str, Any] = {}
    if pixel_size_um is not None:
        scale = {"resolution": (1e4 / pixel_size_um,) * 2, "resolutionunit": "CENTIMETER"}
    data = io.BytesIO()
    tifffile.imwrite(data, labels.astype(np.uint16), compression="zlib", software=False, **scale)
    return data.getvalue()


def overlay(image: NDArray[np.uint8], labels: NDArray[np.int32]) -> bytes:
    """Return the brightened picture with outlines and the numbers of the objects, as PNG."""
    colour = tuple(int(FOUND[i : i + 2], 16) for i in (1, 3, 5))
    width = max(1, round(max(labels.shape) / 1200))  # of lines, so that they show on a screen
    lines = find_boundaries(labels, mode="inner")
    if width > 1:
        lines = ndimage.binary_dilation(lines, np.ones((width, width)))
    shown = brighten(image)
    shown[lines] = colour
    picture = Image.fromarray(shown)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(11 * width)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            corner = (box[1].stop + width, box[0].start - width)
            stroke: dict[str, Any] = {"stroke_width": width, "stroke_fill": "black"}
            draw.text(corner, str(label), fill="white", font=font, **stroke)
    data = io.BytesIO()
    picture.save(data, format="PNG")
    return data.getvalue()
