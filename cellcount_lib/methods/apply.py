"""A trained network on pictures of another kind: nothing is learned, little or nothing is adapted.

The cutoff is the one from home: chosen on the validation pictures that the network grew up with,
under the protocol that the new pictures are scored by. What else is brought closer to home has a
name each (`harmonise.STEPS`).
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from cellcount_lib.data.reading import read_all, some
from cellcount_lib.errors import DataError
from cellcount_lib.files import write_whole
from cellcount_lib.fingerprint import digest
from cellcount_lib.inference.evaluation import ScaledProtocol, heatmaps
from cellcount_lib.inference.formulations import formulation
from cellcount_lib.inference.info import MODEL, ModelInfo
from cellcount_lib.inference.model_file import load_model
from cellcount_lib.methods.chosen import chosen
from cellcount_lib.methods.harmonise import Harmonisation, Harmonised, Look, measure
from cellcount_lib.records import RECORD, read_record
from cellcount_lib.scoring.cutoff import Choice
from cellcount_lib.training.data import MEASURED, FullSize, full_size


def apply(
    run: Path,
    parts: FullSize,
    scaled: ScaledProtocol,
    *,
    names: Sequence[str] = (),
    root: Path | None = None,
) -> tuple[pd.DataFrame, Choice]:
    """Score the test pictures among `parts` with the network in the folder of a run.

    `names` are steps of `harmonise.STEPS`. Returns a row per picture, and the choice of the cutoff.
    """
    if not (run / MODEL).exists():
        raise DataError(f"{run}: expected the model of a run there, found none")
    assert parts.test is not None
    trained = load_model(run / MODEL)
    home = _home(run, scaled, trained.info, root=root)
    away = measure(list(read_all(some(parts.train, MEASURED))))
    change = Harmonisation(tuple(names), Look(**home["look"]), away)
    scale = round(trained.info.scale * change.magnification, 3)
    asks = formulation(trained.info.formulation)
    # one pixel that the network sees, in pixels of the protocol, away from home
    magnification = 1 / (scale * scaled.scale)
    scaled = replace(scaled, protocol=asks.adapt(scaled.protocol, magnification=magnification))
    choice = Choice(**home["choice"])
    look = partial(
        heatmaps,
        trained.model,
        scale=scale,
        stretch=trained.info.stretch,
        asks=asks,
    )
    if "cutoff" in names:
        choice, _ = scaled.choose_cutoff(*look(Harmonised(parts.val, change)))
    kept, labels = look(Harmonised(parts.test, change))
    return scaled.score(kept, labels, choice.cutoff).drop(columns="cutoff"), choice


def _home(
    run: Path, scaled: ScaledProtocol, info: ModelInfo, *, root: Path | None
) -> dict[str, Any]:
    """Look of the pictures that a network grew up with, and its cutoff there; kept for later."""
    record = read_record(run / RECORD)
    path = run / f"home-{scaled.protocol.name}.json"
    mark = digest([record.identity, record.finished])
    if path.exists():
        kept: dict[str, Any] = json.loads(path.read_text())
        if kept.get("of") == mark and "choice" in kept:
            return kept
    asked = record.parameters
    parts = full_size(
        asked["dataset"], asked["profile"], protocol_scale=asked["protocol_scale"], root=root
    )
    ruler = info.ruler(scaled.protocol.name)
    choice = chosen(run, parts, ScaledProtocol(ruler, parts.protocol_scale, scaled.jobs))
    look = measure(list(read_all(some(parts.train, MEASURED))))
    home = {"of": mark, "choice": choice._asdict(), "look": look._asdict()}
    write_whole(path, json.dumps(home))
    return home
