"""ROI files of ImageJ and ZIP archives of them: one polygon per object.

ImageJ's polygons have no holes: the outline goes to each and back on the same way (`one_ring`).
"""

import io
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from roifile import ROI_TYPE, ImagejRoi

from cellcount_lib.errors import DataError
from cellcount_lib.labels.labelled import Canvas, Labelled, Pictures, reading
from cellcount_lib.labels.outlines import Ring, corner, objects, one_ring

MOST_ENTRY = 2**24  # bytes of one ROI
MOST_ENTRIES = 2**17
AREAS = (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED, ROI_TYPE.RECT, ROI_TYPE.OVAL)


def roi_zip(labels: NDArray[np.int32], *, position: int = 0) -> bytes:
    """Return the objects as the ZIP that ImageJ's ROI Manager opens.

    ``position`` is the plane of a stack.
    """
    if max(labels.shape) > 32767:
        raise DataError(
            f"ImageJ's ROI format holds coordinates up to 32767, the picture has {labels.shape}"
        )
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for label, box, mask in objects(labels):
            entry = zipfile.ZipInfo(f"{label:05d}.roi", date_time=(1980, 1, 1, 0, 0, 0))
            ring = one_ring(mask) + corner(box)
            archive.writestr(entry, _roi(ring, f"{label:05d}", position))
    return data.getvalue()


def _roi(ring: Ring, name: str, position: int) -> bytes:
    """Encode one polygon: a header of 64 bytes, coordinates, a second header, the name.

    The format is that of ImageJ's ``ij.io.RoiDecoder``, big-endian.
    """
    left, top = ring.min(axis=0)
    right, bottom = ring.max(axis=0)
    n = len(ring)
    if n > 65535:
        raise DataError(f"ImageJ's ROI format holds up to 65535 corners, object {name} has {n}")
    second = 64 + 4 * n
    header = struct.pack(">4shBBhhhhH", b"Iout", 228, 0, 0, top, left, bottom, right, n)
    header = header.ljust(56, b"\0") + struct.pack(">ii", position, second)
    corners = (ring - (left, top)).astype(">i2")
    header2 = struct.pack(">iiiiii", 0, 0, 0, 0, second + 64, len(name)).ljust(64, b"\0")
    return header + corners.T.tobytes() + header2 + name.encode("utf-16-be")


def write(pictures: Sequence[Labelled]) -> bytes:
    """Return the archive of one picture."""
    (one,) = pictures
    return roi_zip(one.labels)


def read(path: Path, pictures: Pictures) -> list[Labelled]:
    """Read areas: polygons, freehand and traced outlines, rectangles, ovals, composites of them."""
    with reading(path, "ROIs of ImageJ"):
        canvas = Canvas(pictures.shape(path.stem))
        for data in _entries(path):
            roi = ImagejRoi.frombytes(data)
            if roi.roitype not in AREAS:
                raise DataError(f"expected areas, found a {roi.roitype.name.lower()}")
            if roi.roitype == ROI_TYPE.OVAL:
                canvas.add_rings([_oval(roi)])
            else:
                canvas.add_rings([*roi.coordinates(multi=True)])
    return [canvas.labelled(path.stem)]


def _oval(roi: ImagejRoi) -> NDArray[np.float64]:
    turn = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    middle = (roi.left + roi.right) / 2, (roi.top + roi.bottom) / 2
    radii = (roi.right - roi.left) / 2, (roi.bottom - roi.top) / 2
    return np.column_stack([np.cos(turn), np.sin(turn)]) * radii + middle


def _entries(path: Path) -> list[bytes]:
    if not zipfile.is_zipfile(path):
        return [path.read_bytes()[:MOST_ENTRY]]
    with zipfile.ZipFile(path) as archive:
        entries = [e for e in archive.infolist() if e.filename.lower().endswith(".roi")]
        if len(entries) > MOST_ENTRIES or sum(e.file_size for e in entries) > 2 * MOST_ENTRY:
            raise DataError(f"expected up to {2 * MOST_ENTRY >> 20} MB of outlines, found more")
        found = []
        for entry in entries:
            with archive.open(entry) as file:
                found.append(file.read(entry.file_size))  # not more than was summed up
        return found
