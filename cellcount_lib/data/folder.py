"""A folder of your own pictures as a dataset: ``folder:PATH``.

Without a table::

    PATH/images/a.png   PATH/labels/a.png     one number per object, or
    PATH/images/a.png   PATH/masks/a.tif      foreground > 0; objects = 4-connected components

Files belong together when their names agree up to the extension. With a table, ``PATH/index.csv``,
it alone says what the dataset is: columns ``image`` and ``label`` (or ``mask``), paths relative to
PATH; optional ``id``, ``split`` (train, val, trainval, test), ``labelling`` and ``pixel_size_um``.
Other columns go to ``meta["row"]``. Images without a split are divided by a seeded permutation:
20% test, 20% val (at least one each from three images on).
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from cellcount_lib.data.decode import EXTENSIONS
from cellcount_lib.data.finding import image_files, pair, read_table, some
from cellcount_lib.data.manifest import Manifest, SplitRule
from cellcount_lib.data.sources import SampleSource
from cellcount_lib.data.splits import seeded_split, spelled
from cellcount_lib.errors import DataError

RULE = SplitRule(
    rule="column 'split' of index.csv; images without one by a seeded permutation",
    val=0.2,
    test=0.2,
)


def scan_folder(folder: Path, manifest: Manifest) -> list[SampleSource]:
    """List the samples of a folder dataset; whatever does not fit is an error that names it."""
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
    items = []
    for row in rows:
        kind = "labels" if row.get("label") else "mask"
        truth = row.get("label") or row["mask"]
        items.append(
            SampleSource(
                row["id"], split[row["id"]], row["image"], (truth,), kind, _meta(folder, row)
            )
        )
    return items


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
    result |= seeded_split(both, seed=rule.seed, val=_at_least_one(both, rule.val))
    result |= seeded_split(
        free,
        seed=rule.seed,
        val=_at_least_one(free, rule.val),
        test=_at_least_one(free, rule.test),
    )
    return result


def _at_least_one(names: Sequence[str], part: int | float | None) -> int | float | None:
    few = len(names) >= 3 and isinstance(part, float) and 0 < part * len(names) < 1
    return 1 if few else part
