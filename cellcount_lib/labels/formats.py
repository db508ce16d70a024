"""The formats by name, which of them a file has, and the way from one to another."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from cellcount_lib.data.decode import EXTENSIONS
from cellcount_lib.errors import DataError, InputError
from cellcount_lib.files import write_whole
from cellcount_lib.labels import cellpose, coco, geojson, imagej, labelimage, labelstudio, via
from cellcount_lib.labels.labelled import Labelled, Pictures, read_json, reading
from cellcount_lib.registry import Registry


class Format(NamedTuple):
    """How labels are read and written."""

    suffix: str  # of its files
    many: bool  # one file for many pictures
    read: Callable[[Path, Pictures], list[Labelled]]
    write: Callable[[Sequence[Labelled]], bytes]


FORMATS: Registry[Format] = Registry(
    "format of labels",
    {
        "tiff": Format(".tif", False, labelimage.read, labelimage.write),
        "via": Format(".json", True, via.read, via.write),
        "label-studio": Format(".json", True, labelstudio.read, labelstudio.write),
        "label-studio-brush": Format(".json", True, labelstudio.read, labelstudio.write_brushes),
        "coco": Format(".json", True, coco.read, coco.write),
        "coco-polygons": Format(".json", True, coco.read, coco.write_polygons),
        "cellpose": Format(cellpose.SUFFIX, False, cellpose.read, cellpose.write),
        "geojson": Format(".geojson", False, geojson.read, geojson.write),
        "imagej": Format(".zip", False, imagej.read, imagej.write),
    },
)
BY_SUFFIX = {".geojson": "geojson", ".zip": "imagej", ".roi": "imagej", ".png": "tiff"}


def recognised(path: Path) -> str:
    """Return the format of a file: by its name, of JSON by what it holds."""
    name = path.name.lower()
    if name.endswith(cellpose.SUFFIX):
        return "cellpose"
    if path.suffix.lower() in (".tif", ".tiff"):
        return "tiff"
    if path.suffix.lower() in BY_SUFFIX:
        return BY_SUFFIX[path.suffix.lower()]
    if path.suffix.lower() != ".json":
        raise InputError(
            f"{path}: its name does not say its format; say it with --from or --to: "
            + ", ".join(FORMATS)
        )
    with reading(path, "JSON"):
        stored = read_json(path)
    first = next(iter(stored), None) if isinstance(stored, list) else stored
    if not isinstance(first, dict):
        raise DataError(f"{path}: expected labels, found other JSON")
    if "annotations" in first:
        return "coco" if "images" in first else "label-studio"
    return "geojson" if {"features", "geometry"} & set(first) else "via"


def read(source: Path, name: str | None, pictures: Pictures) -> list[Labelled]:
    """Read a file, or all files of one format in a folder (which `name` says, or their names)."""
    if not source.is_dir():
        return FORMATS[name or recognised(source)].read(source, pictures)
    endings = (cellpose.SUFFIX, ".tif", ".tiff", ".json", *BY_SUFFIX)
    paths = sorted(p for p in source.iterdir() if p.name.lower().endswith(endings))
    if name is not None:
        suffixes = (FORMATS[name].suffix, *(s for s, n in BY_SUFFIX.items() if n == name))
        paths = [p for p in paths if p.name.lower().endswith(suffixes)]
    if not paths:
        raise InputError(f"{source}: expected files of labels, found none in the folder")
    formats = {name or recognised(path) for path in paths}
    if len(formats) > 1:
        raise InputError(
            f"{source}: expected files of one format, found {', '.join(sorted(formats))}; "
            "say which with --from"
        )
    (one,) = formats
    return [found for path in paths for found in FORMATS[one].read(path, pictures)]


def write(pictures: Sequence[Labelled], out: Path, name: str) -> list[Path]:
    """Write one file for all pictures, or a file for each into the folder `out`; return them.

    The file of a single picture may be `out` itself.
    """
    chosen = FORMATS[name]
    if not pictures:
        raise DataError("expected pictures with labels, found none")
    if chosen.many or (len(pictures) == 1 and out.suffix):
        write_whole(out, chosen.write(pictures))
        return [out]
    places = [out / f"{_stem(one.name)}{chosen.suffix}" for one in pictures]
    twice = sorted({p.name for p in places if [*map(_low, places)].count(_low(p)) > 1})
    if twice:
        raise DataError(f"expected pictures of different names, found again {twice[0]}")
    for place, one in zip(places, pictures, strict=True):
        write_whole(place, chosen.write([one]))
    return places


def _low(path: Path) -> str:
    return path.name.lower()


def _stem(name: str) -> str:
    return name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in EXTENSIONS else name
