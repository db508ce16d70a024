"""Get a dataset: download it, check it, unpack it, and move it to its place in one step.

`download` is what ``cellcount download`` and ``data_download.py`` call.

Taught in: 01_data
"""

import contextlib
import datetime
import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cellcount_lib.data import manifest as manifests
from cellcount_lib.data.fetch import store
from cellcount_lib.data.fetch.archives import Archive, Shelf, record, recorded
from cellcount_lib.data.fetch.extract import NoSpaceError, extract
from cellcount_lib.data.fetch.store import data_root
from cellcount_lib.data.fetch.transfer import Patience, Say
from cellcount_lib.data.manifest import Manifest
from cellcount_lib.errors import DataError, InputError


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def download(
    name: str,
    *,
    root: str | Path | None = None,
    mirror: str | Path | None = None,
    say: Say = _say,
    progress: bool | None = None,
    patience: Patience | None = None,
) -> Path:
    """Download a dataset, unless it is there; return its folder, which exists whole or not at all.

    The folder lies in `root`, else in CELLCOUNT_DATA, else in ``data``. A mirror is a folder or URL
    that has the files as ``MIRROR/<name>/<file>`` or ``MIRROR/<file>``; without one,
    CELLCOUNT_MIRROR or else the publisher's addresses are asked. With a mirror, no other place is
    tried. `say` receives messages, one line each; progress bars are shown in a terminal, unless
    `progress` decides.
    """
    info = manifests.manifest(name)
    if not info.files:
        raise InputError(f"{name} is drawn when it is read: there is nothing to download")
    base = data_root(root)
    folder = base / name
    mirror = mirror or os.environ.get("CELLCOUNT_MIRROR") or None
    if store.is_complete(folder):
        say(f"{name} is already in {folder} (check it with --verify)")
        return folder
    try:
        with _only_one(base, name, say) as incoming:
            if not store.is_complete(folder):  # another process may have been faster
                if folder.exists():
                    raise DataError(
                        f"{folder} exists but was not made by this command (it has no "
                        f"{store.RECEIPT}); move it away first"
                    )
                incoming.mkdir(exist_ok=True)
                shelf = Shelf(info, base, incoming, say)
                patience = patience or Patience()
                archives = [shelf.get(file, mirror, progress, patience) for file in info.files]
                _put_in_place(shelf, archives, folder)
                shutil.rmtree(incoming)
    except OSError as error:
        where = error.filename or base
        raise DataError(f"{where}: cannot be read or written ({error.strerror})") from error
    say(f"{name} is in {folder}. Licence: {info.licence}. Cite: {info.citation}")
    return folder


def verify(name: str, *, root: str | Path | None = None, say: Say = _say) -> int:
    """Check a downloaded dataset file by file; return the number of files.

    The checksums of the archives are compared with the published ones (or, if none is published,
    with the ones recorded at the first download), and every unpacked file with its own.
    """
    info = manifests.manifest(name)
    if not info.files:
        raise InputError(f"{name} is drawn when it is read: there is nothing to verify")
    base = data_root(root)
    folder = base / name
    if not store.is_complete(folder):
        raise DataError(f"{name} is not in {base}; get it with: cellcount download {name}")
    receipt = store.read_json(folder / store.RECEIPT)
    before = recorded(base, info)
    for file in info.files:
        entries: list[dict[str, Any]] = receipt.get("files", [])
        seen = next((entry for entry in entries if entry.get("name") == file.name), {})
        expected = file.sha256 or before.get(file.name, {}).get("sha256")
        if expected and seen.get("sha256") != expected:
            raise DataError(
                f"{folder}: unpacked from another {file.name} than expected: SHA-256 {expected} "
                f"expected, {seen.get('sha256')} found; remove the folder and download again"
            )
        if not file.sha256:
            say(f"{file.name}: no checksum is published; compared with the one seen at download")
    number = store.check_files(folder)
    say(f"{name}: {number} files are unchanged since the download")
    return number


def present(root: str | Path | None = None) -> dict[str, str]:
    """Say for every dataset whether it can be read here, or which command downloads it."""
    base = data_root(root)
    states = {}
    for name in manifests.names():
        if not manifests.manifest(name).files:
            states[name] = "ready (drawn when it is read)"
        elif store.is_complete(base / name):
            states[name] = "ready"
        else:
            states[name] = f"not here: cellcount download {name}"
    return states


@contextlib.contextmanager
def _only_one(base: Path, name: str, say: Say) -> Iterator[Path]:
    """Hold the dataset's lock; the system releases it whichever way the process ends."""
    incoming = base / ".incoming" / name
    incoming.parent.mkdir(parents=True, exist_ok=True)
    with incoming.with_name(f"{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process is downloading {name}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield incoming


def _put_in_place(shelf: Shelf, archives: list[Archive], folder: Path) -> None:
    """Unpack beside the final place, then move there; a failure leaves nothing behind."""
    unpacked = shelf.incoming / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)  # left by a process that was killed
    try:
        _unpack(shelf.info, archives, unpacked, shelf.say)
        record(shelf.base, shelf.info, archives)
        os.sync()  # once for thousands of files, before the name appears
        os.replace(unpacked, folder)
    except NoSpaceError:
        raise
    except DataError as error:
        # If a published checksum was right, downloading again would bring the same bytes.
        aside = [shelf.set_aside(a.path) for a in archives if a.file.sha256 is None]
        kept = f"; set aside: {', '.join(map(str, aside))}" if aside else ""
        raise DataError(f"{error}{kept}") from error
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def _unpack(info: Manifest, archives: list[Archive], unpacked: Path, say: Say) -> None:
    """Unpack, check that everything is there, and write the records."""
    from cellcount_lib.data.layouts import scan

    left = info.unpacked_mb * 1_000_000
    files: dict[str, str] = {}
    unpacked.mkdir()
    for archive in archives:
        say(f"unpacking {archive.file.name}")
        written = extract(archive.path, unpacked, most_bytes=left)
        left -= sum((unpacked / path).stat().st_size for path in written)
        files.update(written)
    reserved = {store.RECEIPT, store.INDEX, store.LISTING} & set(files)
    if reserved:
        raise DataError(f"{info.name}: its archive has a file {reserved.pop()}, which is reserved")
    say("checking that everything is there")
    sources = scan(unpacked, info)
    receipt = {
        "name": info.name,
        "manifest": info.identity,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "licence": info.licence,
        "citation": info.citation,
        "samples": len(sources),
        "files": [
            {
                "name": archive.file.name,
                "source": archive.source,
                "sha256": archive.sha256,
                "checksum": "published" if archive.file.sha256 else "recorded, none is published",
            }
            for archive in archives
        ],
    }
    store.write_records(unpacked, manifest=info, sources=sources, files=files, receipt=receipt)
