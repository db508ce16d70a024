"""The part file of an interrupted transfer, and one request that continues it.

The bytes are in ``NAME.part``, what the server said about the file is in ``NAME.part.json``. A
request asks for the rest with ``Range``, and through ``If-Range`` only if the file is still the
same (RFC 9110, 13.1.5 and 14.2). A server that does not know ``Range`` sends the whole file again.
"""

import contextlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tqdm import tqdm

from cellcount_lib.data.fetch.extract import need_space
from cellcount_lib.errors import DataError

Say = Callable[[str], None]


@dataclass(frozen=True)
class Seen:
    """What the server said about the file whose first bytes are in the part file."""

    url: str
    etag: str | None = None
    modified: str | None = None
    total: int | None = None

    @property
    def validator(self) -> str | None:
        """What to send as If-Range."""
        # A weak ETag ("W/...") promises the same meaning, not the same bytes.
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


class StartAgainError(Exception):
    """The part file does not belong to what the server has; the message says why."""


class Transfer:
    """One request: the headers of the answer decide where its bytes belong.

    pooch gets it twice: as the file to write to, and as the hook that sees the answer first.
    """

    def __init__(self, part: Path, seen: Seen, limit: int, say: Say, progress: bool | None):
        self.part, self.seen, self.limit, self.say = part, seen, limit, say
        self.progress = progress
        self.offset = part.stat().st_size if part.exists() else 0
        self.position = self.offset
        self.file: BinaryIO | None = None
        self.bar: tqdm | None = None

    def headers(self) -> dict[str, str]:
        """Return the headers that ask for the rest, if the file is still the same."""
        # Any content encoding would make byte ranges meaningless.
        asked = {"Accept-Encoding": "identity"}
        if self.offset:
            asked["Range"] = f"bytes={self.offset}-"
            if self.seen.validator:
                asked["If-Range"] = self.seen.validator
        return asked

    def on_response(self, response: Any, *args: Any, **kwargs: Any) -> None:
        """Decide where the bytes go; requests calls this before pooch reads the body."""
        if response.status_code not in (200, 206):
            return
        etag = response.headers.get("ETag")
        length = response.headers.get("Content-Length")
        if response.status_code == 206:
            self._check_range(response.headers.get("Content-Range", ""), etag)
            self.say(f"{self.part.stem}: continuing at {self.offset:,} bytes")
        elif self.offset:
            changed = etag is not None and self.seen.etag is not None and etag != self.seen.etag
            why = "the file on the server has changed" if changed else "the server cannot resume"
            self.say(f"{self.part.stem}: {why}; starting again from the beginning")
            self.offset = self.position = 0
        total = self.offset + int(length) if length is not None else None
        if total is not None and total > self.limit:
            raise DataError(
                f"{self.seen.url}: expected at most {self.limit:,} bytes, the server has {total:,}"
            )
        missing = max(0, (total or 0) - self.offset)
        need_space(self.part.parent, missing, f"downloading {self.part.stem}")
        modified = response.headers.get("Last-Modified")
        self.seen = Seen(self.seen.url, etag, modified, total)
        self.file = self.part.open("r+b" if self.offset else "wb")
        self.file.seek(self.offset)
        self.file.truncate()
        state_file(self.part).write_text(json.dumps(asdict(self.seen)), encoding="utf-8")
        self.bar = tqdm(
            total=total,
            initial=self.offset,
            unit="B",
            unit_scale=True,
            desc=self.part.stem,
            disable=None if self.progress is None else not self.progress,
        )

    def _check_range(self, content_range: str, etag: str | None) -> None:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range.strip())
        if match is None or int(match[1]) != self.offset:
            raise StartAgainError(
                f"asked for bytes from {self.offset}, the server sent {content_range!r}"
            )
        total = None if match[2] == "*" else int(match[2])
        same_size = None in (total, self.seen.total) or total == self.seen.total
        same_tag = None in (etag, self.seen.etag) or etag == self.seen.etag
        if not (same_size and same_tag):
            raise StartAgainError("the file on the server has changed")

    def write(self, chunk: bytes) -> None:
        """Write the bytes that pooch hands over."""
        assert self.file is not None
        assert self.bar is not None
        if self.position + len(chunk) > self.limit:
            raise DataError(f"{self.seen.url}: more than {self.limit:,} bytes came; stopped")
        self.file.write(chunk)
        self.position += len(chunk)
        self.bar.update(len(chunk))

    def flush(self) -> None:
        """Hand the bytes to the operating system, so that they outlive this process."""
        if self.file is not None:
            self.file.flush()

    def close(self) -> None:
        """Close file and progress bar."""
        if self.bar is not None:
            self.bar.close()
        if self.file is not None:
            self.file.close()


def state_file(part: Path) -> Path:
    """Return the file that holds what the server said about the part file."""
    return part.with_name(part.name + ".json")


def load_state(part: Path, url: str) -> Seen:
    """Return what is known about the part file; if nothing is, it is useless and removed."""
    seen = _read_state(part)
    if seen is not None and seen.url == url and part.exists():
        return seen
    part.unlink(missing_ok=True)
    return Seen(url)


def begun_at(part: Path) -> str | None:
    """Return the address from which the bytes in the part file came."""
    seen = _read_state(part)
    return seen.url if seen is not None and part.exists() else None


def _read_state(part: Path) -> Seen | None:
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Seen(**json.loads(state_file(part).read_text(encoding="utf-8")))
    return None
