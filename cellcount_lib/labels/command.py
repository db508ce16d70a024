"""The command ``cellcount labels convert``."""

from pathlib import Path
from typing import Annotated

import typer

labels_app = typer.Typer(
    help="Labels of other programs, in and out.", no_args_is_help=True, add_completion=False
)


@labels_app.callback()
def labels() -> None:
    """Labels of other programs, in and out."""


@labels_app.command("convert")
def convert_command(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="File, or folder of files, of labels.")
    ],
    out: Annotated[
        Path,
        typer.Argument(help="File; or folder, where a format has one file for every picture."),
    ],
    from_: Annotated[
        str | None, typer.Option("--from", help="Format of IN (default: as it looks).")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            help="Format of OUT (default: by its name): tiff, via, label-studio, "
            "label-studio-brush, coco, coco-polygons, cellpose, geojson, imagej.",
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Folder of the pictures: for outlines without the size of theirs."),
    ] = None,
) -> None:
    """Convert labels between VIA, Label Studio, COCO, cellpose, QuPath, ImageJ and label images."""
    from cellcount_lib.errors import InputError
    from cellcount_lib.labels.formats import FORMATS, read, recognised, write
    from cellcount_lib.labels.labelled import Pictures

    if to is None and out.suffix.lower() == ".json":
        raise InputError(f"{out}: several formats are JSON; say which with --to")
    target = to or recognised(out)
    FORMATS[target]  # an unknown name ends here, before anything is read
    found = read(source, from_, Pictures(pictures))
    written = write(found, out, target)
    cells = sum(len(set(one.labels[one.labels > 0].tolist())) for one in found)
    place = written[0] if len(written) == 1 else f"{len(written)} files in {out}"
    typer.echo(f"{cells} objects of {len(found)} pictures: {place}")
    if overlap := sum(one.overlap for one in found):
        typer.echo(f"{overlap} pixels were in several objects; the last of them has them", err=True)
