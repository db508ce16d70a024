"""Unpack a zip archive from the internet without trusting it.

Checked before anything is written: no path leads out of the target, nothing is absolute, a link, a
device or encrypted, and the number of members and their total size have a limit. Checked while
writing: no member is larger than it says, no two go to the same place, and every CRC is right.
"""

import hashlib
import shutil
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cellcount_lib.errors import DataError

MOST_MEMBERS = 100_000
_CHUNK = 1 << 20
_SYSTEM_FOLDERS = {"__MACOSX"}
_SYSTEM_FILES = {".DS_Store", "Thumbs.db", "desktop.ini"}


class NoSpaceError(DataError):
    """The disk has no room; nothing is wrong with the archive."""


@dataclass(frozen=True)
class _Member:
    info: zipfile.ZipInfo
    path: PurePosixPath


def extract(archive: Path, target: Path, *, most_bytes: int) -> dict[str, str]:
    """Unpack `archive` into the folder `target`; return the SHA-256 of every file by its path.

    Existing files are never overwritten. What operating systems add to archives (``__MACOSX``,
    ``.DS_Store``) is left out. Unpacked, the archive may have `most_bytes` in all.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _checked(archive, opened.infolist(), most_bytes)
            need_space(target, sum(m.info.file_size for m in members), f"unpacking {archive.name}")
            return {str(m.path): _write(archive, opened, m, target) for m in members}
    except zipfile.BadZipFile as error:
        with archive.open("rb") as file:
            begins = file.read(16)
        raise DataError(
            f"{archive}: damaged or not a zip archive ({error}); it has {archive.stat().st_size:,} "
            f"bytes and begins with {begins!r}"
        ) from error
    except (zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{archive}: cannot be unpacked ({error})") from error


def need_space(folder: Path, size: int, what: str) -> None:
    """Raise unless the disk of `folder` has room for `size` bytes, with a small reserve."""
    there = next(p for p in (folder, *folder.resolve().parents) if p.exists())
    free, needed = shutil.disk_usage(there).free, size + (64 << 20)
    if free < needed:
        raise NoSpaceError(
            f"{what} needs {needed / 1e9:.2f} GB on the disk of {there}, which has "
            f"{free / 1e9:.2f} GB free; make room or choose another folder with --root"
        )


def _checked(archive: Path, infos: list[zipfile.ZipInfo], most_bytes: int) -> list[_Member]:
    if len(infos) > MOST_MEMBERS:
        raise DataError(f"{archive}: expected at most {MOST_MEMBERS} members, found {len(infos)}")
    members = [_Member(info, _safe_path(archive, info)) for info in infos]
    members = [m for m in members if not m.info.is_dir() and not _from_system(m.path)]
    total = sum(m.info.file_size for m in members)
    if total > most_bytes:
        raise DataError(
            f"{archive}: expected at most {most_bytes / 1e6:.0f} MB unpacked, "
            f"found {total / 1e6:.0f} MB"
        )
    return members


def _safe_path(archive: Path, info: zipfile.ZipInfo) -> PurePosixPath:
    name = info.filename.replace("\\", "/")  # archives made on old Windows programs
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise DataError(
            f"{archive}: member {info.filename!r} would be written outside the dataset's folder"
        )
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive was not made on Unix
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "a link" if kind == stat.S_IFLNK else "a special file"
        raise DataError(f"{archive}: member {info.filename!r} is {what}; only files are unpacked")
    if info.flag_bits & 0x1:
        raise DataError(f"{archive}: member {info.filename!r} is encrypted")
    return path


def _from_system(path: PurePosixPath) -> bool:
    junk = path.name in _SYSTEM_FILES or path.name.startswith("._")
    return junk or bool(_SYSTEM_FOLDERS & set(path.parts))


def _write(archive: Path, opened: zipfile.ZipFile, member: _Member, target: Path) -> str:
    path = target / member.path
    digest, written = hashlib.sha256(), 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with opened.open(member.info) as source, path.open("xb") as file:
            while chunk := source.read(_CHUNK):
                written += len(chunk)
                if written > member.info.file_size:
                    break
                digest.update(chunk)
                file.write(chunk)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise DataError(f"{archive}: two members at the place of {member.path}") from None
    if written != member.info.file_size:
        raise DataError(
            f"{archive}: member {member.path} says {member.info.file_size} bytes and has "
            f"{'more' if written > member.info.file_size else written}"
        )
    return digest.hexdigest()
