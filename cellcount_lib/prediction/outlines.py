"""Outlines of labelled objects along the edges of their pixels, and two formats for them.

A polygon runs around the pixels, not through their centres: its area is exactly the number of
pixels, and filling it gives the object back.
"""

import io
import json
import struct
import zipfile
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cellcount_lib.data.sample import components
from cellcount_lib.errors import DataError

Ring = NDArray[np.int64]  # (n, 2): corners as (x, y), the first not repeated


def rings(mask: NDArray[np.bool_], *, diagonal: bool) -> list[Ring]:
    """Trace the boundary of a mask; on the screen, its inside is to the right of the path.

    By `ring_area`, outer rings have a positive area, holes a negative one. Where two pixels share
    only a corner, `diagonal` continues along one ring, so that an 8-connected object is one ring,
    which may touch itself; without it, rings are simple.

    Examples
    --------
    >>> [ring.tolist() for ring in rings(np.array([[True, True]]), diagonal=True)]
    [[[0, 0], [2, 0], [2, 1], [0, 1]]]
    """
    padded = np.pad(mask, 1).astype(np.int8)
    down, right = np.diff(padded, axis=0), np.diff(padded, axis=1)
    leaving: dict[tuple[int, int], list[tuple[int, int]]] = {}
    # Every edge between inside and outside, one pixel long, as (where from) -> (where to).
    for steps, table, (from_x, from_y), (x, y) in (
        (1, down, (0, 0), (1, 0)),
        (-1, down, (1, 0), (-1, 0)),
        (1, right, (0, 1), (0, -1)),
        (-1, right, (0, 0), (0, 1)),
    ):
        offset = (0, 1) if table is down else (1, 0)
        for row, column in np.argwhere(table == steps).tolist():
            start = (column - offset[1] + from_x, row - offset[0] + from_y)
            leaving.setdefault(start, []).append((x, y))
    traced = []
    while leaving:
        start = min(leaving, key=lambda corner: (corner[1], corner[0]))
        ring = _trace(leaving, start, diagonal)
        traced += [ring] if diagonal else _simple(ring)
    return traced


def _simple(ring: Ring) -> list[Ring]:
    """Cut a ring where it touches itself, as around two holes that share a corner."""
    simple: list[Ring] = []
    path: list[list[int]] = []
    for corner in ring.tolist():
        if corner in path:
            first = path.index(corner)
            simple.append(np.array(path[first:], np.int64))
            del path[first:]
        path.append(corner)
    return [*simple, np.array(path, np.int64)]


def _trace(
    leaving: dict[tuple[int, int], list[tuple[int, int]]], start: tuple[int, int], diagonal: bool
) -> Ring:
    """Follow edges from `start` until the ring closes, and use them up; return its corners."""
    at, step = start, min(leaving[start], key=lambda s: -s[0])
    corners = []
    came = (0, 0)
    while True:
        steps = leaving[at]
        if len(steps) == 2 and came != (0, 0):
            # Clockwise on the screen: a left turn crosses to the diagonal pixel.
            left = (came[1], -came[0])
            step = left if diagonal == (left in steps) else next(s for s in steps if s != left)
        elif came != (0, 0):
            step = steps[0]
        steps.remove(step)
        if not steps:
            del leaving[at]
        if step != came:
            corners.append(at)
        at, came = (at[0] + step[0], at[1] + step[1]), step
        if at == start and (not diagonal or start not in leaving):
            return np.array(corners, np.int64)


def ring_area(ring: Ring) -> float:
    """Area inside a ring: positive if it runs clockwise on the screen."""
    x, y = ring.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _objects(labels: NDArray[np.int32]) -> Iterator[tuple[int, tuple[int, int], NDArray[np.bool_]]]:
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            yield label, (box[1].start, box[0].start), labels[box] == label


def geojson(labels: NDArray[np.int32]) -> str:
    """Return the objects as a GeoJSON FeatureCollection in pixels, as QuPath reads it."""
    features = []
    for label, corner, mask in _objects(labels):
        pieces = components(mask)  # one outer ring each, the others are holes
        shapes = []
        for number in range(1, int(pieces.max()) + 1):
            polygon = sorted(rings(pieces == number, diagonal=False), key=ring_area, reverse=True)
            shapes.append([_closed(ring + corner) for ring in polygon])
        geometry = (
            {"type": "Polygon", "coordinates": shapes[0]}
            if len(shapes) == 1
            else {"type": "MultiPolygon", "coordinates": shapes}
        )
        about = {"objectType": "annotation", "name": str(label)}
        features.append({"type": "Feature", "geometry": geometry, "properties": about})
    return json.dumps({"type": "FeatureCollection", "features": features})


def _closed(ring: Ring) -> list[list[int]]:
    points: list[list[int]] = ring.tolist()
    return [*points, points[0]]


def roi_zip(labels: NDArray[np.int32], *, position: int = 0) -> bytes:
    """Return the objects as the ZIP of polygons that ImageJ's ROI Manager opens.

    ImageJ's polygons have no holes, so these are left out. ``position`` is the plane of a stack.
    """
    if max(labels.shape) > 32767:
        raise DataError(
            f"ImageJ's ROI format holds coordinates up to 32767, the picture has {labels.shape}"
        )
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for label, corner, mask in _objects(labels):
            outer = max(rings(mask, diagonal=True), key=ring_area)
            entry = zipfile.ZipInfo(f"{label:05d}.roi", date_time=(1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, _roi(outer + corner, f"{label:05d}", position))
    return data.getvalue()


def _roi(ring: Ring, name: str, position: int) -> bytes:
    """Encode one polygon: a header of 64 bytes, coordinates, a second header, the name.

    The format is that of ImageJ's ``ij.io.RoiDecoder``, big-endian.
    """
    left, top = ring.min(axis=0)
    right, bottom = ring.max(axis=0)
    n = len(ring)
    second = 64 + 4 * n
    header = struct.pack(">4shBBhhhhH", b"Iout", 228, 0, 0, top, left, bottom, right, n)
    header = header.ljust(56, b"\0") + struct.pack(">ii", position, second)
    points = (ring - (left, top)).astype(">i2")
    header2 = struct.pack(">iiiiii", 0, 0, 0, 0, second + 64, len(name)).ljust(64, b"\0")
    return header + points.T.tobytes() + header2 + name.encode("utf-16-be")
