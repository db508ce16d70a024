"""The command ``cellcount tables``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cellcount_lib.runs.command import (
    DatasetName,
    ProfileName,
    Root,
    Rows,
    RunsDir,
    Scale,
    Seeds,
    parse_seeds,
    runs_folder,
)


def tables_command(
    grid: Annotated[str | None, typer.Argument(help="Name of a grid, or a YAML file.")] = None,
    profile: ProfileName = "laptop",
    seeds: Seeds = None,
    dataset: DatasetName = None,
    scale: Scale = None,
    rows: Rows = None,
    runs_dir: RunsDir = None,
    root: Root = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("results"),
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Make the table with cells that say 'missing'.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compute the committed tables again and compare.")
    ] = False,
    rescore: Annotated[
        bool,
        typer.Option(
            "--rescore",
            help="With --verify: score every picture of baselines and controls again, not one.",
        ),
    ] = False,
    render: Annotated[
        bool, typer.Option("--render", help="Make the committed tables again from kept notebooks.")
    ] = False,
) -> None:
    """Collect the records of a grid and make its table: tidy CSV, Markdown, HTML and LaTeX.

    With --rows, other rows of a table that is there stay as they are.

    With --verify or --render nothing is collected. --verify makes all files of the tables again
    from the kept notebooks of their runs, compares these with themselves and with each other, and
    scores a picture of every baseline and control again; the exit code is 1 if anything differs.
    Rows that were made by other code than there is now are listed as stale, with the definitions
    that differ. --render writes what --verify expects.
    """
    from cellcount_lib.errors import DataError, InputError
    from cellcount_lib.runs.grid import load_grid
    from cellcount_lib.runs.status import RUNS, kept_notebooks, states
    from cellcount_lib.tables.collect import again, collect
    from cellcount_lib.tables.formats import to_markdown
    from cellcount_lib.tables.kept import keep, public_name, records_in
    from cellcount_lib.tables.render import tables
    from cellcount_lib.tables.write import among_others, write

    if verify and render:
        raise InputError("give --verify or --render: what is rendered first cannot differ")
    if rescore and not verify:
        raise InputError("--rescore: expected --verify with it")
    if verify:
        _verify(grid, out, everything=rescore)
        return
    if render:
        _render(grid, out)
        return
    if grid is None:
        raise InputError("give the name of a GRID, --verify or --render")
    asked: dict[str, Any] = {"seeds": parse_seeds(seeds), "dataset": dataset, "scale": scale}
    made = load_grid(grid, profile=profile, **asked)
    asked |= {"grid": str(grid), "dataset": dataset and public_name(dataset)}
    whole, folder = made, out / profile
    if rows:
        asked["rows"] = rows.split(",")
        made = whole.only(asked["rows"])
    runs, kept = runs_folder(runs_dir, profile), kept_notebooks(profile)
    found = states(made.runs, runs, root=root, kept=kept)
    results = collect(made, found)
    if rows:
        made, results, asked = among_others(whole, results, asked, folder)
    if results.missing and not allow_missing:
        few = "\n  ".join(results.missing[:5])
        more = f"\n  and {len(results.missing) - 5} more" if len(results.missing) > 5 else ""
        raise DataError(
            f"{len(results.missing)} runs of {made.name} are not there:\n  {few}{more}\n"
            f"run them: cellcount run {grid} --profile {profile}; or give --allow-missing"
        )
    if len(results.runs) == 0:
        raise DataError(f"no run of {made.name} is there; run them: cellcount run {grid}")
    changed = list(keep(found, kept, folder))
    results = again(results, records_in(folder))
    write(made, results, asked, folder)
    typer.echo(to_markdown(tables(made, results)))
    typer.echo(
        f"{folder / made.name}.csv, .json, .md, .html and .tex; notebooks in {folder / RUNS}"
    )
    _render(None, out, of=changed)


def _render(grid: str | None, out: Path, *, of: Sequence[str] | None = None) -> None:
    """Write tables again from their kept notebooks: all, or those with one of some runs."""
    from cellcount_lib.tables.collect import read_results
    from cellcount_lib.tables.kept import records_in
    from cellcount_lib.tables.write import made_again, plans, write

    for folder, plan, made in plans(grid, out):
        if of is None or set(of) & set(read_results(folder, made.name).runs["run"]):
            write(made, made_again(made, plan, folder, records_in(folder)), plan, folder)
            typer.echo(f"{folder / made.name}.csv, .json, .md, .html and .tex written again")


def _verify(grid: str | None, out: Path, *, everything: bool) -> None:
    from itertools import groupby

    from cellcount_lib.tables.collect import read_results
    from cellcount_lib.tables.kept import place, records_in
    from cellcount_lib.tables.rescore import rescored_in
    from cellcount_lib.tables.stale import stale, stale_lines
    from cellcount_lib.tables.verify import differences, notebook_differences
    from cellcount_lib.tables.write import plans

    wrong, looked, rows, old = [], 0, 0, 0
    for folder, those in groupby(plans(grid, out), key=lambda plan: plan[0]):
        records = records_in(folder)
        changed = stale(folder, records)
        wrong += [f"{folder.name}/{text}" for text in notebook_differences(folder, records)]
        for run, found in rescored_in(folder, records, everything=everything).items():
            if changed.get(run):
                changed[run] = [f"its scores ({found[0]})", *changed[run]]
            else:
                wrong += [f"{folder.name}/{place(run)}: {text}" for text in found]
        for _, plan, made in those:
            differ = differences(made, plan, folder, records)
            wrong += [f"{folder.name}/{text}" for text in differ]
            runs = read_results(folder, made.name).runs.to_dict("records")
            lines = list(stale_lines(made, runs, changed, records))
            for line in lines:
                typer.echo(f"{folder.name}/{made.name}: stale: {line}")
            looked, rows, old = looked + 1, rows + len(runs), old + len(lines)
    for text in wrong:
        typer.echo(text, err=True)
    typer.echo(f"{looked} tables, {len(wrong)} differences; {old} of {rows} rows are stale")
    if wrong:
        raise typer.Exit(1)
