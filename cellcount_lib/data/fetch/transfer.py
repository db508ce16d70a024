"""Fetch one file over HTTP; an interrupted transfer continues where it stopped.

The bytes that came are in ``NAME.part``, what the server said about the file in ``NAME.part.json``.
A further attempt, by this process or by a later one, asks for the rest with ``Range``, and through
``If-Range`` only if the file is still the same (RFC 9110, 13.1.5 and 14.2). A server that does not
know ``Range`` sends the whole file again.
"""

import contextlib
import email.utils
import json
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from cellcount_lib.data.fetch.extract import need_space
from cellcount_lib.errors import DataError

Say = Callable[[str], None]
TRY_AGAIN = (429, 500, 502, 503, 504)
LONGEST_PAUSE = 60.0
CHUNK = 8192  # bytes; a chunk in which the connection breaks is lost


@dataclass(frozen=True)
class Patience:
    """How long to put up with a server.

    After ``attempts`` in a row that bring nothing new the transfer ends. The pause before the
    second one is ``pause`` seconds and doubles each time, unless the server asks for another one
    with Retry-After (at most a minute). ``timeout`` is the longest silence of the server, in
    seconds.
    """

    attempts: int = 5
    pause: float = 1.0
    timeout: float = 30.0


@dataclass(frozen=True)
class Seen:
    """What the server said about the file whose first bytes are in the part file."""

    url: str
    etag: str | None = None
    modified: str | None = None
    total: int | None = None


class _Problem(NamedTuple):
    """Why an attempt did not bring the whole file, and how long the server asks to wait."""

    text: str
    wait: float | None = None


class _NotThereError(Exception):
    """The server answered that it has no such file."""


def fetch(
    urls: Sequence[str],
    target: Path,
    limit: int,
    say: Say,
    progress: bool | None,
    patience: Patience,
) -> str:
    """Download a file of at most `limit` bytes, whole or not at all; return where it came from.

    The addresses are tried in turn as long as the answer is "no such file".
    """
    part = target.with_name(target.name + ".part")
    begun = _read_state(part)
    for url in sorted(urls, key=lambda url: begun is None or url != begun.url):
        try:
            _fetch(url, part, limit, say, progress, patience)
        except _NotThereError:
            continue
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, target)
        _state(part).unlink(missing_ok=True)
        return url
    raise DataError(
        f"{target.name}: there is no such file (404) at {' or at '.join(urls)}; check the mirror, "
        "or get the file from the dataset's page and name its folder with --mirror"
    )


def _fetch(
    url: str, part: Path, limit: int, say: Say, progress: bool | None, patience: Patience
) -> None:
    """Attempt until the part file is complete, or patience ends."""
    idle, most = 0, -1
    while problem := _attempt(url, part, limit, say, progress, patience.timeout):
        idle = 0 if _size(part) > most >= 0 else idle + 1
        most = max(most, _size(part))
        if idle >= patience.attempts:
            raise DataError(
                f"{url}: gave up after {idle} attempts without progress: {problem.text}. What came "
                "is kept; run the same command to continue, or name a mirror with --mirror"
            )
        doubled = patience.pause * 2 ** max(idle - 1, 0)
        pause = min(doubled if problem.wait is None else problem.wait, LONGEST_PAUSE)
        say(f"{part.stem}: {problem.text}; trying again in {pause:.3g} s")
        time.sleep(pause)


def _attempt(
    url: str, part: Path, limit: int, say: Say, progress: bool | None, timeout: float
) -> _Problem | None:
    """Ask for what is missing; return None once everything is there."""
    import requests

    seen = _read_state(part)
    if seen is None or seen.url != url:  # nothing is known about these bytes: they are useless
        part.unlink(missing_ok=True)
        seen = Seen(url)
    offset = _size(part)
    if offset and offset == seen.total:
        return None
    try:
        asked = _headers(seen, offset)
        with requests.get(url, headers=asked, stream=True, timeout=timeout) as answer:
            if answer.status_code not in (200, 206):
                return _refused(answer, url, part)
            return _receive(answer, seen, part, offset, limit, say, progress)
    except requests.exceptions.SSLError as error:
        raise DataError(f"{url}: the server's certificate was refused ({error})") from error
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        raise DataError(f"{url}: expected an http(s) address ({error})") from error
    except requests.RequestException as error:
        return _Problem(f"{_short(error)} ({_size(part):,} bytes so far)")
    except OSError as error:  # requests' errors are OSErrors too, and came first
        raise DataError(f"{part}: cannot be written ({error.strerror})") from error


