"""The same pictures dealt out again: ``fold:2:NAME`` is the second of five for cross-validation.

Every picture is a test picture in one fold. As many others are for validation, the remaining three
fifths for training. What the publisher's split, or the project's, says is forgotten.
"""

from dataclasses import replace
from functools import partial

from cellcount_lib.data.sources import Opened
from cellcount_lib.data.splits import shuffled
from cellcount_lib.errors import InputError
from cellcount_lib.fingerprint import digest

FOLDS = 5


def fold_and_name(rest: str) -> tuple[int, str]:
    """Read what follows ``fold:``.

    Examples
    --------
    >>> fold_and_name("2:bbbc038")
    (2, 'bbbc038')
    """
    fold, _, name = rest.partition(":")
    if fold not in map(str, range(1, FOLDS + 1)) or not name:
        raise InputError(
            f"dataset 'fold:{rest}': expected fold:NUMBER:NAME with a number from 1 to {FOLDS}, "
            "as in fold:2:bbbc038"
        )
    return int(fold), name


def open_fold(name: str, fold: int, whole: Opened) -> Opened:
    """Deal out the pictures of an open dataset."""
    order = shuffled([source.name for source in whole.sources], seed=0)
    hand = {picture: (place - fold + 1) % FOLDS for place, picture in enumerate(order)}
    split = {0: "test", 1: "val"}
    sources = tuple(replace(s, split=split.get(hand[s.name], "train")) for s in whole.sources)
    title = f"Fold {fold} of {FOLDS} of {whole.manifest.title}"
    manifest = replace(whole.manifest, name=name, title=title, layout="fold", files=())
    return Opened(manifest, sources, whole.read, partial(_identity, whole, fold))


def _identity(whole: Opened, fold: int) -> str:
    return digest([whole.fingerprint(), "fold", fold, FOLDS], digits=64)
