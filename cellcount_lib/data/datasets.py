"""One way to read every dataset: ``load(name)`` gives a sequence of samples, read when asked for.

Taught in: 01_data
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, overload

from cellcount_lib.checks import check_positive
from cellcount_lib.data.cache import kept
from cellcount_lib.data.fetch.store import data_root, stored_items
from cellcount_lib.data.folder import RULE, scan_folder
from cellcount_lib.data.manifest import Manifest, manifest
from cellcount_lib.data.patches import open_patches, split_name
from cellcount_lib.data.sample import Sample
from cellcount_lib.data.scaling import rescale
from cellcount_lib.data.simulate import check_style, simulate
from cellcount_lib.data.sources import Opened, Pixels, Read, SampleSource, read_item
from cellcount_lib.data.splits import parts, seeded_split
from cellcount_lib.errors import DataError, InputError
from cellcount_lib.fingerprint import digest
from cellcount_lib.registry import Registry


@dataclass(frozen=True, eq=False)
class Dataset(Sequence[Sample]):
    """Samples of one split, each read from disk (or drawn) when it is indexed; nothing is kept.

    Attributes
    ----------
    name, split : str
    scale : float
    manifest : Manifest
        Source, licence, citation, split rule.
    names : list of str
        One per sample, in order; ``sample.meta["name"]``.
    fingerprint : str
        SHA-256 that stands for the data in a run record: pixels, labels and the assignment of every
        image to a split, whatever `split` and `scale` were asked for and wherever the files lie.
    """

    name: str
    split: str
    scale: float
    manifest: Manifest
    items: tuple[SampleSource, ...] = field(repr=False)
    read: Read = field(repr=False)
    identify: Callable[[], str] = field(repr=False)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def names(self) -> list[str]:
        """Names of the samples, in order."""
        return [item.name for item in self.items]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 that stands for the data and its split in a run record."""
        return self.identify()

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> "Dataset": ...
    def __getitem__(self, index: int | slice) -> "Sample | Dataset":
        if isinstance(index, slice):
            return replace(self, items=self.items[index])
        try:
            item = self.items[index]
        except IndexError:
            raise IndexError(f"{self.name} {self.split} has {len(self)} samples") from None
        image, labels, found = self.read(item)
        about = {"name": item.name, "dataset": self.name, "split": item.split, "scale": 1.0}
        return rescale(Sample(image, labels, about | found | about), self.scale)


def load(
    name: str, *, root: str | Path | None = None, split: str = "all", scale: float = 1.0
) -> Dataset:
    """Open a dataset.

    Parameters
    ----------
    name : str
        ``simulated`` (or ``simulated:STYLE``), ``fnc-v1``, ``fnc-v2-yellow``, ``fnc-v2-green``,
        ``fnc-v2-red``, ``sbsst265``, ``bbbc038``, ``bbbc039``, ``vgg-cells``, ``folder:PATH`` (your
        own pictures, see `cellcount_lib.data.folder`), ``patches:NUMBER:NAME`` (see
        `cellcount_lib.data.patches`), or a name with a manifest of your own. Several joined by
        ``+`` are one dataset: ``simulated+simulated:nuclei``.
    root : str or Path, optional
        Folder of the downloaded datasets; else the environment variable CELLCOUNT_DATA, else
        ``data``.
    split : {"train", "val", "trainval", "test", "all"}
    scale : float
        Size relative to the original. 1.0 gives the stored pixels exactly; otherwise images are
        averaged over areas and labels take the nearest pixel.

    Returns
    -------
    Dataset
        A sequence of `Sample`.

    Examples
    --------
    >>> test = load("simulated", split="test")
    >>> len(test), test.names[:2]
    (70, ['0004', '0010'])
    """
    wanted = parts(split)
    scale = check_positive("scale", scale)
    info, items, read, identify = _open(str(name), root)
    chosen = tuple(item for item in items if item.split in wanted)
    if not chosen:
        counts = {p: sum(i.split == p for i in items) for p in ("train", "val", "test")}
        found = ", ".join(f"{p} {n}" for p, n in counts.items())
        raise DataError(f"{name} has no images in split {split!r}; it has {found}; use split='all'")
    return Dataset(name, split, scale, info, chosen, read, identify)


@dataclass(frozen=True)
class _FromDisk:
    folder: Path

    def __call__(self, item: SampleSource) -> Pixels:
        return read_item(self.folder, item)


@dataclass(frozen=True)
class _Drawn:
    style: str
    seed: int
    size: tuple[int, int]

    def __call__(self, item: SampleSource) -> Pixels:
        def draw() -> Pixels:
            drawn = simulate(int(item.name), seed=self.seed, style=self.style, size=self.size)
            return drawn.image, drawn.labels, dict(drawn.meta)

        about = {"name": item.name, "seed": self.seed, "style": self.style, "size": self.size}
        image, labels, meta = kept(draw, **about)
        return image, labels, {**item.meta, **meta}


