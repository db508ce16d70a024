"""The archives of a dataset: where they are, and whether they are the right ones."""

import datetime
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

from cellcount_lib.data.fetch import store
from cellcount_lib.data.fetch.extract import need_space
from cellcount_lib.data.fetch.transfer import Patience, Say, fetch
from cellcount_lib.data.manifest import Manifest, RemoteFile
from cellcount_lib.errors import DataError
from cellcount_lib.files import sha256_of


@dataclass(frozen=True)
class Archive:
    """A file of a dataset that is here and was checked."""

    file: RemoteFile
    path: Path
    source: str
    sha256: str


@dataclass(frozen=True)
class Shelf:
    """The archives of one dataset; `base` is the data root, `incoming` where downloads go."""

    info: Manifest
    base: Path
    incoming: Path
    say: Say

    def get(
        self, file: RemoteFile, mirror: str | Path | None, progress: bool | None, patience: Patience
    ) -> Archive:
        """Find or download a file and check it."""
        target = self.incoming / file.name
        places = [f"{self.info.name}/{file.name}", file.name]
        if target.is_file():
            path, source = target, "an earlier, unfinished download"
        elif mirror is not None and (folder := as_folder(mirror)) is not None:
            path = next((folder / p for p in places if (folder / p).is_file()), folder)
            if path == folder:
                either = " or ".join(str(folder / place) for place in places)
                raise DataError(f"{file.name}: expected {either} in the mirror, found neither")
            source = str(path)
        else:
            urls = [file.url]
            if mirror is not None:
                urls = [f"{str(mirror).rstrip('/')}/{quote(place)}" for place in places]
            if file.size:
                need_space(self.incoming, file.size, f"downloading {file.name}")
            self.say(f"{file.name} from {urls[0]}")
            # A zip archive is not larger than what is in it.
            limit = file.size or self.info.unpacked_mb * 1_000_000
            path, source = target, fetch(urls, target, limit, self.say, progress, patience)
        return Archive(file, path, source, self._check(file, path))

    def _check(self, file: RemoteFile, path: Path) -> str:
        """Return the SHA-256 of a file if it is the published one, or the one seen before."""
        seen = sha256_of(path)
        before = recorded(self.base, self.info).get(file.name, {})
        expected = file.sha256 or before.get("sha256")
        if expected is None:
            self.say(
                f"{file.name}: no checksum is published, so it was not verified against one; "
                f"recording the one seen: {seen}"
            )
        elif seen != expected:
            size, path = path.stat().st_size, self.set_aside(path)
            todo = "run the command again, or use another mirror"
            if not file.sha256:
                note = records(self.base, self.info)
                todo = f"if the publisher replaced the file, remove {note} and try again"
            whose = "published" if file.sha256 else f"of the file seen on {before['date']}"
            raise DataError(
                f"{file.name}: SHA-256 {expected} expected ({whose}), {seen} found in "
                f"{size:,} bytes, kept as {path}; {todo}"
            )
        return seen

    def set_aside(self, path: Path) -> Path:
        """Move a downloaded file that is not what it should be out of the way of the next try."""
        if path.parent != self.incoming:  # in a mirror: not ours
            return path
        aside = path.with_name(f"{path.name}.unexpected")
        os.replace(path, aside)
        return aside


def as_folder(mirror: str | Path) -> Path | None:
    """Return the folder of a mirror, or None if the mirror is an http(s) address."""
    parsed = urlsplit(str(mirror))
    if parsed.scheme in ("http", "https"):
        return None
    folder = Path(url2pathname(parsed.path)) if parsed.scheme == "file" else Path(mirror)
    folder = folder.expanduser()
    if not folder.is_dir():
        raise DataError(f"mirror: expected a folder or an http(s) address, found {str(mirror)!r}")
    return folder


def records(base: Path, info: Manifest) -> Path:
    """Return the file of the checksums that were seen because none are published."""
    return base / ".checksums" / f"{info.name}.json"


def recorded(base: Path, info: Manifest) -> dict[str, Any]:
    """Return those checksums, by file name."""
    path = records(base, info)
    return store.read_json(path) if path.is_file() else {}


def record(base: Path, info: Manifest, archives: Sequence[Archive]) -> None:
    """Keep the checksums that are not published, outside the dataset, for the next time."""
    known = recorded(base, info)
    date = datetime.date.today().isoformat()
    new = {
        a.file.name: {"sha256": a.sha256, "date": date, "source": a.source}
        for a in archives
        if a.file.sha256 is None and a.file.name not in known
    }
    if new:
        records(base, info).parent.mkdir(exist_ok=True)
        store.write_json(records(base, info), known | new)
