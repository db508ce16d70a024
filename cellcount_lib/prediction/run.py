"""Count the cells of many files; it can be interrupted, and a broken file does not stop it.

The last result of every picture is a small JSON file. It holds the row of ``counts.csv`` and says
from which content and choices it came. A picture whose JSON file still fits is not counted again.
"""

import collections
import csv
import dataclasses
import glob
import io
import json
import re
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from cellcount_lib.errors import CellcountError, DataError, InputError, WriteError
from cellcount_lib.files import sha256_of, write_whole
from cellcount_lib.prediction.checks import reasons
from cellcount_lib.prediction.counter import counted
from cellcount_lib.prediction.models import Model
from cellcount_lib.prediction.outputs import OBJECT_COLUMNS, measure, write_outputs
from cellcount_lib.prediction.reading import READABLE, read_pictures
from cellcount_lib.prediction.sizes import AUTO, CellSize, size_of

RESULTS = 5  # version of what a JSON file holds; an older one is computed again
COLUMNS = (
    "image",
    "plane",
    "count",
    "area_px_mean",
    "area_px_median",
    "area_px_total",
    "area_um2_mean",
    "mean_intensity",
    "confidence",
    "pixel_size_um",
    "pixel_size_from",
    "cell_px",
    "cell_px_from",
    "magnified",
    "intensity",
    "threshold",
    "protocol",
    "model",
    "check",
    "status",
    "error",
)
RESULT_FOLDERS = ("overlays", "labels", "geojson", "rois")
EVERY = 5.0  # seconds between two writings of the tables


@dataclass(frozen=True)
class Counting:
    """Everything that decides the results for a given file; stored with them."""

    models: tuple[str, ...]  # names and the first digits of the SHA-256 of weights
    channels: tuple[int, ...] | None = None  # see `reading.parse_channels`
    project: str | None = None  # see `reading.read_pictures`
    pixel_size_um: float | None = None  # of all files, whatever they state
    cell_px: CellSize = AUTO
    threshold: float | None = None  # instead of the model's
    protocol: str | None = None  # instead of the model's
    formats: tuple[str, ...] = ()  # "geojson", "rois"
    precision: str = "auto"


@dataclass(frozen=True)
class Picture:
    """A file, and the name of its results."""

    path: Path
    key: str


def find_pictures(patterns: Iterable[str], *, out: Path | None = None) -> list[Picture]:
    """Find pictures: files, the pictures directly in folders, and globs; each once, sorted.

    The results of two files with the same stem get different names: with the extension, or with the
    folder. Results in the folder `out` are not taken for pictures; it may hold the pictures, but
    no folders of the names that results have.
    """
    if out is not None and not (out / "state").exists():
        for name in RESULT_FOLDERS:
            if (out / name).exists():
                raise InputError(
                    f"{out}: {name}/ in it was not written by this command, and would be written "
                    "to; choose another folder for the results"
                )
    paths: set[Path] = set()
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.is_file():
            paths.add(path)
            continue
        listed = (
            path.iterdir() if path.is_dir() else map(Path, glob.glob(str(path), recursive=True))
        )
        pictures = {p for p in listed if p.is_file() and _is_picture(p)}
        if out is not None:
            written = {(out / name).resolve() for name in RESULT_FOLDERS}
            pictures = {p for p in pictures if not written & {*p.resolve().parents}}
        if not pictures:
            kinds = ", ".join(READABLE)
            what = "a folder without any" if path.is_dir() else "nothing of that name"
            raise InputError(f"{pattern}: expected pictures ({kinds}), found {what}")
        paths |= pictures
    ordered = sorted({path.resolve(): path for path in sorted(paths, reverse=True)}.values())
    return [Picture(p, key) for p, key in zip(ordered, _keys(ordered), strict=True)]


def _is_picture(path: Path) -> bool:
    """Tell whether a file is a picture, by its name; hidden files are not."""
    return path.suffix.lower() in READABLE and not path.name.startswith(".")


PAGE = re.compile(r"(.+)_\d{4,}")  # the outputs of a page of a stack


def _keys(paths: Sequence[Path]) -> list[str]:
    """Return a name per path: the stem; if that is taken, the whole name, then with folders.

    A name that a page of another file could have (``a_0001`` beside a stack ``a``) gets a ``~``.
    """

    def forms(path: Path) -> list[str]:
        whole = "-".join(path.absolute().parts[1:])  # without the root: a name inside `out`
        return [path.stem, path.name, f"{path.parent.name}-{path.name}", whole]

    keys = [forms(path)[0] for path in paths]
    for level in range(1, 4):
        # Names that differ only in case are one file on some systems.
        often = collections.Counter(key.lower() for key in keys)
        keys = [
            forms(p)[level] if often[key.lower()] > 1 else key
            for p, key in zip(paths, keys, strict=True)
        ]
    seen: collections.Counter[str] = collections.Counter()
    for place, key in enumerate(keys):  # names that differ only in case
        seen[key.lower()] += 1
        if seen[key.lower()] > 1:
            keys[place] = f"{key}~{seen[key.lower()]}"
    pages = ((place, PAGE.fullmatch(key)) for place, key in enumerate(keys))
    for place, page in pages:
        if page and page[1].lower() in seen:
            keys[place] = f"{keys[place]}~"
    return keys