@dataclass(frozen=True)
class _Fingerprint:
    """Hash of what is known about the data; of the files themselves where nothing is known."""

    known: tuple[str, ...]
    items: tuple[SampleSource, ...]
    folder: Path | None = None

    def __call__(self) -> str:
        what: list[Any] = [*self.known, describe(self.items)]
        if self.folder is not None:
            used = sorted({p for item in self.items for p in (item.image, *item.truth)})
            what.append([[path, _sha256(self.folder / path)] for path in used])
        return digest(what, digits=64)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(items: Iterable[SampleSource]) -> list[Any]:
    """Return items as JSON values."""
    return [
        [i.name, i.split, i.image, list(i.truth), i.kind, dict(i.meta), dict(i.options)]
        for i in items
    ]


def _open(name: str, root: str | Path | None) -> Opened:
    return KINDS[_kind(name)](name, root)


def _kind(name: str) -> str:
    """Return which kind of dataset a name asks for, a key of `KINDS`."""
    first, _, rest = name.partition(":")
    if first == "folder" and ("+" not in name or Path(rest).expanduser().exists()):
        return "folder"
    if first == "patches" or "+" in name:
        return "patches" if first == "patches" else "joined"
    return "simulated" if manifest(first).layout == "simulated" else "downloaded"


def _open_patches(name: str, root: str | Path | None) -> Opened:
    number, of = split_name(name.partition(":")[2])
    return open_patches(name, number, _open(of, root))


@dataclass(frozen=True)
class _Joined:
    """Reads and fingerprints several datasets as one; an item knows the place of its dataset."""

    parts: tuple[Opened, ...]

    def __call__(self, item: SampleSource) -> Pixels:
        info, _, read, _ = self.parts[item.options["part"]]
        image, labels, meta = read(item.options["item"])
        return image, labels, meta | {"part": info.name}

    def identify(self) -> str:
        return digest([identify() for _, _, _, identify in self.parts], digits=64)


def _open_joined(name: str, root: str | Path | None) -> Opened:
    names = name.split("+")
    if len(set(names)) != len(names) or not all(names):
        raise InputError(f"dataset {name!r}: expected different names joined by +")
    joined = _Joined(tuple(_open(part, root) for part in names))
    items = tuple(
        replace(item, name=f"{info.name}/{item.name}", options={"part": place, "item": item})
        for place, (info, its, _, _) in enumerate(joined.parts)
        for item in its
    )
    licences = sorted({info.licence for info, *_ in joined.parts})
    info = Manifest(
        name=name,
        title=" and ".join(info.title for info, *_ in joined.parts),
        layout="joined",
        split=RULE,
        licence="; ".join(licences),
    )
    return replace(info, images=len(items)), items, joined, joined.identify


def _open_folder(name: str, root: str | Path | None) -> Opened:
    path = name.partition(":")[2]
    if not path:
        raise InputError("dataset 'folder:': expected a path after the colon, as in folder:my-data")
    folder = Path(os.path.expanduser(path))
    info = Manifest(name=name, title="Folder of images", layout="folder", split=RULE, licence="")
    items = tuple(scan_folder(folder, info))
    info = replace(info, images=len(items))
    return info, items, _FromDisk(folder), _Fingerprint((), items, folder)


def _open_simulated(name: str, root: str | Path | None) -> Opened:
    first, _, style = name.partition(":")
    info = manifest(first)
    named = style or info.options["style"]
    check_style(named)
    size = info.options["size_of"].get(named, info.options["size"])
    # what another style looks like is no part of this one's identity
    options = {"style": named, "seed": info.options["seed"], "size": size}
    name = info.name if named == info.options["style"] else f"{info.name}:{named}"
    info = replace(info, name=name, options=options)
    assert info.images is not None
    names = [f"{index:04d}" for index in range(info.images)]
    rule = info.split
    part = seeded_split(names, seed=rule.seed, val=rule.val, test=rule.test)
    items = tuple(SampleSource(n, part[n], "", (), "drawn") for n in names)
    read = _Drawn(named, info.options["seed"], tuple(size))
    return info, items, read, _Fingerprint((info.identity,), items)


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
    items, archives = stored_items(folder, info)
    return info, items, _FromDisk(folder), _Fingerprint((info.identity, *archives), tuple(items))


KINDS: Registry[Callable[[str, str | Path | None], Opened]] = Registry(
    "kind of dataset",
    {
        "simulated": _open_simulated,
        "downloaded": _open_downloaded,
        "folder": _open_folder,
        "patches": _open_patches,
        "joined": _open_joined,
    },
)


def entries_of(name: str) -> dict[str, set[str]]:
    """Return what a dataset uses of the registries that its name chooses from.

    By the kind of the registry, as `fingerprint.closure` takes it.

    Examples
    --------
    >>> used = entries_of("patches:5:simulated+folder:cells")
    >>> sorted(used["kind of dataset"]), used["style"], used["layout"]
    (['folder', 'joined', 'patches', 'simulated'], {'fnc-yellow'}, set())
    """
    kind, (first, _, rest) = _kind(name), name.partition(":")
    used: dict[str, set[str]] = {"kind of dataset": {kind}, "style": set(), "layout": set()}
    if kind == "simulated":
        used["style"] = {rest or manifest(first).options["style"]}
    elif kind == "downloaded":
        used["layout"] = {manifest(first).layout}
    parts_of = {"patches": lambda: [split_name(rest)[1]], "joined": lambda: name.split("+")}
    for part in map(entries_of, parts_of.get(kind, list)()):
        used = {registry: names | part[registry] for registry, names in used.items()}
    return used
