"""One way to read every dataset: ``load(name)`` gives a sequence of samples, read when asked for.

Taught in: 01_data
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, overload

from cellcount_lib.checks import check_positive
from cellcount_lib.data.cache import kept
from cellcount_lib.data.fetch.store import data_root, stored_sources
from cellcount_lib.data.folder import RULE, scan_folder
from cellcount_lib.data.folds import fold_and_name, open_fold
from cellcount_lib.data.manifest import Manifest, manifest
from cellcount_lib.data.patches import number_and_name, open_patches
from cellcount_lib.data.sample import Sample
from cellcount_lib.data.scaling import rescale
from cellcount_lib.data.simulate import STYLES, simulate
from cellcount_lib.data.sources import Opened, Pixels, Read, SampleSource, read_source
from cellcount_lib.data.splits import SPLITS, seeded_split
from cellcount_lib.errors import DataError, InputError
from cellcount_lib.files import sha256_of
from cellcount_lib.fingerprint import digest
from cellcount_lib.registry import Registry


@dataclass(frozen=True, eq=False)
class Dataset(Sequence[Sample]):
    """Samples of one split, each read from disk (or drawn) when it is indexed; nothing is kept."""

    name: str
    split: str
    scale: float
    manifest: Manifest
    sources: tuple[SampleSource, ...] = field(repr=False)
    read: Read = field(repr=False)
    identify: Callable[[], str] = field(repr=False)

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def names(self) -> list[str]:
        """Names of the samples, in order: their ``meta["name"]``."""
        return [source.name for source in self.sources]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 that stands for the data in a record: pixels, labels, and every image's split.

        It does not depend on `split`, on `scale`, or on where the files lie.
        """
        return self.identify()

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> "Dataset": ...
    def __getitem__(self, index: int | slice) -> "Sample | Dataset":
        if isinstance(index, slice):
            return replace(self, sources=self.sources[index])
        try:
            source = self.sources[index]
        except IndexError:
            raise IndexError(f"{self.name} {self.split} has {len(self)} samples") from None
        image, labels, meta = self.read(source)
        about = {"name": source.name, "dataset": self.name, "split": source.split, "scale": 1.0}
        return rescale(Sample(image, labels, about | meta | about), self.scale)


def load(
    name: str, *, root: str | Path | None = None, split: str = "all", scale: float = 1.0
) -> Dataset:
    """Open a dataset: a sequence of `Sample`.

    Parameters
    ----------
    name : str
        ``simulated`` (or ``simulated:STYLE``), ``fnc-v1``, ``fnc-v2-yellow``, ``fnc-v2-green``,
        ``fnc-v2-red``, ``sbsst265``, ``bbbc038``, ``bbbc039``, ``vgg-cells``, ``folder:PATH`` (your
        own pictures, see `cellcount_lib.data.folder`), ``patches:NUMBER:NAME`` (see
        `cellcount_lib.data.patches`), ``fold:NUMBER:NAME`` (see `cellcount_lib.data.folds`), or a
        name with a manifest of your own. Several joined by
        ``+`` are one dataset: ``simulated+simulated:nuclei``.
    root : str or Path, optional
        Folder of the downloaded datasets; else CELLCOUNT_DATA, else ``data``.
    split : {"train", "val", "trainval", "test", "all"}
    scale : float
        Size relative to the original; 1.0 gives the stored pixels exactly (`scaling.rescale`).

    Examples
    --------
    >>> test = load("simulated", split="test")
    >>> len(test), test.names[:2]
    (70, ['0004', '0010'])
    """
    parts = SPLITS[split]
    scale = check_positive("scale", scale)
    opened = _open(str(name), root)
    chosen = tuple(source for source in opened.sources if source.split in parts)
    if not chosen:
        given = [source.split for source in opened.sources]
        counts = ", ".join(f"{part} {given.count(part)}" for part in SPLITS["all"])
        raise DataError(
            f"{name} has no images in split {split!r}; it has {counts}; use split='all'"
        )
    return Dataset(name, split, scale, opened.manifest, chosen, opened.read, opened.fingerprint)


def is_simulated(name: str) -> bool:
    """Tell by the name of a dataset whether the simulator draws all of its pictures.

    Examples
    --------
    >>> is_simulated("patches:5:simulated:nuclei"), is_simulated("simulated+bbbc038")
    (True, False)
    """
    whole = re.sub(r"^((patches|fold):\d+:)+", "", name)
    return all(part.partition(":")[0] == "simulated" for part in whole.split("+"))


def _open(name: str, root: str | Path | None) -> Opened:
    return KINDS[_kind(name)](name, root)


def _kind(name: str) -> str:
    """Return which kind of dataset a name asks for, a key of `KINDS`."""
    first, _, rest = name.partition(":")
    if first in ("patches", "fold"):
        return first
    if first == "folder" and ("+" not in name or Path(rest).expanduser().exists()):
        return "folder"
    if "+" in name:
        return "joined"
    return "simulated" if manifest(first).layout == "simulated" else "downloaded"


def _open_patches(name: str, root: str | Path | None) -> Opened:
    number, whole = number_and_name(name.partition(":")[2])
    return open_patches(name, number, _open(whole, root))


def _open_fold(name: str, root: str | Path | None) -> Opened:
    fold, whole = fold_and_name(name.partition(":")[2])
    return open_fold(name, fold, _open(whole, root))


