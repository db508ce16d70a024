"""The command ``cellcount download``; ``python data_download.py`` does the same."""

from pathlib import Path
from typing import Annotated

import typer

from cellcount_lib.errors import InputError

Root = Annotated[
    Path | None,
    typer.Option(help="Folder of the datasets (default: CELLCOUNT_DATA, else data/)."),
]


def download_command(
    name: Annotated[str | None, typer.Argument(help="Name of the dataset, see --list.")] = None,
    root: Root = None,
    mirror: Annotated[
        str | None,
        typer.Option(
            help="Folder or URL that has the files, as MIRROR/NAME/FILE or MIRROR/FILE "
            "(default: CELLCOUNT_MIRROR, else the publisher)."
        ),
    ] = None,
    show: Annotated[
        bool, typer.Option("--list", help="List the datasets with size, licence and state.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check every file of a downloaded dataset.")
    ] = False,
) -> None:
    """Download a dataset, or check one that is there.

    To continue an interrupted download, give the same command again.
    The dataset's folder appears once it is complete, checked and unpacked.
    """
    from cellcount_lib.data import download as data

    if show:
        _print_list(root)
    elif name is None:
        raise InputError("give the NAME of a dataset, or --list to see them")
    elif verify:
        data.verify(name, root=root)
    else:
        typer.echo(data.download(name, root=root, mirror=mirror))


def _print_list(root: Path | None) -> None:
    from cellcount_lib.data.download import present
    from cellcount_lib.data.manifest import manifest

    rows = [("name", "images", "download", "licence", "checksum", "state")]
    for name, state in present(root).items():
        info = manifest(name)
        size = f"{info.download_mb:.0f} MB" if info.download_mb else ""
        images = "" if info.images is None else str(info.images)
        rows.append((name, images, size, info.licence, info.checksum, state))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for line in rows:
        typer.echo("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip())
