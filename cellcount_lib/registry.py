"""Registries: what can be asked for by name."""

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

from cellcount_lib.errors import unknown_name

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Read-only values by name; a name that is not there raises with the nearest known one.

    Written as a literal, ``RECIPES = Registry("recipe", {"name": ...})``, it is also what
    `fingerprint` reads: of a registry only the entries that a run names count as its code. The
    kind, for messages and for fingerprints, is unlike any other registry's.

    Examples
    --------
    >>> colours = Registry("colour", {"red": 1, "blue": 2})
    >>> colours["blue"], list(colours)
    (2, ['red', 'blue'])
    >>> colours["bleu"]
    Traceback (most recent call last):
        ...
    cellcount_lib.errors.InputError: unknown colour 'bleu'; did you mean 'blue'? Known: red, blue
    """

    def __init__(self, kind: str, entries: Mapping[str, T]) -> None:
        self.kind, self._entries = kind, dict(entries)

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            raise unknown_name(self.kind, name, self._entries)
        return self._entries[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a name, or the default."""
        return self._entries.get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
