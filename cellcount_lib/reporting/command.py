"""The commands ``cellcount report``."""

from pathlib import Path
from typing import Annotated

import typer

from cellcount_lib.data.download_command import Root

report_app = typer.Typer(help="Report a run to others.", no_args_is_help=True, add_completion=False)
Runs = Annotated[
    list[Path],
    typer.Argument(
        metavar="RUN...",
        help="Folder of a run or of a training, record.json, or an executed notebook; several are "
        "the seeds of one design.",
    ),
]


@report_app.callback()
def report() -> None:
    """Report a run to others."""


@report_app.command("checklist")
def checklist_command(
    runs: Runs,
    out: Annotated[Path, typer.Option(help="Markdown file to write.")] = Path("checklist.md"),
    unit: Annotated[
        str | None,
        typer.Option(help="Column of index.csv that no two parts may share: animal, slide, day."),
    ] = None,
    counts: Annotated[
        Path | None, typer.Option(help="counts.csv of `cellcount predict` with this model.")
    ] = None,
    intervals: Annotated[
        Path | None, typer.Option(help="intervals.csv of `cellcount calibrate`.")
    ] = None,
    root: Root = None,
) -> None:
    """Write a reporting checklist, filled from a run; what no file can know is left to you."""
    from cellcount_lib.files import write_whole
    from cellcount_lib.reporting.checklist import ASKED, to_markdown
    from cellcount_lib.reporting.evidence import Evidence, read_columns
    from cellcount_lib.reporting.known import read_runs

    evidence = Evidence(
        read_runs(runs),
        root,
        unit,
        None if counts is None else read_columns(counts, "count", "status", "check"),
        None if intervals is None else read_columns(intervals, "count", "low", "high", "truth"),
    )
    text = to_markdown(evidence)
    write_whole(out, text)
    typer.echo(f"{out}: {text.count(ASKED)} items ask for something that no file can know")


@report_app.command("croissant")
def croissant_command(
    folder: Annotated[
        Path, typer.Argument(help="Folder of results, or of labelled pictures with index.csv.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="File to write (default: croissant.json in FOLDER).")
    ] = None,
    license: Annotated[
        str | None, typer.Option(help="Of pictures: address of their licence.")
    ] = None,
) -> None:
    """Describe tables, or labelled pictures, as a Croissant dataset that catalogues can read."""
    import json

    from cellcount_lib.files import write_whole
    from cellcount_lib.reporting.croissant import NAME, of_pictures, of_tables

    pictures = (folder / "index.csv").exists()
    about = of_pictures(folder, licence=license) if pictures else of_tables(folder)
    path = out or folder / NAME
    write_whole(path, json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    typer.echo(f"{path}: {len(about['distribution'])} files, {len(about['recordSet'])} tables")


@report_app.command("crate")
def crate_command(
    run: Annotated[
        Path,
        typer.Argument(help="Folder of a run or of a training, or an executed notebook."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder that becomes the crate (default: that of the run)."),
    ] = None,
) -> None:
    """Make an RO-Crate of a run: its files, what made them when, from what."""
    from cellcount_lib.reporting.crate import write_crate

    typer.echo(write_crate(run, out))
