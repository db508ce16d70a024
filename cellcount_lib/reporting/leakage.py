"""What stands in two parts of a split, and would let a network see in training what tests it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from cellcount_lib.data.datasets import Dataset
from cellcount_lib.errors import InputError
from cellcount_lib.files import sha256_of

Parts = Mapping[str, set[str]]
"""For every unit, or picture, the parts of the split that it stands in."""


def across(parts: Parts) -> list[str]:
    """Name what stands in more than one part, sorted.

    Examples
    --------
    >>> across({"mouse 1": {"train"}, "mouse 2": {"test", "train"}})
    ['mouse 2']
    """
    return sorted(name for name, found in parts.items() if len(found) > 1)


def units(dataset: Dataset, column: str) -> Parts:
    """Return, for every value of a column of ``index.csv``, the parts that its pictures are in."""
    rows = [(source.meta.get("row", {}), source.split) for source in dataset.sources]
    columns = sorted({name for row, _ in rows for name in row})
    if column not in columns:
        raise InputError(
            f"--unit: expected a column of index.csv, found {column!r}; it has "
            f"{', '.join(columns) or 'none that says more of a picture'}"
        )
    return _parts((row.get(column) or "(empty)", split) for row, split in rows)


def same_files(dataset: Dataset, folder: Path) -> Parts:
    """Return, for every content of a picture's file, the parts that it stands in."""
    first: dict[str, str] = {}
    pairs = []
    for source in dataset.sources:
        content = sha256_of(folder / source.image)
        pairs.append((first.setdefault(content, source.name), source.split))
    return _parts(pairs)


def _parts(pairs: Iterable[tuple[str, str]]) -> Parts:
    found: dict[str, set[str]] = defaultdict(set)
    for name, part in pairs:
        found[name].add(part)
    return found
