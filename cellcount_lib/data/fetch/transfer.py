"""Fetch one file over HTTP; an interrupted transfer continues where it stopped.

The transfer itself is pooch's ``HTTPDownloader`` (streaming, time-outs, redirects). This module and
`cellcount_lib.data.fetch.resume` add what pooch lacks: a further attempt, by this process or by a
later one, asks only for the missing bytes.
"""

import contextlib
import email.utils
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellcount_lib.data.fetch.resume import (
    Say,
    StartAgainError,
    Transfer,
    begun_at,
    load_state,
    state_file,
)
from cellcount_lib.errors import DataError

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


class _NotThereError(Exception):
    """The server answered that it has no such file."""


def fetch(
    urls: Sequence[str],
    target: Path,
    limit: int,
    say: Say,
    progress: bool | None = None,
    patience: Patience | None = None,
) -> str:
    """Download a file to `target`, whole or not at all; return the address it came from.

    Parameters
    ----------
    urls : sequence of str
        Addresses to try in turn as long as the answer is "no such file".
    target : Path
        Until the file is complete, ``target`` + ``.part`` and ``.part.json`` hold what came.
    limit : int
        Largest allowed number of bytes.
    say, progress
        See `cellcount_lib.data.download.download`.
    """
    begun = begun_at(target.with_name(target.name + ".part"))
    for url in sorted(urls, key=lambda url: url != begun):
        try:
            _fetch(url, target, limit, say, progress, patience or Patience())
            return url
        except _NotThereError:
            continue
    raise DataError(
        f"{target.name}: there is no such file (404) at {' or at '.join(urls)}; check the mirror, "
        "or get the file from the dataset's page and name its folder with --mirror"
    )


def _fetch(
    url: str, target: Path, limit: int, say: Say, progress: bool | None, patience: Patience
) -> None:
    import requests

    part = target.with_name(target.name + ".part")
    idle, most = 0, -1
    while True:
        seen = load_state(part, url)
        if seen.total is not None and part.stat().st_size == seen.total:
            break
        transfer = Transfer(part, seen, limit, say, progress)
        wait: float | None = None
        try:
            _request(url, transfer, patience.timeout)
            expected = transfer.seen.total
            if expected is None or transfer.position == expected:
                break
            problem = f"the connection ended at {transfer.position:,} of {expected:,} bytes"
        except StartAgainError as error:
            problem = f"{error}; starting again from the beginning"
            part.unlink(missing_ok=True)
        except requests.HTTPError as error:
            problem, wait = _judge(error, url, part)
        except requests.exceptions.SSLError as error:
            raise DataError(f"{url}: the server's certificate was refused ({error})") from error
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
            raise DataError(f"{url}: expected an http(s) address ({error})") from error
        except requests.RequestException as error:
            problem = f"{_short(error)} ({transfer.position:,} bytes so far)"
        except OSError as error:  # requests' errors are OSErrors too, and came first
            raise DataError(f"{part}: cannot be written ({error.strerror})") from error
        finally:
            transfer.close()
        idle = 0 if transfer.position > most >= 0 else idle + 1
        most = max(most, transfer.position)
        if idle >= patience.attempts:
            raise DataError(
                f"{url}: gave up after {idle} attempts without progress: {problem}. What came is "
                "kept; run the same command to continue, or name a mirror with --mirror"
            )
        pause = min(patience.pause * 2 ** max(idle - 1, 0) if wait is None else wait, LONGEST_PAUSE)
        say(f"{target.name}: {problem}; trying again in {pause:.3g} s")
        time.sleep(pause)
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(part, target)
    state_file(part).unlink(missing_ok=True)


def _request(url: str, transfer: Transfer, timeout: float) -> None:
    import pooch

    download = pooch.HTTPDownloader(
        progressbar=False,
        chunk_size=CHUNK,
        timeout=timeout,
        headers=transfer.headers(),
        hooks={"response": transfer.on_response},
    )
    download(url=url, output_file=transfer, pooch=None)


def _judge(error: Any, url: str, part: Path) -> tuple[str, float | None]:
    """Return what is wrong and how long to wait if it is worth another attempt, else raise."""
    status, reason = error.response.status_code, error.response.reason
    if status in (404, 410):
        raise _NotThereError from error
    if status == 416:  # the part is longer than the file: it belongs to another one
        part.unlink(missing_ok=True)
        return "the part does not fit the file; starting again from the beginning", 0.0
    if status not in TRY_AGAIN:
        raise DataError(f"{url}: the server answered {status} {reason}") from error
    return f"the server answered {status} {reason}", _retry_after(error.response)


def _retry_after(response: Any) -> float | None:
    """Seconds of the Retry-After header, which is a number or a date (RFC 9110, 10.2.3)."""
    value = response.headers.get("Retry-After")
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
