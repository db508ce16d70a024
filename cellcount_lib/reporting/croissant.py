"""Croissant: a description of tables, or of a folder of labelled pictures, that programs can read.

A file of schema.org terms in JSON-LD beside the data: what the files are, their hashes, and what
every column holds. `mlcroissant` and data catalogues read it.

References
----------
Akhtar et al. (2024), "Croissant: a metadata format for ML-ready datasets", DEEM; the format 1.0,
http://mlcommons.org/croissant/1.0.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cellcount_lib.errors import DataError
from cellcount_lib.files import sha256_of
from cellcount_lib.machine import version

NAME = "croissant.json"
TERMS = (
    *("citeAs", "column", "extract", "field", "fileObject", "fileProperty", "fileSet", "includes"),
    *("isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references"),
    *("regex", "repeated", "replace", "separator", "source", "subField", "transform", "format"),
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in TERMS},
}
APACHE = "https://spdx.org/licenses/Apache-2.0"


def of_tables(results: Path) -> dict[str, Any]:
    """Describe the tables in a folder of results: every row and every picture of every profile."""
    paths = sorted(p for plan in results.glob("*/*.json") for p in _files(plan) if p.exists())
    if not paths:
        raise DataError(f"{results}: expected tables in the folders of profiles, found none")
    files = [file_object(path, results, "text/csv") for path in paths]
    records = [_record_set(path, path.relative_to(results).as_posix()) for path in paths]
    about = "Tables of the cell-counting book: NAME.csv has a row per run, NAME-images.csv one per"
    return dataset(
        "cell-counting-book-tables",
        f"{about} run and test picture. Paths are relative to results/ of the repository.",
        licence=APACHE,
        files=files,
        records=records,
    )


def _files(plan: Path) -> tuple[Path, Path]:
    return plan.with_suffix(".csv"), plan.with_name(f"{plan.stem}-images.csv")


def of_pictures(folder: Path, *, licence: str | None = None) -> dict[str, Any]:
    """Describe a folder of labelled pictures with its ``index.csv``; a drawn one says how."""
    index = folder / "index.csv"
    if not index.exists():
        raise DataError(f"{folder}: expected an index.csv there; `cellcount simulate` writes one")
    rows = list(csv.DictReader(io.StringIO(index.read_text())))
    drawn = bool(rows) and {"style", "seed"} <= set(rows[0])
    about = "Labelled pictures of cells; index.csv names the label image of every picture."
    if drawn:
        styles, seeds = (sorted({row[name] for row in rows}) for name in ("style", "seed"))
        program = f"cellcount-book {version('cellcount-book')}"
        about += f" Simulated by {program}, style {', '.join(styles)}, seed {', '.join(seeds)}."
    columns = [name for name in ("image", "label", "mask") if rows and name in rows[0]]
    pictures = [
        file_object(folder / path, folder, "image/png" if path.endswith(".png") else "image/*")
        for path in sorted({row[name] for row in rows for name in columns if row[name]})
    ]
    return dataset(
        folder.resolve().name,
        about,
        licence=licence or (APACHE if drawn else None),
        files=[file_object(index, folder, "text/csv"), *pictures],
        records=[_record_set(index, "index.csv")],
    )


def dataset(
    name: str,
    description: str,
    *,
    licence: str | None,
    files: Sequence[dict[str, Any]],
    records: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Put a description together."""
    about: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": name,
        "description": description,
        "version": version("cellcount-book"),
        "distribution": list(files),
        "recordSet": list(records),
    }
    return about | ({"license": licence} if licence else {})


def file_object(path: Path, root: Path, kind: str) -> dict[str, Any]:
    """Describe a file, by its path from the root."""
    place = path.relative_to(root).as_posix()
    return {
        "@type": "cr:FileObject",
        "@id": place,
        "name": place,
        "contentUrl": place,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": kind,
        "sha256": sha256_of(path),
    }


def _record_set(path: Path, place: str) -> dict[str, Any]:
    rows = csv.reader(io.StringIO(path.read_text()))
    header = next(rows)
    columns = dict(zip(header, zip(*rows, strict=True), strict=False))
    return {
        "@type": "cr:RecordSet",
        "@id": f"{place}#rows",
        "name": f"{place}#rows",
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{place}#{name}",
                "name": name,
                "dataType": data_type(columns.get(name, ())),
                "source": {"fileObject": {"@id": place}, "extract": {"column": name}},
            }
            for name in header
        ],
    }


def data_type(cells: Iterable[str]) -> str:
    """Return the schema.org type of a column, from its cells; an empty cell says nothing.

    Examples
    --------
    >>> data_type(["1", "-2"]), data_type(["1", "0.5", ""]), data_type(["0004", "x"])
    ('sc:Integer', 'sc:Float', 'sc:Text')
    >>> data_type(["0004", "0010"]), data_type(["", ""])
    ('sc:Text', 'sc:Text')
    """
    found = {_kind(cell) for cell in cells if cell}
    for kind in ("sc:Text", "sc:Float", "sc:Integer"):
        if kind in found:
            return kind
    return "sc:Text"


def _kind(cell: str) -> str:
    digits = cell.removeprefix("-")
    if digits.isdigit():  # 0004 is a name
        return "sc:Integer" if digits == "0" or digits[0] != "0" else "sc:Text"
    try:
        float(cell)
    except ValueError:
        return "sc:Text"
    return "sc:Float"
