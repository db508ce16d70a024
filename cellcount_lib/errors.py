"""Errors that a person can act on: what was expected, what was found, what to do."""

import difflib
from collections.abc import Iterable


class CellcountError(Exception):
    """Base of every error this library raises on purpose.

    The command line prints its message as one sentence, without a traceback, and exits with 1.
    """


class InputError(CellcountError, ValueError):
    """An argument has the wrong name, shape, type or value."""


class DataError(CellcountError):
    """A file, archive or dataset is missing, unreadable or not what it should be."""


class WriteError(DataError):
    """A result cannot be written: no space, no permission, no such place."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> InputError:
    """Make the error for a name that is not in a registry; the nearest known name is suggested.

    Examples
    --------
    >>> print(unknown_name("model", "unett", ["unet", "fcn"]))
    unknown model 'unett'; did you mean 'unet'? Known: unet, fcn
    """
    known = list(known)
    nearest = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
    return InputError(f"unknown {kind} {name!r}{hint} Known: {', '.join(known)}")
