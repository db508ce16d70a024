"""What is known about a dataset before it is downloaded: one JSON file each, in ``manifests/``.

To add a dataset of your own, write a JSON file with the same keys (the layout ``"folder"`` is an
archive with images/ and labels/ or masks/) and name its folder in the environment variable
``CELLCOUNT_MANIFESTS``. ``load`` and ``cellcount download`` then know it by its name. A file there
takes precedence over a built-in manifest of the same name.
"""

import json
import os
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from cellcount_lib.errors import DataError, unknown_name
from cellcount_lib.fingerprint import digest

BUILT_IN = Path(__file__).parent / "manifests"


@dataclass(frozen=True)
class RemoteFile:
    """One file to download.

    ``sha256`` is None if the publisher gives none; the one seen at the download is then recorded.
    ``size`` is in bytes, if it is known exactly; ``about_mb`` is for people.
    """

    name: str
    url: str
    sha256: str | None = None
    size: int | None = None
    about_mb: float | None = None


@dataclass(frozen=True)
class SplitRule:
    """How images are divided into train, val and test.

    ``rule`` says it in words. ``val`` and ``test`` are numbers of images (int) or fractions of what
    is to be split (float, rounded down); None if the dataset itself decides. ``test_names`` are the
    file names of the test set.
    """

    rule: str
    seed: int = 0
    val: int | float | None = None
    test: int | float | None = None
    test_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """A dataset: its source and licence, what it should contain, and how it is split."""

    name: str
    title: str
    layout: str
    split: SplitRule
    licence: str
    files: tuple[RemoteFile, ...] = ()
    images: int | None = None
    unpacked_mb: int = 1000
    citation: str = ""
    homepage: str = ""
    pixel_size_um: float | None = None
    options: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _validate(self)

    @property
    def identity(self) -> str:
        """Hash of everything that decides pixels and splits, and of no prose."""
        what = asdict(self)
        for prose in ("title", "licence", "citation", "homepage", "notes", "unpacked_mb"):
            del what[prose]
        del what["split"]["rule"]
        what["files"] = [[f.name, f.sha256] for f in self.files]
        return digest(what, digits=64)

    @property
    def checksum(self) -> str:
        """Tell whether the publisher gives checksums ("published") or not ("recorded")."""
        published = all(file.sha256 for file in self.files)
        return "" if not self.files else "published" if published else "recorded"

    @property
    def download_mb(self) -> float | None:
        """Size of all files in MB, None if it is not known."""
        sizes = [f.size / 1e6 if f.size else f.about_mb for f in self.files]
        return sum(s for s in sizes if s) if all(sizes) else None


def names() -> list[str]:
    """Names of all datasets with a manifest, the simulated one first.

    Examples
    --------
    >>> names()[:2]
    ['simulated', 'bbbc038']
    """
    known = {path.stem for folder in _folders() for path in folder.glob("*.json")}
    return sorted(known, key=lambda name: (name != "simulated", name))


def manifest(name: str) -> Manifest:
    """Return the manifest of a dataset.

    Examples
    --------
    >>> manifest("fnc-v1").images
    283
    """
    if name not in (known := names()):
        raise unknown_name("dataset", name, [*known, "folder:PATH"])
    path = next(p for folder in _folders() if (p := folder / f"{name}.json").is_file())
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected a manifest in JSON, found {error}") from error
    return _parse(path, content)


def _folders() -> list[Path]:
    own = os.environ.get("CELLCOUNT_MANIFESTS")
    if own and not Path(own).is_dir():
        raise DataError(f"CELLCOUNT_MANIFESTS: expected a folder of JSON files, found {own!r}")
    return [*([Path(own)] if own else []), BUILT_IN]


def _parse(path: Path, content: Any) -> Manifest:
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a JSON object, found {type(content).__name__}")
    try:
        files = tuple(_build(RemoteFile, f, path) for f in content.pop("files", []))
        rule = dict(content.pop("split", {}))
        listed = rule.pop("test_names_file", None)
        if listed is not None:
            lines = (path.parent / listed).read_text(encoding="utf-8").splitlines()
            rule["test_names"] = tuple(line.strip() for line in lines if line.strip())
        notes = tuple(content.pop("notes", []))
        split = _build(SplitRule, rule, path)
        known = _build(Manifest, content | {"files": files, "split": split, "notes": notes}, path)
    except (TypeError, ValueError, OSError) as error:
        raise DataError(f"{path}: {error}") from error
    if known.name != path.stem:
        raise DataError(f"{path}: expected the name {path.stem!r} in it, found {known.name!r}")
    return known


def _build(kind: type, values: dict[str, Any], path: Path) -> Any:
    unknown = sorted(set(values) - {f.name for f in fields(kind)})
    if unknown:
        raise DataError(
            f"{path}: {unknown_name('key', unknown[0], [f.name for f in fields(kind)])}"
        )
    return kind(**values)


def _validate(info: Manifest) -> None:
    def check(good: bool, what: str, value: object) -> None:
        if not good:
            raise DataError(f"manifest {info.name!r}: expected {what}, found {value!r}")

    # The name becomes a folder, the files' names become paths: nothing may lead out of the root.
    plain = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
    made = ("simulated", "joined", "patches", "fold")
    free = info.name.startswith("folder:") or info.layout in made
    check(free or bool(plain.fullmatch(info.name)), "a plain name", info.name)
    for file in info.files:
        check(bool(plain.fullmatch(file.name)), "plain file names", file.name)
        check(file.url.startswith(("https://", "http://")), "an http(s) address", file.url)
        hashed = file.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        check(bool(hashed), "sha256 of 64 lower-case hexadecimal digits or null", file.sha256)
        check(file.size is None or file.size > 0, "size > 0 or null", file.size)
    check(len({f.name for f in info.files}) == len(info.files), "file names to differ", info.files)
    check(info.unpacked_mb > 0, "unpacked_mb > 0", info.unpacked_mb)
    for part in (info.split.val, info.split.test):
        good = part is None or (0 <= part < 1 if isinstance(part, float) else part >= 0)
        check(good, "val and test as a count or a fraction below 1", part)
