"""Which image is for training, for validation, for testing."""

import hashlib
import math
from collections.abc import Iterable, Sequence

from cellcount_lib.errors import InputError
from cellcount_lib.registry import Registry

SPLITS: Registry[tuple[str, ...]] = Registry(
    "split",
    {
        "train": ("train",),
        "val": ("val",),
        "trainval": ("train", "val"),
        "test": ("test",),
        "all": ("train", "val", "test"),
    },
)
"""What may be asked for, and the parts that it is made of."""
_SPELLINGS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "trainval": "trainval",
    "test": "test",
    "testing": "test",
}


def spelled(value: str) -> str | None:
    """Return train, val, trainval or test for the usual spellings, "" for "", else None.

    Examples
    --------
    >>> spelled("Training"), spelled(" valid "), spelled("fold 3")
    ('train', 'val', None)
    """
    value = value.strip().lower()
    return _SPELLINGS.get(value) if value else ""


def shuffled(names: Iterable[str], *, seed: int) -> list[str]:
    """Order names by the SHA-256 of ``seed/name``: a permutation that every machine agrees on.

    NumPy promises no stable stream for a Generator's ``permutation``; this order depends on nothing
    but the names, and adding an image moves no other image relative to the rest.

    Examples
    --------
    >>> shuffled(["a", "b", "c"], seed=0) == shuffled(["c", "a", "b"], seed=0)
    True
    """
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())


def how_many(part: int | float | None, total: int) -> int:
    """Return a number of images: a count as it is, a fraction of `total` rounded down.

    Rounded down as fastai's RandomSplitter does, so that 0.2 of 213 images is 42 as in R23.

    Examples
    --------
    >>> how_many(0.2, 213), how_many(0.3, 213), how_many(70, 283), how_many(None, 5)
    (42, 63, 70, 0)
    """
    if part is None:
        return 0
    # 0.29 * 100 is 28.999999999999996
    return math.floor(part * total + 1e-9) if isinstance(part, float) else part


def seeded_split(
    names: Sequence[str], *, seed: int, val: int | float | None, test: int | float | None = None
) -> dict[str, str]:
    """Assign train, val or test to every name by a seeded permutation, in the order of `names`.

    `val` and `test` are numbers of images, or fractions of `names` (`how_many`).

    Examples
    --------
    >>> sorted(seeded_split(["a", "b", "c", "d", "e"], seed=0, val=0.2, test=2).values())
    ['test', 'test', 'train', 'train', 'val']
    """
    n_val, n_test = how_many(val, len(names)), how_many(test, len(names))
    if n_val + n_test > len(names):
        raise InputError(
            f"val and test: expected at most {len(names)} images together, found {n_val} + {n_test}"
        )
    order = shuffled(names, seed=seed)
    part = dict.fromkeys(order, "train")
    part.update(dict.fromkeys(order[:n_test], "test"))
    part.update(dict.fromkeys(order[n_test : n_test + n_val], "val"))
    return {name: part[name] for name in names}
