"""Projects of the VGG Image Annotator 2, with which the pictures of the 2021 study were labelled.

A region has no holes: the outline goes to each and back on the same way (`one_ring`). VIA does not
say how large a picture is; files written here do, in the attributes of the file.
"""

import json
from collections.abc import Mapping, Sequence
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
    points,
    read_json,
    reading,
)
from cellcount_lib.labels.outlines import corner, objects, one_ring


def write(pictures: Sequence[Labelled]) -> bytes:
    """Return a project that VIA opens."""
    entries = {}
    for one in pictures:
        regions = []
        for label, box, mask in objects(one.labels):
            x, y = (one_ring(mask) + corner(box)).T.tolist()
            shape = {"name": "polygon", "all_points_x": x, "all_points_y": y}
            regions.append({"shape_attributes": shape, "region_attributes": {"cell": str(label)}})
        height, width = one.labels.shape
        entries[f"{one.name}-1"] = {
            "filename": one.name,
            "size": -1,  # of the file, in bytes: not known
            "regions": regions,
            "file_attributes": {"width": str(width), "height": str(height)},
        }
    text = {"type": "text", "description": "", "default_value": ""}
    attributes = {"region": {"cell": text}, "file": {"width": text, "height": text}}
    project = {
        "_via_settings": {"project": {"name": "cellcount"}},
        "_via_img_metadata": entries,
        "_via_attributes": attributes,
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": list(entries),
    }
    return json.dumps(project).encode()


def read(path: Path, pictures: Pictures) -> list[Labelled]:
    """Read a project, or the annotations that VIA exports as JSON."""
    with reading(path, "a project of VIA 2"):
        stored = read_json(path)
        found = []
        for entry in stored.get("_via_img_metadata", stored).values():
            name = base_name(entry["filename"])
            about = entry.get("file_attributes", {})
            stated = about.get("height"), about.get("width")
            canvas = Canvas(stated if all(stated) else pictures.shape(name))
            regions = entry["regions"]  # a list; in VIA 1 by number
            for region in regions.values() if isinstance(regions, dict) else regions:
                canvas.add_rings([_ring(region["shape_attributes"])])
            found.append(canvas.labelled(name))
    return found


def _ring(shape: Mapping[str, Any]) -> NDArray[np.float64]:
    kind = shape["name"]
    if kind in ("polygon", "polyline"):
        return points(list(zip(shape["all_points_x"], shape["all_points_y"], strict=True)))
    if kind == "rect":
        x, y, width, height = (float(shape[key]) for key in ("x", "y", "width", "height"))
        return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])
    if kind in ("circle", "ellipse"):
        radii = (shape["r"],) * 2 if kind == "circle" else (shape["rx"], shape["ry"])
        turn = np.linspace(0, 2 * np.pi, 720, endpoint=False)
        around = np.column_stack([np.cos(turn), np.sin(turn)]) * np.array(radii, float)
        angle = float(shape.get("theta", 0))
        turned = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        return np.asarray(around @ turned + (float(shape["cx"]), float(shape["cy"])))
    raise DataError(f"expected regions that are areas, found a {str(kind)[:40]}")
