"""The ``cellcount`` command.

Every subcommand imports what it needs when it runs, so that ``cellcount --help`` answers at once.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cellcount_lib.data.download_command import Root
from cellcount_lib.errors import CellcountError, InputError

TRAIN = (
    "fastai",
    "kneed",
    "kornia",
    "matplotlib",
    "safetensors",
    "schedulefree",
    "seaborn",
    "torch",
)
RUN = ("jsonschema", "nbclient", "nbformat", "papermill", "snakemake")
SERVE = ("argon2", "fastapi", "fastapi_offline", "uvicorn")
EXTRAS = (
    dict.fromkeys(TRAIN, "train")
    | dict.fromkeys(RUN, "run")
    | dict.fromkeys(SERVE, "serve")
    | {"onnx": "export"}
)
"""Packages that some commands need, and the extra of `pyproject.toml` that installs them."""

app = typer.Typer(
    name="cellcount",
    help="Count cells in fluorescence microscopy by segmentation: the commands behind the book.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def doctor(root: Root = None) -> None:
    """Show this machine, the packages, the datasets, and what is missing for which job."""
    from cellcount_lib.data.download import data_root
    from cellcount_lib.doctor import report

    for title, lines in report(data_root(root)):
        typer.echo(f"\n{title}")
        width = max((len(name) for name, _ in lines), default=0)
        for name, value in lines:
            typer.echo(f"  {name:<{width}}  {value}")


@app.command("simulate")
def simulate_command(
    out: Annotated[
        Path | None,
        typer.Argument(help="Folder to write: images/, labels/, index.csv. It must not exist."),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Number of images.")] = 10,
    style: Annotated[
        str, typer.Option(help="fnc-yellow, nuclei (four faces in turn), simcep, ...")
    ] = "fnc-yellow",
    seed: Annotated[int, typer.Option(min=0, help="Seed; the same seed gives the same bytes.")] = 0,
    height: Annotated[int, typer.Option(min=32, help="Height in pixels.")] = 1200,
    width: Annotated[int, typer.Option(min=32, help="Width in pixels.")] = 1600,
    report: Annotated[
        bool, typer.Option("--report", help="Compare 283 images with the published data (minutes).")
    ] = False,
    tables: Annotated[
        Path | None,
        typer.Option(
            help="With --report: write calibration.csv and difficulty.csv to this folder."
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes to use (default: all cores).")
    ] = None,
) -> None:
    """Draw simulated pictures with labels, or report how close the simulator is to the real data.

    The folder is a dataset: load it as folder:OUT.
    """
    if report == (out is not None):
        raise InputError("give either a folder to write or --report")
    if out is None:
        from cellcount_lib.methods.calibration import write_report
        from cellcount_lib.methods.difficulty import write_difficulty

        write_report(tables and tables / "calibration.csv", jobs=jobs, seed=seed)
        write_difficulty(tables and tables / "difficulty.csv", jobs=jobs)
        return
    from cellcount_lib.data.folder import write_simulated

    write_simulated(out, n=n, style=style, seed=seed, size=(height, width))
    typer.echo(f"wrote {n} images to {out}; load them as folder:{out}")


@app.command("export")
def export_command(
    model: Annotated[str, typer.Argument(help="A safetensors file, or the name of a model.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write (default: model.onnx, .pt or .zip).")
    ] = None,
    format: Annotated[
        str,
        typer.Option(
            help="onnx (for `cellcount predict` and others), torchscript, or bioimageio (a package "
            "for QuPath, deepImageJ and others)."
        ),
    ] = "onnx",
    mirrored: Annotated[
        bool,
        typer.Option(
            "--mirrored",
            help="onnx: `cellcount predict` is to average over a picture and its mirror images.",
        ),
    ] = False,
    license: Annotated[
        str | None, typer.Option(help="bioimageio: licence of the weights, such as CC-BY-4.0.")
    ] = None,
) -> None:
    """Write a trained model in a format that runs without this project."""
    from cellcount_lib.errors import unknown_name

    kinds = {"onnx": ".onnx", "torchscript": ".pt", "bioimageio": ".zip"}
    if format not in kinds:
        raise unknown_name("format", format, kinds)
    if mirrored and format != "onnx":
        raise InputError("--mirrored: only a file of the format onnx can say it")
    if license is not None and format != "bioimageio":
        raise InputError("--license: only a package of the format bioimageio says it")
    from cellcount_lib.inference.export import export_onnx, export_torchscript
    from cellcount_lib.inference.model_file import load_model

    trained, path = load_model(model), out or Path("model" + kinds[format])
    if format == "onnx":
        export_onnx(trained, path, mirrored=mirrored)
    elif format == "torchscript":
        export_torchscript(trained, path)
    else:
        from cellcount_lib.inference.package import export_package

        export_package(trained, path, name=Path(model).stem, licence=license)
    typer.echo(f"wrote {path}, {path.stat().st_size / 1e6:.1f} MB")
    if format == "onnx":
        typer.echo(f"use it: cellcount predict PICTURES --model {path} --out DIR")


@app.command()
def exercises(
    chapters: Annotated[
        list[Path] | None, typer.Argument(help="Notebooks (default: all in chapters/).")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("exercises"),
    solutions: Annotated[
        bool, typer.Option("--solutions", help="Also write the copies with solutions.")
    ] = False,
) -> None:
    """Write the exercises of the chapters as notebooks to hand out."""
    from cellcount_lib.runs.grid import project
    from cellcount_lib.teaching.exercises import HEADING, write_exercises

    for path in chapters or sorted((project() / "chapters").glob("*.ipynb")):
        if not path.exists():
            raise InputError(f"{path}: expected a notebook, found nothing there")
        if chapters or f'"{HEADING}' in path.read_text():
            for written in write_exercises(path, out, solutions=solutions):
                typer.echo(written)


def register() -> None:
    """Add the commands whose code lives beside what they command."""
    from cellcount_lib.data.download_command import download_command
    from cellcount_lib.labels.command import labels_app
    from cellcount_lib.prediction.command import calibrate_command, predict_command
    from cellcount_lib.reporting.command import report_app
    from cellcount_lib.runs.command import execute_command, run_command, status_command
    from cellcount_lib.service.command import serve_command
    from cellcount_lib.tables.command import tables_command
    from cellcount_lib.training.command import train_command

    app.command("download")(download_command)
    app.command("train")(train_command)
    app.command("predict")(predict_command)
    app.command("calibrate")(calibrate_command)
    app.add_typer(labels_app, name="labels")
    app.add_typer(report_app, name="report")
    app.command("run")(run_command)
    app.command("status")(status_command)
    app.command("serve")(serve_command)
    app.command("tables")(tables_command)
    app.command("execute", hidden=True)(execute_command)


register()


def main() -> None:
    """Run the command; an error that a person can act on becomes one sentence and exit code 1."""
    try:
        app(standalone_mode=True)
    except ModuleNotFoundError as error:
        if (package := (error.name or "").split(".")[0]) not in EXTRAS:
            raise
        install = f"pip install 'cellcount-book[{EXTRAS[package]}]'"
        typer.echo(f"error: this needs {package}: {install}", err=True)
        sys.exit(1)
    except CellcountError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
