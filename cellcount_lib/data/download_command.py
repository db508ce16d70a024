"""The command ``cellcount download`` = ``python data_download.py``."""

from pathlib import Path
from typing import Annotated

import typer

from cellcount_lib.errors import InputError


def download_command(
    name: Annotated[str | None, typer.Argument(help="Name of the dataset, see --list.")] = None,
    root: Annotated[
        Path | None,
        typer.Option(help="Folder of the datasets (default: CELLCOUNT_DATA, else data/)."),
    ] = None,
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

    An interrupted download goes on where it stopped: give the same command again.
    The dataset's folder appears when all of it is there, checked and unpacked.
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
    from cellcount_lib.data.download import catalogue

    rows = [("name", "images", "download", "licence", "checksum", "state")]
    for row in catalogue(root):
        size = f"{row.download_mb:.0f} MB" if row.download_mb else ""
        images = "" if row.images is None else str(row.images)
        rows.append((row.name, images, size, row.licence, row.checksum, row.state))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for line in rows:
        typer.echo("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip())


def main() -> None:
    """Run the command on its own; errors are one sentence and exit code 1."""
    import sys

    from cellcount_lib.errors import CellcountError

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(download_command)
    try:
        app()
    except CellcountError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
