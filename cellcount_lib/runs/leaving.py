"""From what a chapter has computed to the record it leaves."""

import contextlib
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellcount_lib.errors import DataError
from cellcount_lib.files import write_whole
from cellcount_lib.records import IMAGES, Record, write_record
from cellcount_lib.runs.grid import NETWORK, WITHOUT, project
from cellcount_lib.runs.identity import identity_of
from cellcount_lib.scoring.cutoff import Choice
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.protocols import protocol
from cellcount_lib.training.spec import Training

if TYPE_CHECKING:
    import pandas as pd

    from cellcount_lib.methods.score import Scored, Scoring
    from cellcount_lib.training.data import Data
    from cellcount_lib.training.result import Result


def record_of(
    asked: Training, data: "Data", result: "Result", *, begun: str, total: float
) -> Record:
    """Make the record of a trained network."""
    parameters = dataclasses.asdict(asked)
    return Record(
        status=result.status,
        reason=result.reason,
        chapter=NETWORK,
        parameters=parameters,
        identity=_identity(NETWORK, parameters, data.fingerprint),
        protocol=asked.protocol,
        protocol_scale=data.protocol_scale,
        cutoff=result.choice.cutoff,
        choice=_how(result.choice),
        scores=result.scores,
        images=_rows(result.images),
        history=result.history,
        lr=result.info.training["lr_used"],
        seconds=_rounded(result.seconds | {"total": total}),
        started=begun,
    )


def record_of_scoring(asked: "Scoring", scored: "Scored", *, begun: str, total: float) -> Record:
    """Make the record of a method without training."""
    parameters = dataclasses.asdict(asked)
    return Record(
        status="completed",
        reason="",
        chapter=WITHOUT,
        parameters=parameters,
        identity=_identity(WITHOUT, parameters, scored.fingerprint),
        protocol=asked.protocol,
        protocol_scale=scored.protocol_scale,
        cutoff=scored.cutoff,
        choice=_how(scored.choice),
        scores=pooled(scored.images, mpe=protocol(asked.protocol).mpe),
        images=_rows(scored.images),
        history=[],
        seconds=_rounded({"total": total}),
        started=begun,
    )


def _how(choice: Choice | None) -> dict[str, Any]:
    return {k: v for k, v in choice._asdict().items() if k != "cutoff"} if choice else {}


def leave_record(folder: Path, record: Record) -> None:
    """Write the record and the rows per picture; the record comes last."""
    table = record.table()
    write_whole(folder / IMAGES, table.to_csv(index=False, lineterminator="\n"))
    write_record(folder, record)


def _identity(chapter: str, parameters: dict[str, Any], fingerprint: str) -> dict[str, Any]:
    path: Path | None = None
    with contextlib.suppress(DataError):  # a notebook alone, as on Colab
        path = project() / "chapters" / f"{chapter}.ipynb"
    return identity_of(path, parameters, data=fingerprint)


def _rows(table: "pd.DataFrame | None") -> list[dict[str, Any]]:
    if table is None:
        return []
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]


def _rounded(seconds: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in seconds.items()}
