"""What a grid's tables say: rows of cells, marks and notes, whatever format they are written in."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from cellcount_lib.data.datasets import is_simulated
from cellcount_lib.runs.grid import Grid, Row
from cellcount_lib.scoring.cutoff import NO_KNEE
from cellcount_lib.scoring.letters import SEEDS_FOR_LETTERS
from cellcount_lib.scoring.stats import LEVEL, RESAMPLES, SEEDS_FOR_INTERVAL, Difference
from cellcount_lib.tables.collect import Results, computed_on
from cellcount_lib.tables.compare import summary
from cellcount_lib.tables.formats import Cell, Table

DIGITS = {"mae": 2, "medae": 2, "mpe_percent": 1, "mae_objects": 2}
MISSING = "missing"
FEW_PICTURES = 20
NO_GAIN = "no gain in "  # begins the reason of a training that `training.callbacks.Watch` ended


def tables(
    grid: Grid, results: Results, *, notebook: Callable[[str], str] | None = None
) -> list[Table]:
    """Make the tables of a grid: its first score in full, against the first row, and other scores.

    `notebook` gives the place of a run's executed notebook, for links.
    """
    metrics = list(grid.columns)
    means = summary(results, grid.rows, metrics).set_index("label")
    made = [_main(grid, results, means, metrics[0], notebook)]
    if "difference" in means:
        made.append(_against(grid, means, metrics[0]))
    return made if len(metrics) == 1 else [*made, _others(grid, means, metrics)]


def _main(
    grid: Grid,
    results: Results,
    means: pd.DataFrame,
    metric: str,
    notebook: Callable[[str], str] | None,
) -> Table:
    title = grid.columns[metric]
    header = {
        "published": f"{title}, published",
        "ours": f"{title}, regenerated",
        "interval": f"{round(100 * LEVEL)}% interval, or range",
        "difference": "difference from published",
        "letters": "letters",
        "runs": "runs",
        "pictures": "pictures",
        "collapsed": "collapsed",
        "epochs": "epochs",
        "rate": "learning rate",
        "time": "time",
    }
    trained = {
        "epochs": _trained_with(results, "epochs", ".0f"),
        "rate": _trained_with(results, "lr", ".2g"),
    }
    for name, by_row in trained.items():
        if not by_row:
            del header[name]
    if not any(means["letters"]):
        del header["letters"]
    if not any(metric in row.published for row in grid.rows):
        del header["published"]
        header["ours"] = title
    if not any(metric in row.published and _same_data(grid, row) for row in grid.rows):
        del header["difference"]
    rows = []
    for row in grid.rows:
        values: dict[Any, Any] = means.loc[row.label].to_dict()
        links = _links(results, row.label, notebook)
        shown = _shown(grid, row, values, metric)
        shown |= {name: by_row.get(row.label, "") for name, by_row in trained.items()}
        if marks := [f"{n} {mark}" for mark, n in _doubtful(results, row.label).items() if n]:
            shown["runs"] += f" ({', '.join(marks)})"
        rows.append((Cell(row.label, links), *(Cell(shown.get(name, "")) for name in header)))
    notes = tuple(_notes(grid, results, means, metric))
    return Table(grid.title, ("row", *header.values()), tuple(rows), notes)


def _same_data(grid: Grid, row: Row) -> bool:
    """Whether all runs of a row saw pictures of the dataset that the published values are of."""
    return all(run.parameters.get("dataset") in grid.published_on for run in row.runs)


def _against(grid: Grid, means: pd.DataFrame, metric: str) -> Table:
    first = grid.rows[0].label
    header = ("row", f"{grid.columns[metric]}, difference", "probability of improvement")
    rows = []
    for label, (less, chance) in means[["difference", "improvement"]].iterrows():
        if isinstance(less, Difference):
            difference, low, high = (f"{x:+.{_digits(metric)}f}" for x in less[:3])
            improved = f"{chance.value:.2f} ({chance.low:.2f} to {chance.high:.2f})"
            cells = (str(label), f"{difference} ({low} to {high})", improved)
            rows.append(tuple(Cell(text) for text in cells))
    note = (
        f"With {round(100 * LEVEL)}% intervals, which are not corrected for the number of rows. A "
        "difference is that of the designs: of other trainings and other pictures. The probability "
        "is that a training of the row scores better than one of the first, on these pictures."
    )
    return Table(f"{grid.title}: against {first}", header, tuple(rows), (note,))


ON_AN_EDGE, WITHOUT_KNEE, ELSEWHERE = "†", "‡", "§"
MARKS = {
    ON_AN_EDGE: "runs whose cutoff is the lowest or the highest of its grid, a better one may lie "
    "beyond",
    WITHOUT_KNEE: "runs whose validation curve has no knee, the cutoff is that of its highest F1",
}


def _doubtful(results: Results, label: str | None = None) -> dict[str, int]:
    """Count the runs with a cutoff that a reader should know more of, by mark."""
    runs = results.runs
    if "cutoff_edge" not in runs:  # collected before it was recorded
        return {}
    mine = runs if label is None else runs[runs["label"] == label]
    return {
        ON_AN_EDGE: int((mine["cutoff_edge"] != "").sum()),
        WITHOUT_KNEE: int((mine["cutoff_rule"] == NO_KNEE).sum()),
    }


def _shown(grid: Grid, row: Row, values: Mapping[str, Any], metric: str) -> dict[str, str]:
    """Return what the main table says of a row, by column."""
    theirs = {"published": _published(row.published, metric)}
    failed = int(values["n_failed"])
    if not values["n"]:
        return theirs | {"ours": f"{failed} failed" if failed else MISSING}
    done = f"{int(values['n'])}"
    if not row.trained:
        done += " (not trained)"
    if failed:
        done += f" (+ {failed} failed)"
    if values["n"] + failed < len(row.runs):
        done += f" of {len(row.runs)}"
    pictures = int(values["pictures"])
    ours = {
        "ours": _mean(values[metric], values[f"{metric}_sd"], metric),
        "interval": _interval(row, values, metric),
        "letters": str(values["letters"]),
        "runs": done,
        "pictures": f"{pictures} (few)" if pictures < FEW_PICTURES else f"{pictures}",
        "collapsed": f"{int(values['n_collapsed'])}",
        "time": _time(values["seconds"]),
    }
    if metric in row.published and _same_data(grid, row):
        less = values[metric] - row.published[metric]
        ours["difference"] = f"{less:+.{_digits(metric)}f}"
    return theirs | ours


def _interval(row: Row, values: Mapping[str, Any], metric: str) -> str:
    """Return the interval of a row, or the range of its trainings where these are too few."""
    ends = [_number(values.get(end, float("nan")), metric) for end in ("low", "high")]
    if ends != ["–", "–"]:
        return " to ".join(ends)
    least, most = (_number(values[end], metric) for end in ("least", "most"))
    if not row.trained:
        return "none: one picture"
    return "none: one training" if values["n"] == 1 else f"range {least} to {most}"


def _trained_with(results: Results, column: str, spec: str) -> dict[str, str]:
    """Return rates or epochs of each row's trainings, if they differ in the table."""
    if column not in results.runs or results.runs[column].nunique() < 2:
        return {}
    trained = results.runs.dropna(subset=column).groupby("label")[column]
    return {
        str(label): " to ".join(format(value, spec) for value in sorted({min(mine), max(mine)}))
        for label, mine in trained
    }