@dataclass(frozen=True)
class Totals:
    """What became of the files: planes counted, known from before, cells, to check, failed."""

    planes: int
    before: int
    cells: int
    check: int
    failed: int
    stacks: int  # files of stacks, whether projected or not
    rows: list[dict[str, Any]]  # of counts.csv


def predict_files(
    pictures: Sequence[Picture],
    models: Sequence[Model],
    counting: Counting,
    out: Path,
    *,
    jobs: int = 1,
    each: Callable[[str], None] = lambda text: None,
    advance: Callable[[], None] = lambda: None,
) -> Totals:
    """Count every file, write the results to `out`, and the tables over all of them.

    `jobs` files are worked on at once, by threads. `each` is called with the reason for every file
    that failed, `advance` after every file.
    """

    def work(picture: Picture) -> tuple[dict[str, Any], bool]:
        """Return the record of a file, and whether it was known before."""
        kept = out / "state" / f"{picture.key}.json"
        try:
            here = dataclasses.replace(counting, cell_px=size_of(counting.cell_px, picture.path))
            mark = _mark(picture.path, here)
            if record := _known(kept, mark):
                return record, True
            record = {"mark": mark, **_count(picture, models, here, out)}
            write_whole(kept, json.dumps(record))
            return record, False
        except WriteError:
            raise  # the next picture could not be written either
        except (CellcountError, MemoryError) as error:
            return {"planes": [_failed(picture, str(error) or "not enough memory")]}, False

    records: list[dict[str, Any]] = []
    before = 0
    written = time.monotonic()
    with ThreadPoolExecutor(jobs) as pool:
        for record, known in pool.map(work, pictures):
            records.append(record)
            before += len(record["planes"]) if known else 0
            for plane in record["planes"]:
                if plane["row"]["status"] == "failed":
                    each(plane["row"]["error"])
            advance()
            if time.monotonic() - written > EVERY:
                _write_tables(out, records)
                written = time.monotonic()
    _write_tables(out, records)
    rows = [plane["row"] for record in records for plane in record["planes"]]
    failed = sum(row["status"] == "failed" for row in rows)
    cells = sum(row.get("count", 0) for row in rows)
    check = sum(bool(row.get("check")) for row in rows)
    stacks = sum(record.get("depth", 1) > 1 for record in records)
    return Totals(len(rows) - failed, before, cells, check, failed, stacks, rows)


def _mark(path: Path, counting: Counting) -> dict[str, Any]:
    """Say what the results of a file depend on, as JSON values."""
    try:
        digest = sha256_of(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    about = {"version": RESULTS, "image": str(path), "sha256": digest}
    return json.loads(json.dumps(about | dataclasses.asdict(counting)))


def _known(kept: Path, mark: dict[str, Any]) -> dict[str, Any] | None:
    try:
        record = json.loads(kept.read_text())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.get("mark") == mark else None


def _count(
    picture: Picture, models: Sequence[Model], counting: Counting, out: Path
) -> dict[str, Any]:
    """Return the results of all planes of a file, and how many planes its deepest stack has."""
    read = read_pictures(picture.path, counting.channels, project=counting.project)
    size, origin = counting.pixel_size_um, "option"
    if size is None:
        size = read.pixel_um
        origin = "file" if size is not None else "unknown, assumed as in training"
    planes = []
    for plane in read.planes:
        key = picture.key if plane.number == 0 else f"{picture.key}_{plane.number:04d}"
        model, prediction, width, width_from = counted(
            plane.image,
            models,
            cell_px=None if isinstance(counting.cell_px, str) else cast(float, counting.cell_px),
            by_pixel_size=counting.pixel_size_um is not None,
            pixel_size_um=size,
            threshold=counting.threshold,
            protocol=counting.protocol,
        )
        measured = measure(plane, prediction, size)
        write_outputs(
            out, key, plane, prediction.labels, pixel_size_um=size, formats=counting.formats
        )
        row = {
            "image": f"{picture.path}#{plane.number}" if plane.number else str(picture.path),
            "plane": plane.number or "",
            **measured.summary,
            "pixel_size_um": "" if size is None else round(size, 6),
            "pixel_size_from": origin,
            "cell_px": "" if width is None else round(width, 1),
            "cell_px_from": width_from,
            "magnified": round(prediction.magnified, 4),
            "intensity": plane.rule,
            "threshold": prediction.threshold,
            "protocol": prediction.protocol,
            "model": model.name,
            "check": "; ".join(
                reasons(plane, measured.summary, cell_px=width, cutoff=prediction.threshold)
            ),
            "status": "ok",
        }
        planes.append({"key": key, "row": row, "objects": measured.objects})
    return {"planes": planes, "depth": read.depth}


def _failed(picture: Picture, error: str) -> dict[str, Any]:
    row = {"image": str(picture.path), "status": "failed", "error": error}
    return {"key": picture.key, "row": row, "objects": []}


def _write_tables(out: Path, records: Sequence[dict[str, Any]]) -> None:
    planes = [plane for record in records for plane in record["planes"]]
    write_whole(out / "counts.csv", _csv(COLUMNS, (plane["row"] for plane in planes)))
    objects = (
        {"image": plane["row"]["image"], **row} for plane in planes for row in plane["objects"]
    )
    write_whole(out / "objects.csv", _csv(("image", *OBJECT_COLUMNS), objects))


def _csv(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()
