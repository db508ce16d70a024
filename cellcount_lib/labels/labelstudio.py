"""Tasks of Label Studio, as it exports and imports them: polygons or brushes.

Corners are in percent of the picture. A polygon has no holes: it goes to each and back on the same
way (`one_ring`). Brushes are larger: a mask of the whole picture for every object.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cellcount_lib.labels.brush import decoded, encoded
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

IMAGE = "image"  # where a task names its picture
CELL = "Cell"


def results(one: Labelled, *, brushes: bool = False) -> list[dict[str, Any]]:
    """Return the objects of a picture as results of an annotation or a prediction."""
    height, width = one.labels.shape
    found = []
    for label, box, mask in objects(one.labels):
        kind = "brushlabels" if brushes else "polygonlabels"
        value: dict[str, Any] = {kind: [CELL]}
        if brushes:
            value |= {"format": "rle", "rle": encoded(one.labels == label)}
        else:
            ring = (one_ring(mask) + corner(box)) * (100 / width, 100 / height)
            value |= {"points": ring.tolist(), "closed": True}
        found.append(
            {
                "id": f"cell-{label}",
                "type": kind,
                "from_name": "brush" if brushes else "polygon",
                "to_name": IMAGE,
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "value": value,
            }
        )
    return found


def write(pictures: Sequence[Labelled]) -> bytes:
    """Return tasks with polygons."""
    return _write(pictures, brushes=False)


def write_brushes(pictures: Sequence[Labelled]) -> bytes:
    """Return tasks with brushes."""
    return _write(pictures, brushes=True)


def _write(pictures: Sequence[Labelled], *, brushes: bool) -> bytes:
    tasks = []
    for one in pictures:
        height, width = one.labels.shape
        about = {IMAGE: one.name, "width": width, "height": height}
        annotation = {"result": results(one, brushes=brushes)}
        tasks.append({"data": about, "annotations": [annotation]})
    return json.dumps(tasks).encode()


def read(path: Path, pictures: Pictures) -> list[Labelled]:
    """Read the last annotation of every task that has one; polygons, brushes and rectangles."""
    with reading(path, "tasks of Label Studio"):
        stored = read_json(path)
        tasks = [stored] if isinstance(stored, dict) else stored
        annotated = [task for task in tasks if _last(task) is not None]
        return [labelled(task, _last(task) or [], pictures) for task in annotated]


def _last(task: Mapping[str, Any]) -> list[Any] | None:
    kept = [a for a in task["annotations"] if not a.get("was_cancelled")]
    return kept[-1]["result"] if kept else None


def labelled(task: Mapping[str, Any], result: Sequence[Any], pictures: Pictures) -> Labelled:
    """Return the labels of a task from the results of an annotation."""
    data = task["data"]
    name = base_name(data[IMAGE])
    shapes = {(r["original_height"], r["original_width"]) for r in result if "original_width" in r}
    stated = [(data["height"], data["width"])] if {"height", "width"} <= set(data) else []
    canvas = Canvas(next(iter([*shapes, *stated]), None) or pictures.shape(name))
    height, width = canvas.labels.shape
    percent = np.array([width, height]) / 100
    for region in result:
        value = region.get("value", {})
        if region["type"] in ("polygonlabels", "polygon"):
            canvas.add_rings([points(value["points"]) * percent])
        elif region["type"] in ("brushlabels", "brush"):
            canvas.add((slice(0, height), slice(0, width)), decoded(value["rle"], (height, width)))
        elif region["type"] in ("rectanglelabels", "rectangle"):
            x, y, wide, high = (float(value[key]) for key in ("x", "y", "width", "height"))
            box = [[x, y], [x + wide, y], [x + wide, y + high], [x, y + high]]
            canvas.add_rings([points(box) * percent])
    return canvas.labelled(name)