def _headers(seen: Seen, offset: int) -> dict[str, str]:
    """Return the headers that ask for the rest, if the file is still the same."""
    # Any content encoding would make byte ranges meaningless.
    asked = {"Accept-Encoding": "identity"}
    if offset:
        asked["Range"] = f"bytes={offset}-"
        # A weak ETag ("W/...") promises the same meaning, not the same bytes.
        strong = seen.etag and not seen.etag.startswith("W/")
        if same := seen.etag if strong else seen.modified:
            asked["If-Range"] = same
    return asked


def _refused(answer: Any, url: str, part: Path) -> _Problem:
    """Return what is wrong if it is worth another attempt, else raise."""
    status, reason = answer.status_code, answer.reason
    if status in (404, 410):
        raise _NotThereError
    if status == 416:  # the part is longer than the file: it belongs to another one
        part.unlink(missing_ok=True)
        text = "the part does not fit the file; starting again from the beginning"
        return _Problem(text, wait=0.0)
    if status not in TRY_AGAIN:
        raise DataError(f"{url}: the server answered {status} {reason}")
    wait = _retry_after(answer.headers.get("Retry-After"))
    return _Problem(f"the server answered {status} {reason}", wait)


def _receive(
    answer: Any, seen: Seen, part: Path, offset: int, limit: int, say: Say, progress: bool | None
) -> _Problem | None:
    """Write what the server sends where it belongs, which the headers of its answer decide."""
    etag = answer.headers.get("ETag")
    length = answer.headers.get("Content-Length")
    changed = None not in (etag, seen.etag) and etag != seen.etag
    if answer.status_code == 206:
        sent = answer.headers.get("Content-Range", "").strip()
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", sent)
        wrong = ""
        if match is None or int(match[1]) != offset:
            wrong = f"asked for bytes from {offset}, the server sent {sent!r}"
        elif changed or (match[2] != "*" and seen.total not in (None, int(match[2]))):
            wrong = "the file on the server has changed"
        if wrong:
            part.unlink(missing_ok=True)
            return _Problem(f"{wrong}; starting again from the beginning")
        say(f"{part.stem}: continuing at {offset:,} bytes")
    elif offset:
        why = "the file on the server has changed" if changed else "the server cannot resume"
        say(f"{part.stem}: {why}; starting again from the beginning")
        offset = 0
    total = offset + int(length) if length is not None else None
    if total is not None and total > limit:
        raise DataError(f"{seen.url}: expected at most {limit:,} bytes, the server has {total:,}")
    need_space(part.parent, max(0, (total or 0) - offset), f"downloading {part.stem}")
    seen = Seen(seen.url, etag, answer.headers.get("Last-Modified"), total)
    bar = tqdm(
        total=total,
        initial=offset,
        unit="B",
        unit_scale=True,
        desc=part.stem,
        disable=None if progress is None else not progress,
    )
    with bar, part.open("ab" if offset else "wb") as file:
        _state(part).write_text(json.dumps(asdict(seen)), encoding="utf-8")
        for chunk in answer.iter_content(CHUNK):
            if file.tell() + len(chunk) > limit:
                raise DataError(f"{seen.url}: more than {limit:,} bytes came; stopped")
            file.write(chunk)
            file.flush()  # to the operating system, so that the bytes outlive this process
            bar.update(len(chunk))
    if total is not None and _size(part) != total:
        return _Problem(f"the connection ended at {_size(part):,} of {total:,} bytes")
    return None


def _state(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_state(part: Path) -> Seen | None:
    """Return what the server said about the bytes in the part file, if there are any."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        seen = Seen(**json.loads(_state(part).read_text(encoding="utf-8")))
        return seen if part.exists() else None
    return None


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _retry_after(value: str | None) -> float | None:
    """Seconds of the Retry-After header, which is a number or a date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, float(value))
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return None


def _short(error: Exception) -> str:
    text = str(error)
    if "Connection refused" in text:
        return "connection refused"
    if "resolve" in text or "Name or service" in text:
        return "the server's name is not known here (no internet?)"
    if "timed out" in text.lower():
        return "the server was silent for too long"
    return "the connection was lost"
