"""RO-Crate: what a run left, described so that archives and workflow tools can read it.

One file of JSON-LD in the folder of the run says which files are there, which program made them
when, from which parameters and data. The profile is that of a single execution (Process Run Crate).

References
----------
Soiland-Reyes et al. (2022), "Packaging research artefacts with RO-Crate", Data Science 5:97; RO-
Crate 1.1, https://w3id.org/ro/crate/1.1; Process Run Crate 0.5,
https://w3id.org/ro/wfrun/process/0.5.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cellcount_lib.errors import InputError
from cellcount_lib.files import sha256_of, write_whole
from cellcount_lib.records import Record
from cellcount_lib.reporting.known import Known, named, read_run

NAME = "ro-crate-metadata.json"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
KINDS = {
    ".json": "application/json",
    ".csv": "text/csv",
    ".png": "image/png",
    ".ipynb": "application/x-ipynb+json",
}
STATUS = {"completed": "Completed", "collapsed": "Completed", "failed": "Failed"}


def write_crate(run: Path, out: Path | None = None) -> Path:
    """Describe the files of a run in their folder, or in `out`, where copies of them go.

    The files are those directly in the folder; an executed notebook is a run without a folder, so
    `out` is needed for it.
    """
    known = read_run(run)
    inside = run.is_dir() or run.suffix != ".ipynb"
    folder = run if run.is_dir() else run.parent
    if out is None and not inside:
        raise InputError(f"{run}: expected --out with a notebook: the folder that becomes a crate")
    files = sorted(folder.iterdir()) if inside else [run]
    files = [path for path in files if path.is_file() and path.name != NAME]
    place = out or folder
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for path in files:
            shutil.copyfile(path, out / path.name)
    graph = described(known, [place / path.name for path in files])
    write_whole(place / NAME, json.dumps(graph, indent=1, ensure_ascii=False) + "\n")
    return place / NAME


def described(run: Known, files: list[Path]) -> dict[str, Any]:
    """Return the description of a run and its files."""
    parts = [{"@id": path.name} for path in files]
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": run.name,
        "description": f"A run of the cell-counting book on {named(run.dataset)}: {run.status}.",
        "conformsTo": {"@id": PROFILE},
        "hasPart": parts,
        "mentions": {"@id": "#run"},
        **({"datePublished": run.record.finished} if run.record else {}),
    }
    parameters = [
        _value(f"#parameter-{name}", name, named(value) if isinstance(value, str) else value)
        for name, value in run.parameters.items()
        if value is not None
    ]
    scores = [_value(f"#score-{k}", k, v) for k, v in _scores(run).items() if v is not None]
    action = {
        "@id": "#run",
        "@type": "CreateAction",
        "name": "training and evaluation" if run.recipe else "evaluation",
        "actionStatus": {"@id": f"http://schema.org/{STATUS[run.status]}ActionStatus"},
        "instrument": {"@id": "#cellcount-book"},
        "object": [{"@id": "#data"}, *({"@id": one["@id"]} for one in parameters)],
        "result": [*parts, *({"@id": one["@id"]} for one in scores)],
        **({"error": run.reason} if run.status == "failed" else {}),
        **(_times(run.record) if run.record else {}),
    }
    program = {
        "@id": "#cellcount-book",
        "@type": "SoftwareApplication",
        "name": "cellcount-book",
        "softwareRequirements": [f"{k} {v}" for k, v in run.versions.items() if v],
        **({"version": run.versions["cellcount-book"]} if run.versions else {}),
    }
    data = {
        "@id": "#data",
        "@type": "Dataset",
        "name": named(run.dataset),
        **({"identifier": run.data} if run.data else {}),
    }
    profile = {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate"}
    about = {
        "@id": NAME,
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
    }
    things = [about, root, profile, action, program, data, *map(_file, files)]
    return {
        "@context": [
            "https://w3id.org/ro/crate/1.1/context",
            {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"},
        ],
        "@graph": [*things, *parameters, *scores],
    }


def _scores(run: Known) -> Mapping[str, Any]:
    return run.record.scores if run.record else {}


def _times(record: Record) -> dict[str, str]:
    return {"startTime": record.started, "endTime": record.finished}


def _value(identifier: str, name: str, value: object) -> dict[str, Any]:
    return {"@id": identifier, "@type": "PropertyValue", "name": name, "value": value}


def _file(path: Path) -> dict[str, Any]:
    return {
        "@id": path.name,
        "@type": "File",
        "name": path.name,
        "encodingFormat": KINDS.get(path.suffix, "application/octet-stream"),
        "contentSize": str(path.stat().st_size),
        "sha256": sha256_of(path),
    }
