"""How a downloaded dataset is stored, and how to tell that it is complete and unchanged.

::

    ROOT/fnc-v1/dataset.json     receipt, written last: archives with their checksums, date
    ROOT/fnc-v1/index.json       the samples, as the layout's scan found them
    ROOT/fnc-v1/files.sha256     checksum of every file; `sha256sum -c files.sha256` checks it too
    ROOT/fnc-v1/...              the publisher's files
    ROOT/.checksums/fnc-v1.json  checksums seen at the first download, if none are published
    ROOT/.incoming/              unfinished downloads

A dataset folder is moved to its place in one step, once it is complete.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cellcount_lib.data.manifest import Manifest
from cellcount_lib.data.sources import SampleSource
from cellcount_lib.errors import DataError
from cellcount_lib.files import sha256_of, write_whole

RECEIPT, INDEX, LISTING = "dataset.json", "index.json", "files.sha256"


def data_root(root: str | Path | None = None) -> Path:
    """Return the folder of the datasets: `root`, else CELLCOUNT_DATA, else ``data``."""
    return Path(root or os.environ.get("CELLCOUNT_DATA") or "data").expanduser()


def is_complete(folder: Path) -> bool:
    """Tell whether a dataset folder exists; if it does, it is complete."""
    return (folder / RECEIPT).is_file()


def write_json(path: Path, value: Any) -> None:
    """Write JSON, whole or not at all."""
    write_whole(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON; a missing or damaged file is a DataError that says what to do."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: expected the file that the download wrote, found {error}; "
            f"remove {path.parent} and download again"
        ) from error


def write_records(
    folder: Path,
    *,
    manifest: Manifest,
    sources: Sequence[SampleSource],
    files: Mapping[str, str],
    receipt: dict[str, Any],
) -> None:
    """Write index, list of checksums and receipt into an unpacked dataset.

    ``files`` maps the path of every unpacked file to its SHA-256.
    """
    from cellcount_lib.data.layouts import VERSION

    index = {
        "version": VERSION,
        "manifest": manifest.identity,
        "items": [asdict(source) for source in sources],
    }
    write_json(folder / INDEX, index)
    hashes = dict(files) | {INDEX: sha256_of(folder / INDEX)}
    lines = "".join(f"{hashes[path]}  {path}\n" for path in sorted(hashes))
    (folder / LISTING).write_text(lines, encoding="utf-8")
    receipt = receipt | {"listing_sha256": sha256_of(folder / LISTING)}
    write_json(folder / RECEIPT, receipt)


def stored_sources(
    folder: Path, manifest: Manifest
) -> tuple[Sequence[SampleSource], Sequence[str]]:
    """Return the samples of a downloaded dataset, and the checksums of its archives.

    The index that the download wrote is used as long as the manifest has the same identity;
    otherwise (another seed, a new version) the folder is scanned again.
    """
    from cellcount_lib.data.layouts import VERSION, scan

    receipt, index = read_json(folder / RECEIPT), read_json(folder / INDEX)
    try:
        archives = sorted(file["sha256"] for file in receipt["files"])
        if (index["version"], index["manifest"]) != (VERSION, manifest.identity):
            return scan(folder, manifest), archives
        stored = [{**values, "truth": tuple(values["truth"])} for values in index["items"]]
        return [SampleSource(**values) for values in stored], archives
    except (TypeError, KeyError) as error:
        raise DataError(
            f"{folder}: its {RECEIPT} or {INDEX} is damaged ({error!r}); "
            "remove the folder and download again"
        ) from error


def check_files(folder: Path) -> int:
    """Compare every file of a dataset with its checksum; return how many there are."""
    from cellcount_lib.data.finding import some

    receipt = read_json(folder / RECEIPT)
    listing = folder / LISTING
    if not listing.is_file() or sha256_of(listing) != receipt.get("listing_sha256"):
        raise DataError(f"{listing}: missing or changed; remove {folder} and download again")
    changed, missing, lines = [], [], listing.read_text(encoding="utf-8").splitlines()
    for line in lines:
        expected, _, path = line.partition("  ")
        if not (folder / path).is_file():
            missing.append(path)
        elif sha256_of(folder / path) != expected:
            changed.append(path)
    if changed or missing:
        raise DataError(
            f"{folder}: {len(changed)} files changed ({some(changed)}), {len(missing)} "
            f"missing ({some(missing)}); remove the folder and download again"
        )
    return len(lines)
