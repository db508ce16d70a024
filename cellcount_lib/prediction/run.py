"""Count the cells of many files: interruptible, and a broken one stops nothing.

For every picture a small JSON file is written last of all its results. It holds the row of
``counts.csv`` and says from which file, content and settings it came; a picture whose JSON file
fits is not computed again.
"""

import csv
import dataclasses
import glob
import hashlib
import io
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellcount_lib.data.decode import EXTENSIONS
from cellcount_lib.errors import CellcountError, DataError, InputError, WriteError
from cellcount_lib.files import write_whole
from cellcount_lib.inference.model_file import TrainedModel
from cellcount_lib.inference.predict import magnified, predict
from cellcount_lib.prediction.outputs import OBJECT_COLUMNS, measure, write_outputs
from cellcount_lib.prediction.reading import Plane, pixel_size, read_planes

RESULTS = 3  # version of what a JSON file holds; an older one is computed again
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
    "magnified",
    "intensity",
    "threshold",
    "protocol",
    "model",
    "status",
    "error",
)
EVERY = 5.0  # seconds between two writings of the tables


@dataclass(frozen=True)
class Settings:
    """All that decides the results for a given file; stored with them.

    Attributes
    ----------
    model : str
        Name and the first digits of the SHA-256 of its weights.
    channels : tuple of int or None
        See `reading.parse_channels`.
    pixel_size_um, cell_px : float or None
        For all files; a pixel size goes before the one a file states.
    threshold, protocol
        In place of the model's.
    formats : tuple of str
        Of "geojson", "rois".
    precision : str
    """

    model: str
    channels: tuple[int, ...] | None = None
    pixel_size_um: float | None = None
    cell_px: float | None = None
    threshold: float | None = None
    protocol: str | None = None
    formats: tuple[str, ...] = ()
    precision: str = "auto"


@dataclass(frozen=True)
class Source:
    """A file, and the name its results go by."""

    path: Path
    key: str


def find_sources(patterns: Iterable[str], *, out: Path | None = None) -> list[Source]:
    """Find pictures: files, the pictures directly in folders, and globs; each once, sorted.

    Two files of the same stem get names that differ: with the extension, or with the folder.
    """
    found: set[Path] = set()
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.is_file():
            found.add(path)
            continue
        if path.is_dir():
            there = [p for p in path.iterdir() if p.is_file()]
        else:
            there = [Path(p) for p in glob.glob(str(path), recursive=True) if Path(p).is_file()]
        pictures = {p for p in there if _is_picture(p, out)}
        if not pictures:
            kinds = ", ".join(EXTENSIONS)
            what = "a folder without any" if path.is_dir() else "nothing of that name"
            raise InputError(f"{pattern}: expected pictures ({kinds}), found {what}")
        found |= pictures
    paths = sorted(found)
    return [Source(p, key) for p, key in zip(paths, _keys(paths), strict=True)]


PAGE = re.compile(r"(.+)_\d{4,}")  # the outputs of a page of a stack


def _is_picture(path: Path, out: Path | None) -> bool:
    if path.suffix.lower() not in EXTENSIONS or path.name.startswith("."):
        return False
    return out is None or out.resolve() not in path.resolve().parents


def _keys(paths: Sequence[Path]) -> list[str]:
    """Return a name per path: the stem; where that is taken, the whole name, then with folders.

    A name that the page of another file could have (``a_0001`` beside a stack ``a``) gets a ``~``.
    """

    def forms(path: Path) -> list[str]:
        whole = "-".join(part for part in path.absolute().parts if part != path.anchor)
        return [path.stem, path.name, f"{path.parent.name}-{path.name}", whole]

    keys = [forms(path)[0] for path in paths]
    for level in range(1, 4):
        # Names that differ only in case are one file on some systems.
        often = Counter(key.lower() for key in keys)
        keys = [
            forms(p)[level] if often[key.lower()] > 1 else key
            for p, key in zip(paths, keys, strict=True)
        ]
    seen: Counter[str] = Counter()
    for place, key in enumerate(keys):  # they differ in case alone
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
    """What became of the files: planes done now and before, cells, files that failed."""

    planes: int
    before: int
    cells: int
    failed: int


