"""What was scored without a training can be scored again: does it still give what is committed?"""

from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from cellcount_lib.data.datasets import load
from cellcount_lib.data.sample import Sample
from cellcount_lib.errors import CellcountError, DataError
from cellcount_lib.inference.evaluation import ScaledProtocol
from cellcount_lib.methods.score import METHODS, Scoring, Task, score
from cellcount_lib.records import Record
from cellcount_lib.scoring.protocols import protocol
from cellcount_lib.tables.kept import Records, notebooks
from cellcount_lib.training.data import FullSize


def rescored_in(folder: Path, records: Records, *, everything: bool) -> dict[str, list[str]]:
    """Return what `rescored` says of each kept run beside the tables in a folder, if anything.

    Runs whose pictures are not here, or whose names are no longer known, are left out.
    """
    found = {}
    for path in notebooks(folder):
        with suppress(CellcountError):
            if said := list(rescored(records(path.stem), everything=everything)):
                found[path.stem] = said
    return found


def rescored(record: Record, *, everything: bool) -> Iterator[str]:
    """Say where the scores of a baseline or control are not what its method gives now.

    Parameters
    ----------
    record : Record
        Of any run; one that needed a training is left out.
    everything : bool
        Choose the cutoff and score all pictures again, as the run did. Else the picture with most
        objects is scored at the known cutoff, by those methods that need nothing else.

    Raises
    ------
    DataError
        If its pictures are not here, or no longer the same.
    """
    method = METHODS.get(str(record.parameters.get("method")))
    if method is None or method.of_a_run or not record.images:
        return
    asked = Scoring(**record.parameters)
    if everything:
        scored = score(asked)
        rows = scored.images
        if scored.cutoff != record.cutoff:
            yield f"cutoff: it is {record.cutoff}, scored again {scored.cutoff}"
    elif method.of_test:
        rows = method.score(_task(asked, record))[0]
    else:
        return
    known: dict[Any, dict[str, Any]] = {row["image"]: row for row in record.images}
    for row in rows.to_dict("records"):
        for name, value in row.items():
            kept = known.get(row["image"], {}).get(str(name))
            if kept != value and not (kept is None and value != value):
                yield f"images: {row['image']}: {name}: it is {kept}, scored again {value}"


def _task(asked: Scoring, record: Record) -> Task:
    """Return the task of scoring the picture with most objects, at the cutoff of the record."""
    most = max(record.images, key=lambda row: row.get("n_objects_true", row["n_true"]))
    scale = record.protocol_scale or 1.0
    picture: Any = _picture(asked.dataset, most["image"])
    none: Any = ()  # no training and validation pictures: the cutoff is known
    parts = FullSize(none, none, picture, float("nan"), scale, None, "")
    ruler = ScaledProtocol(protocol(asked.protocol), scale)
    return Task(parts, ruler, None, (), None, record.cutoff)


@lru_cache(maxsize=32)
def _picture(dataset: str, name: str) -> list[Sample]:
    test = load(dataset, split="test")
    if name not in test.names:
        raise DataError(f"{dataset}: there is no test picture {name!r}")
    return [test[test.names.index(name)]]
