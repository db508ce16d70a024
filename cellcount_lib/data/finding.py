"""Find and pair the files of a dataset, and read its tables."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from cellcount_lib.data.decode import EXTENSIONS
from cellcount_lib.errors import DataError


def is_image(path: Path) -> bool:
    """Tell whether a file is a picture, by its name; hidden files are not."""
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")


def some(names: Iterable[str], *, most: int = 5) -> str:
    """Return a few names for a message, and how many more there are.

    Examples
    --------
    >>> some(["a", "b", "c"], most=2), some([])
    ('a, b and 1 more', 'none')
    """
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more or "none"


def pair(images: Sequence[Path], truths: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Pair files by their names without extension; every file must have exactly one partner."""
    first, second = _by_stem(images), _by_stem(truths)
    alone = [p.name for s, p in first.items() if s not in second]
    extra = [p.name for s, p in second.items() if s not in first]
    if alone or extra:
        where = images[0].parent if images else truths[0].parent
        other = truths[0].parent if truths else "the labels or masks"
        raise DataError(
            f"{where}: expected every image to have a file of the same name (any extension) in "
            f"{other}; images without: {some(alone)}; labels or masks without image: {some(extra)}"
        )
    return [(path, second[stem]) for stem, path in first.items()]


def _by_stem(files: Sequence[Path]) -> dict[str, Path]:
    stems: dict[str, Path] = {}
    for path in files:
        other = stems.setdefault(path.stem, path)
        if other is not path:
            raise DataError(
                f"{path.parent}: expected one file per name, found {other.name} and {path.name}"
            )
    return stems


def read_table(path: Path) -> list[dict[str, str]]:
    """Read a table with a header, separated by commas, semicolons or tabs; UTF-8, BOM allowed."""
    if not path.is_file():
        raise DataError(f"{path}: expected a table, found nothing")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected a table in UTF-8 ({error})") from error
    lines = text.splitlines()
    header = lines[0] if lines else ""
    delimiter = max(",;\t", key=header.count)
    rows = []
    for number, row in enumerate(csv.DictReader(lines, delimiter=delimiter), start=2):
        if None in row or None in row.values():
            raise DataError(
                f"{path}: expected as many cells in every row as in the header; row {number} has "
                "more or fewer"
            )
        rows.append({key.strip(): value.strip() for key, value in row.items()})
    if not rows:
        raise DataError(f"{path}: expected a header and at least one row, found {len(lines)} lines")
    return rows


def image_files(folder: Path) -> list[Path]:
    """List the pictures of a folder by name."""
    return sorted(p for p in folder.iterdir() if p.is_file() and is_image(p))


def find(folder: Path, path: str) -> Path:
    """Find a sub-folder such as ``all_images/images``, directly or inside one or two folders."""
    for depth in ("", "*/", "*/*/"):
        folders = sorted(p for p in folder.glob(depth + path) if p.is_dir())
        if len(folders) > 1:
            raise DataError(
                f"{folder}: expected one folder {path}, found {some(map(str, folders))}"
            )
        if folders:
            return folders[0]
    inside = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
    raise DataError(f"{folder}: expected a folder {path} in it, found {some(inside)}")
