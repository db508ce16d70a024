"""Write files whole or not at all, and hash them."""

import contextlib
import hashlib
import os
import secrets
import time
from pathlib import Path

from cellcount_lib.errors import WriteError

LEFT = 3600  # seconds after which a part is taken to be left behind


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader never sees half of it, whatever interrupts the writing.

    It is written beside its place, under a name that no other writer has, flushed to the disk and
    renamed. Until then, the old file stays. Missing folders are made; parts that a killed process
    has left behind are removed after an hour.
    """
    data = content.encode() if isinstance(content, str) else content
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise WriteError(
            f"{path}: could not be written ({error.strerror}); {len(data) / 1e6:.1f} MB are "
            "needed; what was there before is unchanged"
        ) from error
    _sweep(path)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sweep(path: Path) -> None:
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if entry.name.startswith(f".{path.name}.") and entry.name.endswith(".part"):
                with contextlib.suppress(OSError):
                    if time.time() - entry.stat().st_mtime > LEFT:
                        os.unlink(entry.path)