def _others(grid: Grid, means: pd.DataFrame, metrics: Sequence[str]) -> Table:
    header = ("row", *(grid.columns[metric] for metric in metrics[1:]))
    rows = []
    for row in grid.rows:
        values: dict[Any, Any] = means.loc[row.label].to_dict()
        cells = [Cell(row.label)]
        for metric in metrics[1:]:
            ours = MISSING
            if values["n"]:
                ours = _mean(values[metric], values[f"{metric}_sd"], metric)
            theirs = _published(row.published, metric)
            cells.append(Cell(ours + (f" (published {theirs})" if theirs != "–" else "")))
        rows.append(tuple(cells))
    return Table(f"{grid.title}: further scores", header, tuple(rows))


def _ended_early(runs: pd.DataFrame) -> str:
    """Say how many trainings their recipe ended, and after how many epochs without a gain."""
    early = runs[runs["reason"].str.contains(NO_GAIN)]
    if early.empty:
        return ""
    waits = early.groupby(early["reason"].str.extract(r"for (\d+) epochs", expand=False))["label"]
    said = sorted((int(wait), "; ".join(labels.unique())) for wait, labels in waits)
    of = [f"{wait} epochs" + (f" ({rows})" if len(said) > 1 else "") for wait, rows in said]
    return (
        f"{len(early)} of {int(runs['epochs'].count())} trainings were ended by their recipe, "
        f"which stops where validation pictures show no gain for {' or '.join(of)}."
    )