def predict_files(
    sources: Sequence[Source],
    trained: TrainedModel,
    settings: Settings,
    out: Path,
    *,
    device: str | None = None,
    each: Callable[[str], None] = lambda text: None,
    advance: Callable[[], None] = lambda: None,
) -> Totals:
    """Count every file, write the results to `out`, and the tables over all of them.

    Parameters
    ----------
    sources : sequence of Source
        As `find_sources` gives them.
    trained : TrainedModel
    settings : Settings
    out : Path
    device : str, optional
    each : callable
        Told about every file that failed.
    advance : callable
        Called after every file.

    Returns
    -------
    Totals
    """
    records: list[dict[str, Any]] = []
    before = 0
    written = time.monotonic()
    for source in sources:
        kept = out / "state" / f"{source.key}.json"
        try:
            mark = _mark(source.path, settings)
            record = _known(kept, mark)
            if record is None:
                record = {
                    "mark": mark,
                    "planes": list(_count(source, trained, settings, out, device)),
                }
                write_whole(kept, json.dumps(record))
            else:
                before += len(record["planes"])
        except WriteError:
            raise  # the next picture could not be written either
        except (CellcountError, MemoryError) as error:
            reason = str(error) or "not enough memory"
            record = {"planes": [_failed(source, reason)]}
            each(reason)
        records.append(record)
        advance()
        if time.monotonic() - written > EVERY:
            _write_tables(out, records)
            written = time.monotonic()
    _write_tables(out, records)
    rows = [plane["row"] for record in records for plane in record["planes"]]
    failed = sum(row["status"] == "failed" for row in rows)
    cells = sum(row.get("count", 0) for row in rows)
    return Totals(len(rows) - failed, before, cells, failed)


def _mark(path: Path, settings: Settings) -> dict[str, Any]:
    """Say what the results of a file depend on, as JSON values."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    about = {"version": RESULTS, "image": str(path), "sha256": digest}
    found: dict[str, Any] = json.loads(json.dumps(about | dataclasses.asdict(settings)))
    return found


def _known(kept: Path, mark: dict[str, Any]) -> dict[str, Any] | None:
    try:
        record = json.loads(kept.read_text())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.get("mark") == mark else None


def _count(
    source: Source, trained: TrainedModel, settings: Settings, out: Path, device: str | None
) -> Iterator[dict[str, Any]]:
    stated = pixel_size(source.path)
    size, origin = settings.pixel_size_um, "option"
    if size is None:
        size, origin = stated, "file" if stated is not None else "unknown, assumed as in training"
    for plane in read_planes(source.path, settings.channels):
        key = source.key if plane.number == 0 else f"{source.key}_{plane.number:04d}"
        found = predict(
            trained,
            plane.image,
            pixel_size_um=size,
            cell_px=settings.cell_px,
            threshold=settings.threshold,
            protocol=settings.protocol,
            device=device,
            precision=settings.precision,
        )
        measured = measure(plane, found, size)
        write_outputs(out, key, plane, found.labels, pixel_size_um=size, formats=settings.formats)
        ratio = magnified(trained.info, pixel_size_um=size, cell_px=settings.cell_px)
        row = {
            "image": _called(source, plane),
            "plane": plane.number or "",
            **measured.summary,
            "pixel_size_um": "" if size is None else round(size, 6),
            "pixel_size_from": origin,
            "magnified": round(ratio, 4),
            "intensity": plane.rule,
            "threshold": found.threshold,
            "protocol": found.protocol,
            "model": settings.model,
            "status": "ok",
        }
        yield {"key": key, "row": row, "objects": measured.objects}


def _called(source: Source, plane: Plane) -> str:
    return f"{source.path}#{plane.number}" if plane.number else str(source.path)


def _failed(source: Source, error: str) -> dict[str, Any]:
    row = {"image": str(source.path), "status": "failed", "error": error}
    return {"key": source.key, "row": row, "objects": []}


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
