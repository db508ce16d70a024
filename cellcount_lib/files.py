"""Writing files whole or not at all."""

import os
from pathlib import Path

from cellcount_lib.errors import WriteError


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader never meets half of it, whatever interrupts the writing.

    It is written beside its place, flushed to the disk and renamed. What was there before stays
    until then. Missing folders are made.
    """
    data = content.encode() if isinstance(content, str) else content
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
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
            "needed; what was there before is untouched"
        ) from error