def _notes(grid: Grid, results: Results, means: pd.DataFrame, metric: str) -> list[str]:
    runs = results.runs
    notes = [grid.note] if grid.note else []
    if grid.published:
        other = not any(_same_data(grid, row) for row in grid.rows if row.published)
        apart = " Other pictures than ours: no difference is shown." if other else ""
        notes.append(f"Published: {grid.published}.{apart}")
    if len(runs) == 0:
        return notes
    rulers = " and ".join(sorted({str(p) for p in runs["protocol"] if str(p)}))
    data = " and ".join(sorted(set(runs["dataset"])))
    profile = grid.rows[0].runs[0].parameters["profile"]
    simulated = all(map(is_simulated, set(runs["dataset"])))
    notes.append(
        f"Dataset {data}{' (simulated pictures)' if simulated else ''}; profile {profile}; "
        f"protocol {rulers}; {results.images['image'].nunique()} test pictures. Mean ± standard "
        f"deviation over seeds. {' '.join(_chances(grid, means, metric))} Time is that of the "
        "training, or of everything where nothing is trained."
    )
    if early := _ended_early(runs):
        notes.append(early)
    notes += [f"{mark} {MARKS[mark]}." for mark, n in _doubtful(results).items() if n]
    usual, others = _machines(results)
    notes.append(f"Run on {usual}.")
    elsewhere = runs[runs["run"].isin(others)]
    for machine, mine in elsewhere.groupby(elsewhere["run"].map(others)):
        rows = mine.groupby("label", sort=False)["seed"].agg(
            lambda seeds: ", ".join(map(str, seeds))
        )
        named = "; ".join(f"{label} (seed {seeds})" for label, seeds in rows.items())
        notes.append(f"{ELSEWHERE} Run on {machine}, which gives other digits: {named}.")
    if results.missing:
        notes.append(f"{len(results.missing)} runs are missing.")
    return notes


def _chances(grid: Grid, means: pd.DataFrame, metric: str) -> Iterator[str]:
    """Say what a reader may conclude from the intervals and letters that there are."""
    trained = means[means.index.isin([row.label for row in grid.rows if row.trained])]
    if (trained["n"] >= SEEDS_FOR_INTERVAL).any():
        yield (
            "An interval is that of the design: of other trainings and of other test pictures "
            f"({RESAMPLES} resamples)."
        )
    if ((trained["n"] > 0) & (trained["n"] < SEEDS_FOR_INTERVAL)).any():
        yield (
            f"Fewer than {SEEDS_FOR_INTERVAL} trainings have no interval: what another one would "
            "score is not known, and no difference of such rows is shown to be one of the designs."
        )
    if len(trained) < len(means):
        yield "What is not trained varies over pictures only."
    if any(means["letters"]):
        yield (
            f"Rows that share a letter are not shown to differ in {grid.columns[metric]} (Holm, "
            f"5%); fewer than {SEEDS_FOR_LETTERS} trainings have no letter."
        )


def _links(
    results: Results, label: str, notebook: Callable[[str], str] | None
) -> tuple[tuple[str, str], ...]:
    if notebook is None or len(results.runs) == 0:
        return ()
    mine = results.runs[results.runs["label"] == label]
    others = _machines(results)[1]
    return tuple(
        (f"{seed} {ELSEWHERE}" if run in others else str(seed), notebook(run))
        for seed, run in zip(mine["seed"], mine["run"], strict=True)
    )


def _machines(results: Results) -> tuple[str, dict[str, str]]:
    """Return what most runs of a table were computed on, and, by run, where others were.

    A run that failed has no digits, and counts only where all have failed.
    """
    ended = results.runs[results.runs["status"] != "failed"]
    where = computed_on(ended if len(ended) else results.runs)
    usual = str(where.value_counts().idxmax())
    others = where[where != usual]
    return usual, dict(zip(results.runs.loc[others.index, "run"], others, strict=True))


def _digits(metric: str) -> int:
    return DIGITS.get(metric, 3)


def _number(value: Any, metric: str) -> str:
    return "–" if value != value else f"{value:.{_digits(metric)}f}"


def _mean(value: Any, spread: Any, metric: str) -> str:
    text = _number(value, metric)
    return text if spread != spread else f"{text} ± {_number(spread, metric)}"


def _published(published: Mapping[str, float], metric: str) -> str:
    if metric not in published:
        return "–"
    spread = published.get(f"{metric}_sd", float("nan"))
    return _mean(published[metric], spread, metric)


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
