"""The command ``cellcount tables``."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellcount_lib.runs.command import (
    DatasetName,
    ProfileName,
    Root,
    RunsDir,
    Scale,
    Seeds,
    parse_seeds,
    runs_folder,
)

if TYPE_CHECKING:
    from cellcount_lib.runs.grid import Grid
    from cellcount_lib.tables.collect import Results


def tables_command(
    grid: Annotated[str | None, typer.Argument(help="Name of a grid, or a YAML file.")] = None,
    profile: ProfileName = "laptop",
    seeds: Seeds = None,
    dataset: DatasetName = None,
    scale: Scale = None,
    runs_dir: RunsDir = None,
    root: Root = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("results"),
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Make the table with cells that say 'missing'.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compute the committed tables again and compare.")
    ] = False,
    render: Annotated[
        bool, typer.Option("--render", help="Make the committed tables again from their CSV files.")
    ] = False,
) -> None:
    """Collect the records of a grid and make its table: tidy CSV, Markdown, HTML and LaTeX.

    With --verify or --render nothing is collected. --verify computes again what lies in the results
    and compares; the exit code is 1 if anything differs. Rows that were made by other code than
    there is now are listed as stale, with the definitions that differ. --render writes Markdown,
    HTML and LaTeX again.
    """
    from cellcount_lib.errors import DataError, InputError
    from cellcount_lib.files import write_whole
    from cellcount_lib.runs.grid import load_grid
    from cellcount_lib.tables.collect import (
        collect,
        keep_notebooks,
        public_name,
        read_results,
        write_results,
    )
    from cellcount_lib.tables.render import tables, to_markdown
    from cellcount_lib.tables.verify import published

    if verify and render:
        raise InputError("give --verify or --render: what is rendered first cannot differ")
    if verify:
        _verify(grid, out)
        return
    if render:
        _render(grid, out)
        return
    if grid is None:
        raise InputError("give the name of a GRID, --verify or --render")
    made = load_grid(grid, profile=profile, seeds=parse_seeds(seeds), dataset=dataset, scale=scale)
    results = collect(made, runs_folder(runs_dir, profile), root=root)
    if results.missing and not allow_missing:
        few = "\n  ".join(results.missing[:5])
        more = f"\n  and {len(results.missing) - 5} more" if len(results.missing) > 5 else ""
        raise DataError(
            f"{len(results.missing)} runs of {made.name} are not there:\n  {few}{more}\n"
            f"run them: cellcount run {grid} --profile {profile}; or give --allow-missing"
        )
    if len(results.runs) == 0:
        raise DataError(f"no run of {made.name} is there; run them: cellcount run {grid}")
    folder = out / profile
    write_results(results, folder, made.name)
    # From here on what was written, as whoever verifies it later will read it.
    results = replace(read_results(folder, made.name), missing=results.missing)
    kept = keep_notebooks(made, runs_folder(runs_dir, profile), folder / "notebooks" / made.name)
    _write(made, results, folder)
    plan = {
        "grid": str(grid),
        "seeds": parse_seeds(seeds),
        "dataset": dataset and public_name(dataset),
        "scale": scale,
        "missing": results.missing,
        "columns": dict(made.columns),
        "published": published(made),
    }
    write_whole(folder / f"{made.name}.json", json.dumps(plan) + "\n")
    typer.echo(to_markdown(tables(made, results)))
    typer.echo(f"{folder / made.name}.csv, .md, .html, .tex and {kept} notebooks")


def _write(made: "Grid", results: "Results", folder: Path) -> None:
    from cellcount_lib.files import write_whole
    from cellcount_lib.tables.render import FORMATS, tables
    from cellcount_lib.tables.verify import notebook_place

    found = tables(made, results, notebook=notebook_place(made.name))
    for extension, write in FORMATS.items():
        write_whole(folder / f"{made.name}.{extension}", write(found))


def _plans(grid: str | None, out: Path) -> Iterator[tuple[Path, Mapping[str, Any], "Grid"]]:
    """Go through the collected tables: folder, plan and grid; at least one, or it is an error."""
    from cellcount_lib.errors import DataError
    from cellcount_lib.tables.verify import planned

    looked = 0
    for path in sorted(out.glob("*/*.json")):
        plan = json.loads(path.read_text())
        if grid is None or plan["grid"] == grid:
            looked += 1
            yield path.parent, plan, planned(plan, path.parent.name)
    if not looked:
        raise DataError(f"{out}: expected collected tables, found none")


def _render(grid: str | None, out: Path) -> None:
    from cellcount_lib.tables.collect import read_results

    for folder, plan, made in _plans(grid, out):
        _write(made, replace(read_results(folder, made.name), missing=plan["missing"]), folder)
        typer.echo(f"{folder / made.name}.md, .html and .tex")


def _verify(grid: str | None, out: Path) -> None:
    from cellcount_lib.tables.stale import stale_lines
    from cellcount_lib.tables.verify import differences, read_results

    wrong, looked, rows, stale = [], 0, 0, 0
    for folder, plan, made in _plans(grid, out):
        name = f"{folder.name}/{made.name}"
        wrong += [f"{name}: {text}" for text in differences(made, folder, missing=plan["missing"])]
        runs = read_results(folder, made.name).runs.to_dict("records")
        lines = list(stale_lines(runs, folder / "notebooks" / made.name))
        for line in lines:
            typer.echo(f"{name}: stale: {line}")
        looked, rows, stale = looked + 1, rows + len(runs), stale + len(lines)
    for text in wrong:
        typer.echo(text, err=True)
    typer.echo(f"{looked} tables, {len(wrong)} differences; {stale} of {rows} rows are stale")
    if wrong:
        raise typer.Exit(1)
