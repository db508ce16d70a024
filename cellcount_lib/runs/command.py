"""The commands ``cellcount run``, ``cellcount status`` and ``cellcount execute``."""

import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellcount_lib.data.download_command import Root

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tqdm import tqdm

    from cellcount_lib.runs.grid import Grid
    from cellcount_lib.runs.status import State

GridName = Annotated[str, typer.Argument(help="Name of a grid in experiments/, or a YAML file.")]
ProfileName = Annotated[str, typer.Option(help="Scale: smoke, laptop, study, gpu, paper.")]
Seeds = Annotated[str | None, typer.Option(help="Seeds separated by commas (default: the grid's).")]
DatasetName = Annotated[
    str | None,
    typer.Option(help="Dataset (default: the grid's); OLD=NEW replaces a part of every name."),
]
Scale = Annotated[
    float | None,
    typer.Option(help="Scale at which networks see pictures (default: the profile's)."),
]
Rows = Annotated[
    str | None, typer.Option(help="Only rows with one of these words, separated by commas.")
]
RunsDir = Annotated[
    Path | None, typer.Option(help="Folder of the runs (default: CELLCOUNT_RUNS, else runs/).")
]


def run_command(
    grid: GridName,
    profile: ProfileName = "laptop",
    seeds: Seeds = None,
    dataset: DatasetName = None,
    scale: Scale = None,
    rows: Rows = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Runs at a time (default: 1; with --slurm, as its settings say)."),
    ] = None,
    slurm: Annotated[
        Path | None,
        typer.Option(help="Submit to SLURM with the settings in this folder (workflow/slurm)."),
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Also run again what is stale.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would run.")] = False,
    runs_dir: RunsDir = None,
    root: Root = None,
) -> None:
    """Run what is missing of a grid, or has failed. Interrupted runs go on where they stopped.

    Runs start in the order of the rows; in a log, each writes a line when it ends. Give the same
    command again after any interruption. A run that fails stops no other; the exit code is then 1.
    """
    from tqdm import tqdm

    from cellcount_lib.progress import watched
    from cellcount_lib.runs.launch import snakemake, to_do, write_plan
    from cellcount_lib.runs.status import count

    table = _grid(grid, profile, seeds, dataset, scale, rows)
    folder = runs_folder(runs_dir, profile)
    states = _states(table, folder, root)
    chosen = to_do(states, refresh=refresh)
    stale = count(states)["stale"]
    if not refresh and stale:
        typer.echo(f"{stale} runs are stale; --refresh runs them again (cellcount status {grid})")
    if dry_run:
        for state in chosen:
            typer.echo(f"would run {state.run.id} ({state.why})")
        typer.echo(f"{len(chosen)} of {len(states)} to run")
        return
    if chosen:
        plan = write_plan(chosen, folder, root=root)
        with tqdm(total=len(chosen), unit="run", disable=not watched()) as bar:
            stop = _follow([s.folder for s in chosen], bar)
            try:
                code = snakemake(plan, jobs=jobs, slurm=slurm)
            finally:
                stop()
        states = _states(table, folder, root)
        if code and count(states)["missing"]:
            log = plan.with_suffix(".log")
            typer.echo(f"Snakemake ended with code {code}; the end of {log}:", err=True)
            typer.echo("\n".join(log.read_text().splitlines()[-15:]), err=True)
    for state in states:
        if state.state in ("failed", "missing"):
            typer.echo(f"{state.state}: {state.run.id}: {state.why}", err=True)
    typer.echo(_line(states))
    if any(state.state in ("failed", "missing") for state in states):
        raise typer.Exit(1)


def status_command(
    grid: GridName,
    profile: ProfileName = "laptop",
    seeds: Seeds = None,
    dataset: DatasetName = None,
    scale: Scale = None,
    rows: Rows = None,
    runs_dir: RunsDir = None,
    root: Root = None,
    everything: Annotated[bool, typer.Option("--all", help="List the done ones, too.")] = False,
) -> None:
    """Show which runs of a grid are done, kept, stale, failed or missing, and why.

    A kept run is not on this machine, but its committed notebook is current.
    """
    table = _grid(grid, profile, seeds, dataset, scale, rows)
    states = _states(table, runs_folder(runs_dir, profile), root)
    for state in states:
        if everything or state.state not in ("done", "kept"):
            typer.echo(f"{state.state:<8}{state.run.id}  ({state.why})")
    typer.echo(_line(states))


def execute_command(
    plan: Annotated[Path, typer.Argument(help="Written by cellcount run.")],
    name: Annotated[str, typer.Argument(help="Id of the run.")],
) -> None:
    """Execute one run of a plan (what Snakemake calls)."""
    from cellcount_lib.runs.execute import main

    raise typer.Exit(main(plan, name))


def runs_folder(given: Path | None, profile: str) -> Path:
    """Return the folder of a profile's runs."""
    base = given or Path(os.environ.get("CELLCOUNT_RUNS") or "runs")
    return base.expanduser().resolve() / profile


def parse_seeds(text: str | None) -> "Sequence[int] | None":
    """Read ``--seeds``.

    Examples
    --------
    >>> parse_seeds("0,5,25")
    [0, 5, 25]
    """
    from cellcount_lib.errors import InputError

    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--seeds: expected numbers as in 0,5,25, found {text!r}") from None


def _grid(
    grid: str,
    profile: str,
    seeds: str | None,
    dataset: str | None,
    scale: float | None,
    rows: str | None = None,
) -> "Grid":
    from cellcount_lib.runs.grid import load_grid
    from cellcount_lib.training.profiles import PROFILES

    PROFILES[profile]
    seeds_ = parse_seeds(seeds)
    table = load_grid(grid, profile=profile, seeds=seeds_, dataset=dataset, scale=scale)
    return table.only(rows.split(",")) if rows else table


def _states(grid: "Grid", folder: Path, root: Path | None) -> "list[State]":
    from cellcount_lib.runs.status import kept_notebooks, states

    return states(grid.runs, folder, root=root, kept=kept_notebooks(folder.name))


def _line(states: "Sequence[State]") -> str:
    from cellcount_lib.runs.status import count

    parts = ", ".join(f"{number} {state}" for state, number in count(states).items())
    return f"{len(states)} runs: {parts}"


def _follow(folders: "list[Path]", bar: "tqdm[Any]") -> "Callable[[], None]":
    """Follow records as they appear, by a bar or in a log by lines; return what stops that."""
    import threading

    from cellcount_lib.records import RECORD

    over = threading.Event()
    waiting = list(folders)

    def look() -> None:
        for folder in [f for f in waiting if (f / RECORD).exists()]:
            waiting.remove(folder)
            bar.update()
            if bar.disable:
                done = len(folders) - len(waiting)
                typer.echo(f"{datetime.now():%H:%M} {done} of {len(folders)}: {_ended(folder)}")
                sys.stdout.flush()

    def watch() -> None:
        while not over.wait(0.5):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()

    def stop() -> None:
        over.set()
        thread.join()
        look()

    return stop


def _ended(folder: Path) -> str:
    """Say in a line how a run has ended."""
    from cellcount_lib.records import RECORD, read_record

    record = read_record(folder / RECORD)
    score = f", F1 {record.scores['f1']:.3f}" if "f1" in record.scores else ""
    return f"{folder.name}: {record.status}{score}, {record.seconds.get('total', 0):.0f} s"
