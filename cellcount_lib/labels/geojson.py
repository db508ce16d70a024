"""GeoJSON in pixels, as QuPath writes and reads it: one feature per object, holes included."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.data.sample import components
from cellcount_lib.labels.labelled import Canvas, Labelled, Pictures, points, read_json, reading
from cellcount_lib.labels.outlines import Ring, corner, objects, ring_area, rings


def geojson(labels: NDArray[np.int32]) -> str:
    """Return the objects as a FeatureCollection."""
    features = []
    for label, box, mask in objects(labels):
        pieces = components(mask)  # one outer ring each, the others are holes
        shapes = []
        for number in range(1, int(pieces.max()) + 1):
            polygon = sorted(rings(pieces == number, diagonal=False), key=ring_area, reverse=True)
            shapes.append([_closed(ring + corner(box)) for ring in polygon])
        geometry = (
            {"type": "Polygon", "coordinates": shapes[0]}
            if len(shapes) == 1
            else {"type": "MultiPolygon", "coordinates": shapes}
        )
        about = {"objectType": "annotation", "name": str(label)}
        features.append({"type": "Feature", "geometry": geometry, "properties": about})
    return json.dumps({"type": "FeatureCollection", "features": features})


def _closed(ring: Ring) -> list[list[int]]:
    corners: list[list[int]] = ring.tolist()
    return [*corners, corners[0]]


def write(pictures: Sequence[Labelled]) -> bytes:
    """Return the file of one picture."""
    (one,) = pictures
    return geojson(one.labels).encode()


def read(path: Path, pictures: Pictures) -> list[Labelled]:
    """Read a FeatureCollection, or QuPath's list of features, of polygons."""
    with reading(path, "GeoJSON polygons"):
        stored = read_json(path)
        features = stored["features"] if isinstance(stored, dict) else stored
        canvas = Canvas(pictures.shape(path.stem))
        for feature in features:
            shape = feature["geometry"]
            polygons = shape["coordinates"]
            if shape["type"] == "Polygon":
                polygons = [polygons]
            elif shape["type"] != "MultiPolygon":
                raise ValueError(f"a {shape['type']}")
            canvas.add_rings([points(ring) for polygon in polygons for ring in polygon])
    return [canvas.labelled(path.stem)]
