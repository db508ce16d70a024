"""The command ``cellcount predict``."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def predict_command(
    paths: Annotated[
        list[str], typer.Argument(help="Pictures, folders of pictures, or globs in quotes.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the results.")],
    model: Annotated[
        str,
        typer.Option(
            help="auto (what suits a picture), nuclei-flows, neurons, otsu-watershed, ..., a file."
        ),
    ] = "auto",
    channels: Annotated[
        str | None,
        typer.Option(
            "--channels",
            "--channel",
            help="Channel to use, counted from 1, or three for red, green, blue (0: black).",
        ),
    ] = None,
    project: Annotated[
        str | None,
        typer.Option(help="max: count a stack once, by its largest values along the depth."),
    ] = None,
    pixel_size: Annotated[
        float | None,
        typer.Option(
            help="Micrometres per pixel (default: as the file says, else as in training)."
        ),
    ] = None,
    cell_size: Annotated[
        str,
        typer.Option(
            help="Width of a typical cell in pixels; auto: estimated in every picture; or a CSV "
            "file with columns image and cell_px."
        ),
    ] = "auto",
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Cutoff (default: the model's).")
    ] = None,
    protocol: Annotated[str | None, typer.Option(help="Protocol (default: the model's).")] = None,
    geojson: Annotated[bool, typer.Option("--geojson", help="Outlines for QuPath.")] = False,
    rois: Annotated[bool, typer.Option("--rois", help="Outlines for ImageJ (ROI zip).")] = False,
    groups: Annotated[
        str | None,
        typer.Option(
            help="Column of index.csv, which lies with the pictures: counts by its values."
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1, mps, ... (needs torch).")
    ] = None,
    precision: Annotated[
        str, typer.Option(help="fp32, bf16 or fp16; default: fp32 (others need torch).")
    ] = "auto",
) -> None:
    """Count the cells of your own pictures: PNG, JPEG, TIFF, CZI, ND2, LIF; stacks; channels.

    OUT gets counts.csv (one row per picture), objects.csv (one per cell), overlays/ to look at, and
    labels/ (16-bit TIFF: the number of the cell at every pixel). To continue an interrupted
    command, give it again. A picture that cannot be read is reported and has a row, too; the exit
    code is then 1.
    """
    from tqdm import tqdm

    from cellcount_lib.checks import check_positive
    from cellcount_lib.errors import InputError
    from cellcount_lib.machine import cores
    from cellcount_lib.prediction.groups import groups_of, write_groups
    from cellcount_lib.prediction.models import OTSU, open_models
    from cellcount_lib.prediction.reading import check_projection, parse_channels
    from cellcount_lib.prediction.run import Counting, find_pictures, predict_files
    from cellcount_lib.prediction.sizes import parse_cell_size
    from cellcount_lib.progress import watched
    from cellcount_lib.scoring.protocols import protocol as named

    if pixel_size is not None:
        check_positive("--pixel-size", pixel_size)
    width = parse_cell_size(cell_size)
    if model == OTSU and threshold is not None:
        raise InputError(f"--threshold: {OTSU} chooses its own for every picture")
    if protocol is not None:
        named(protocol)
    chosen = parse_channels(channels)
    check_projection(project)
    pictures = find_pictures(paths, out=out)
    group_of = None if groups is None else groups_of([p.path for p in pictures], groups)
    jobs = min(cores(), len(pictures))
    models = open_models(model, device=device, precision=precision, at_once=jobs)
    counting = Counting(
        models=tuple(opened.name for opened in models),
        channels=chosen,
        project=project,
        pixel_size_um=pixel_size,
        cell_px=width,
        threshold=threshold,
        protocol=protocol,
        formats=tuple(f for f, on in (("geojson", geojson), ("rois", rois)) if on),
        precision=precision,
    )
    with tqdm(total=len(pictures), unit="file", disable=not watched()) as bar:
        total = predict_files(
            pictures,
            models,
            counting,
            out,
            jobs=jobs,
            each=lambda text: bar.write(f"skipped: {text}", file=sys.stderr),
            advance=bar.update,  # type: ignore[arg-type]
        )
    done = f"{total.planes} pictures, {total.cells} cells: {out / 'counts.csv'}"
    typer.echo(done + (f" ({total.before} were done before)" if total.before else ""))
    if total.stacks and project is None:
        typer.echo(
            f"{total.stacks} files are stacks; every plane was counted for itself. To count the "
            "largest values along the depth once: --project max"
        )
    if group_of is not None:
        for line in write_groups(out, total.rows, group_of, str(groups)):
            typer.echo(line)
    if total.check:
        typer.echo(f"look at {total.check} of {total.planes} pictures: column 'check' says why")
    if total.failed:
        typer.echo(f"{total.failed} files could not be read; see column 'error'", err=True)
        raise typer.Exit(1)


def calibrate_command(
    counts: Annotated[Path, typer.Argument(help="counts.csv of `cellcount predict`.")],
    truth: Annotated[
        Path, typer.Argument(help="CSV with columns image and count, counted by a person.")
    ],
    out: Annotated[Path, typer.Option(help="CSV to write.")] = Path("intervals.csv"),
    level: Annotated[
        float, typer.Option(help="How often an interval is to hold the true count.")
    ] = 0.9,
) -> None:
    """Put an interval around every count, learned from pictures that a person has counted."""
    from cellcount_lib.files import write_whole
    from cellcount_lib.prediction.intervals import calibrated

    table, number, allowed = calibrated(counts, truth, level=level)
    write_whole(out, table.to_csv(index=False, lineterminator="\n"))
    typer.echo(
        f"intervals at {level:.0%} from {number} pictures: count -+ {allowed:.2f} sqrt(count + 1); "
        f"{out}"
    )
