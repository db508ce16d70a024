"""A few small patches of a dataset, as S2 had them: ``patches:55:NAME``.

The training pictures give 55 patches of 128 x 128 pixels in all; every validation and test picture
gives two. Fewer training patches are the first ones of more, so that a learning curve grows and
does not jump; the patches for validation and testing never change.

Taught in: 08_transfer
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.data.sources import Opened, Pixels, Read, SampleSource
from cellcount_lib.data.splits import shuffled
from cellcount_lib.errors import InputError
from cellcount_lib.fingerprint import digest

SIDE = 128
HELD_OUT = 2  # patches of every validation and test picture


def number_and_name(rest: str) -> tuple[int, str]:
    """Read what follows ``patches:``.

    Examples
    --------
    >>> number_and_name("55:folder:my-data")
    (55, 'folder:my-data')
    """
    number, _, name = rest.partition(":")
    if not number.isdigit() or int(number) < 1 or not name:
        raise InputError(
            f"dataset 'patches:{rest}': expected patches:NUMBER:NAME, as in patches:55:bbbc038"
        )
    return int(number), name


def open_patches(name: str, number: int, whole: Opened) -> Opened:
    """Make a dataset of patches from an open dataset of whole pictures."""
    train = {source.name: source for source in whole.sources if source.split == "train"}
    if not train:
        raise InputError(f"dataset {name!r}: expected training pictures to cut, found none")
    order = shuffled(list(train), seed=0)
    patches = [_patch(train[order[i % len(order)]], i // len(order)) for i in range(number)]
    patches += [
        _patch(source, place)
        for source in whole.sources
        if source.split in ("val", "test")
        for place in range(HELD_OUT)
    ]
    manifest = replace(
        whole.manifest,
        name=name,
        title=f"Patches of {whole.manifest.title}",
        layout="patches",
        files=(),
        images=len(patches),
    )
    identify = partial(_identity, whole.fingerprint, number)
    return Opened(manifest, tuple(patches), partial(_cut, whole.read), identify)


def _patch(picture: SampleSource, place: int) -> SampleSource:
    return replace(picture, name=f"{picture.name}#{place}", options={"source": picture})


def _cut(read: Read, patch: SampleSource) -> Pixels:
    image, labels, meta = read(patch.options["source"])
    top, left = patch_corner(labels, patch.name)
    window = np.s_[top : top + SIDE, left : left + SIDE]
    kept = {k: v for k, v in meta.items() if k not in ("structures", "dots")}
    return (
        np.ascontiguousarray(image[window]),
        np.ascontiguousarray(labels[window]),
        kept | {"corner": [top, left]},
    )


def _identity(fingerprint: Callable[[], str], number: int) -> str:
    return digest([fingerprint(), "patches", number, SIDE, HELD_OUT], digits=64)


def patch_corner(labels: NDArray[np.int32], name: str) -> tuple[int, int]:
    """Return where a patch begins; a hash of its name chooses the object that it shows.

    The middle of the object lies anywhere in the inner half of the patch, as far as the edges of
    the picture allow. In a picture without objects the patch lies anywhere.
    """
    rng = np.random.default_rng(int(hashlib.sha256(name.encode()).hexdigest()[:16], 16))
    height, width = labels.shape
    last = max(height - SIDE, 0), max(width - SIDE, 0)
    numbers = np.unique(labels[labels > 0])
    if numbers.size == 0:
        return int(rng.integers(last[0] + 1)), int(rng.integers(last[1] + 1))
    rows, columns = np.nonzero(labels == rng.choice(numbers))
    inner = SIDE // 4
    corner = (
        (rows.min() + rows.max()) // 2 - int(rng.integers(inner, SIDE - inner)),
        (columns.min() + columns.max()) // 2 - int(rng.integers(inner, SIDE - inner)),
    )
    return tuple(int(np.clip(c, 0, end)) for c, end in zip(corner, last, strict=True))  # type: ignore[return-value]
