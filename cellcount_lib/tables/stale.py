"""Which committed rows were made by other code, chapters or data than those there are now."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from cellcount_lib.errors import DataError
from cellcount_lib.records import read_record
from cellcount_lib.runs.grid import project
from cellcount_lib.runs.status import data_fingerprint, differences, few


def stale(notebooks: Path) -> dict[str, list[str]]:
    """Return what has changed since each kept notebook was executed; nothing for a current one.

    Parameters
    ----------
    notebooks : Path
        Folder of kept notebooks, ``RUN.ipynb``.

    Returns
    -------
    dict of str to list of str
        By run. A notebook without a record is left out: `verify` says so.
    """
    chapters = project() / "chapters"
    fingerprint = cache(lambda name: data_fingerprint(name, None))
    changed = {}
    for path in sorted(notebooks.glob("*.ipynb")):
        try:
            record = read_record(path)
        except DataError:
            continue
        data = fingerprint(str(record.parameters["dataset"]))
        chapter = chapters / f"{record.chapter}.ipynb"
        changed[path.stem] = differences(record, chapter, data=data)
    return changed


def stale_lines(rows: Sequence[Mapping[Any, Any]], notebooks: Path) -> Iterator[str]:
    """Say of every committed row that is stale which definitions have changed.

    Parameters
    ----------
    rows : sequence of mapping
        With "label", "seed" and "run".
    notebooks : Path
    """
    changed = stale(notebooks)
    for row in rows:
        if different := changed.get(row["run"]):
            words = (
                f"{few(different)} (of {len(different)})" if len(different) > 3 else few(different)
            )
            yield f"{row['label']}, seed {row['seed']}: changed since: {words}"