def _open_joined(name: str, root: str | Path | None) -> Opened:
    names = name.split("+")
    if len(set(names)) != len(names) or not all(names):
        raise InputError(f"dataset {name!r}: expected different names joined by +")
    parts = tuple(_open(part, root) for part in names)
    sources = tuple(
        replace(
            source,
            name=f"{part.manifest.name}/{source.name}",
            options={"part": place, "source": source},
        )
        for place, part in enumerate(parts)
        for source in part.sources
    )
    info = Manifest(
        name=name,
        title=" and ".join(part.manifest.title for part in parts),
        layout="joined",
        split=RULE,
        licence="; ".join(sorted({part.manifest.licence for part in parts})),
        images=len(sources),
    )
    return Opened(info, sources, partial(_read_part, parts), partial(_identity_of_all, parts))


def _read_part(parts: Sequence[Opened], source: SampleSource) -> Pixels:
    part = parts[source.options["part"]]
    image, labels, meta = part.read(source.options["source"])
    return image, labels, meta | {"part": part.manifest.name}


def _identity_of_all(parts: Sequence[Opened]) -> str:
    return digest([part.fingerprint() for part in parts], digits=64)


def _open_folder(name: str, root: str | Path | None) -> Opened:
    path = name.partition(":")[2]
    if not path:
        raise InputError("dataset 'folder:': expected a path after the colon, as in folder:my-data")
    folder = Path(os.path.expanduser(path))
    info = Manifest(name=name, title="Folder of images", layout="folder", split=RULE, licence="")
    sources = tuple(scan_folder(folder, info))
    info = replace(info, images=len(sources))
    identify = partial(_identity, (), sources, folder)
    return Opened(info, sources, partial(read_source, folder), identify)


def _open_simulated(name: str, root: str | Path | None) -> Opened:
    first, _, asked = name.partition(":")
    info = manifest(first)
    style, seed = asked or info.options["style"], info.options["seed"]
    STYLES[style]  # an unknown name raises
    size = info.options["size_of"].get(style, info.options["size"])
    # what another style looks like is no part of this one's identity
    options = {"style": style, "seed": seed, "size": size}
    name = info.name if style == info.options["style"] else f"{info.name}:{style}"
    info = replace(info, name=name, options=options)
    assert info.images is not None
    names = [f"{index:04d}" for index in range(info.images)]
    part = seeded_split(names, seed=info.split.seed, val=info.split.val, test=info.split.test)
    sources = tuple(SampleSource(n, part[n], "", (), "drawn") for n in names)
    read = partial(_draw, style, seed, tuple(size))
    return Opened(info, sources, read, partial(_identity, (info.identity,), sources))


def _draw(style: str, seed: int, size: tuple[int, int], source: SampleSource) -> Pixels:
    def draw() -> Pixels:
        drawn = simulate(int(source.name), seed=seed, style=style, size=size)
        return drawn.image, drawn.labels, dict(drawn.meta)

    return kept(draw, name=source.name, seed=seed, style=style, size=size)


def _open_downloaded(name: str, root: str | Path | None) -> Opened:
    first, colon, _ = name.partition(":")
    info = manifest(first)
    if colon:
        raise InputError(f"dataset {name!r}: only simulated:STYLE and folder:PATH take a colon")
    place = data_root(root)
    folder = place / info.name
    if not (folder / "dataset.json").is_file():
        raise DataError(
            f"{info.name} is not in {place}; get it with: cellcount download {info.name}"
            + ("" if place == data_root() else f" --root {place}")
        )
    sources, archives = stored_sources(folder, info)
    identify = partial(_identity, (info.identity, *archives), sources)
    return Opened(info, sources, partial(read_source, folder), identify)


KINDS: Registry[Callable[[str, str | Path | None], Opened]] = Registry(
    "kind of dataset",
    {
        "simulated": _open_simulated,
        "downloaded": _open_downloaded,
        "folder": _open_folder,
        "patches": _open_patches,
        "fold": _open_fold,
        "joined": _open_joined,
    },
)
"""What opens a dataset of this kind, from its name and the folder of the downloaded ones."""


def _identity(
    known: Sequence[str], sources: Sequence[SampleSource], folder: Path | None = None
) -> str:
    """Hash what is known about the data; the files themselves where nothing is known (`folder`)."""
    what: list[Any] = [
        *known,
        [
            [s.name, s.split, s.image, list(s.truth), s.kind, dict(s.meta), dict(s.options)]
            for s in sources
        ],
    ]
    if folder is not None:
        used = sorted({path for source in sources for path in (source.image, *source.truth)})
        what.append([[path, sha256_of(folder / path)] for path in used])
    return digest(what, digits=64)


def entries_of(name: str) -> dict[str, set[str]]:
    """Return which entries of registries a dataset uses, by the kind of the registry.

    `fingerprint.closure` takes the result.

    Examples
    --------
    >>> used = entries_of("patches:5:simulated+folder:cells")
    >>> sorted(used["kind of dataset"]), used["style"], used["layout"]
    (['folder', 'joined', 'patches', 'simulated'], {'fnc-yellow'}, set())
    """
    kind, (first, _, rest) = _kind(name), name.partition(":")
    used: dict[str, set[str]] = {"kind of dataset": {kind}, "style": set(), "layout": set()}
    inside: list[str] = []
    if kind == "patches":
        inside = [number_and_name(rest)[1]]
    elif kind == "fold":
        inside = [fold_and_name(rest)[1]]
    elif kind == "joined":
        inside = name.split("+")
    elif kind == "simulated":
        used["style"] = {rest or manifest(first).options["style"]}
    elif kind == "downloaded":
        used["layout"] = {manifest(first).layout}
    for part in map(entries_of, inside):
        used = {registry: names | part[registry] for registry, names in used.items()}
    return used
