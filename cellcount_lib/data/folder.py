"""A folder of pictures with labels as a dataset: ``folder:PATH``.

Without a table::

    PATH/images/a.png   PATH/labels/a.png     one number per object, or
    PATH/images/a.png   PATH/masks/a.tif      foreground > 0; objects = 4-connected components

Files belong together if their names agree up to the extension. If there is a table,
``PATH/index.csv``, it alone says what the dataset is: columns ``image`` and ``label`` (or ``mask``)
with paths relative to PATH; optionally ``id``, ``split`` (train, val, trainval, test),
``labelling`` and ``pixel_size_um``. Other columns go to ``meta["row"]``. Images without a split are
divided by a seeded permutation: 20% test, 20% val (at least one each if there are three or more).
"""

import csv
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from cellcount_lib.data.decode import EXTENSIONS
from cellcount_lib.data.finding import image_files, pair, read_table, some
from cellcount_lib.data.images import write_labels, write_png
from cellcount_lib.data.manifest import Manifest, SplitRule
from cellcount_lib.data.simulate import simulate
from cellcount_lib.data.sources import SampleSource
from cellcount_lib.data.splits import seeded_split, spelled
from cellcount_lib.errors import DataError, InputError
from cellcount_lib.progress import watched

RULE = SplitRule(
    rule="column 'split' of index.csv; images without one by a seeded permutation",
    val=0.2,
    test=0.2,
)


def scan_folder(folder: Path, manifest: Manifest) -> list[SampleSource]:
    """List the samples of a folder dataset; an error names whatever does not fit."""
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder with images/ and labels/ or masks/")
    rows = _from_table(folder) if (folder / "index.csv").is_file() else _from_names(folder)
    names = [row["id"] for row in rows]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise DataError(
            f"{folder / 'index.csv'}: expected different ids, found again {some(twice)}"
        )
    split = _splits(folder, rows, manifest.split)
    sources = []
    for row in rows:
        kind = "labels" if row.get("label") else "mask"
        files = row["image"], (row.get("label") or row["mask"],)
        sources.append(SampleSource(row["id"], split[row["id"]], *files, kind, _meta(folder, row)))
    return sources


def _meta(folder: Path, row: dict[str, str]) -> dict[str, Any]:
    used = ("id", "image", "label", "mask", "split")
    meta: dict[str, Any] = {key: row[key] for key in ("labelling",) if row.get(key)}
    if row.get("pixel_size_um"):
        try:
            meta["pixel_size_um"] = float(row["pixel_size_um"])
        except ValueError:
            raise DataError(
                f"{folder / 'index.csv'}: expected a number in 'pixel_size_um', "
                f"found {row['pixel_size_um']!r} for {row['id']}"
            ) from None
    others = {key: value for key, value in row.items() if key not in used}
    return meta | ({"row": others} if others else {})


def _from_names(folder: Path) -> list[dict[str, str]]:
    images = folder / "images"
    if not images.is_dir():
        inside = sorted(p.name for p in folder.iterdir())
        raise DataError(
            f"{folder}: expected images/ and labels/ (or masks/), or an index.csv, "
            f"found {some(inside)}"
        )
    column = next((c for c in ("label", "mask") if (folder / f"{c}s").is_dir()), None)
    if column is None:
        raise DataError(
            f"{folder}: expected labels/ (one number per object) or masks/ (foreground > 0) beside "
            "images/, found neither; a dataset needs the truth"
        )
    files = [image_files(images), image_files(folder / f"{column}s")]
    if not files[0]:
        raise DataError(f"{images}: expected {', '.join(EXTENSIONS)} files, found none")
    return [
        {
            "id": image.stem,
            "image": image.relative_to(folder).as_posix(),
            column: truth.relative_to(folder).as_posix(),
        }
        for image, truth in pair(*files)
    ]


def _from_table(folder: Path) -> list[dict[str, str]]:
    table = folder / "index.csv"
    rows = read_table(table)
    columns = list(rows[0])
    if "image" not in columns or not {"label", "mask"} & set(columns):
        raise DataError(
            f"{table}: expected columns 'image' and 'label' (or 'mask'), "
            f"found {some(columns, most=12)}"
        )
    missing = []
    for number, row in enumerate(rows, start=2):
        truth = row.get("label") or row.get("mask")
        if not row["image"] or not truth:
            raise DataError(
                f"{table}: row {number} has no path in 'image' or in 'label' and 'mask'"
            )
        for path in (row["image"], truth):
            if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
                raise DataError(
                    f"{table}: row {number}: expected a path inside {folder}, found {path!r}"
                )
            if not (folder / path).is_file():
                missing.append(path)
        row["id"] = row.get("id") or Path(row["image"]).stem
    if missing:
        raise DataError(f"{table}: names files that are not in {folder}: {some(missing)}")
    return rows


def _splits(folder: Path, rows: list[dict[str, str]], rule: SplitRule) -> dict[str, str]:
    given = {row["id"]: spelled(row.get("split", "")) for row in rows}
    wrong = next((r for r in rows if given[r["id"]] is None), None)
    if wrong is not None:
        raise DataError(
            f"{folder / 'index.csv'}: expected train, val, trainval, test or nothing in 'split', "
            f"found {wrong['split']!r} for {wrong['id']}"
        )
    result = {name: part for name, part in given.items() if part in ("train", "val", "test")}
    both = [name for name, part in given.items() if part == "trainval"]
    free = [name for name, part in given.items() if part == ""]
    val, test = rule.val, rule.test
    return (
        result
        | seeded_split(both, seed=rule.seed, val=_some(val, both))
        | seeded_split(free, seed=rule.seed, val=_some(val, free), test=_some(test, free))
    )


def _some(part: int | float | None, names: Sequence[str]) -> int | float | None:
    """Return the part, or 1 if it is less than one of three or more names."""
    few = len(names) >= 3 and isinstance(part, float) and 0 < part * len(names) < 1
    return 1 if few else part


def write_simulated(out: Path, *, n: int, style: str, seed: int, size: tuple[int, int]) -> None:
    """Write `n` simulated samples as a folder dataset, completely or not at all."""
    if out.exists():
        raise InputError(f"{out} exists already: name a new folder, or remove it first")
    out.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        with (part / "index.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["id", "image", "label", "n_cells", "labelling", "style", "seed"])
            for index in tqdm(range(n), unit="image", disable=not watched()):
                sample = simulate(index, seed=seed, style=style, size=size)
                image, label = f"images/{index:04d}.png", f"labels/{index:04d}.png"
                write_png(part / image, sample.image)
                write_labels(part / label, sample.labels)
                labelling = sample.meta["labelling"]
                table.writerow([f"{index:04d}", image, label, sample.count, labelling, style, seed])
        part.chmod(0o755)
        os.replace(part, out)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
