"""What is known of the scores, the counts and the machine, item by item of the checklist."""

from collections.abc import Mapping

import pandas as pd

from cellcount_lib.reporting.evidence import Evidence, sentence
from cellcount_lib.reporting.known import Known
from cellcount_lib.runs.grid import project
from cellcount_lib.runs.status import differences
from cellcount_lib.scoring.protocols import protocol
from cellcount_lib.scoring.stats import LEVEL, interval, picture_counts

METRICS: Mapping[str, str] = {
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "mae": "mean absolute error of the count",
    "medae": "median absolute error",
    "mpe_percent": "mean percentage error",
}


def ruler(evidence: Evidence) -> str:
    """Say what counts as found."""
    if not evidence.run.protocol:
        return ""
    known = protocol(evidence.run.protocol)
    rule = f"matched by {known.primary.rule}, threshold {known.primary.threshold:g}"
    scale = evidence.run.protocol_scale
    sizes = f"its sizes in pixels are multiplied by {scale:g}" if scale not in (None, 1) else ""
    return sentence(f"protocol `{known.name}`: {known.description}", rule, sizes)


def cutoff(evidence: Evidence) -> str:
    """Say where heatmaps are cut, by which rule, on which pictures."""
    said = []
    for run in evidence.runs:
        if run.cutoff is None:
            continue
        rule, note = run.choice.get("rule", ""), run.choice.get("note", "")
        how = "fixed by the protocol" if rule == "fixed" else "chosen on validation pictures"
        words = ", ".join(filter(None, [how, rule if rule != "fixed" else "", note]))
        said.append(f"{run.cutoff:g} for seed {run.parameters['seed']} ({words})")
    return sentence("; ".join(said))


def objects(run: Known) -> pd.DataFrame:
    """Return the rows per picture with counts that are numbers of objects under every protocol."""
    if run.images.empty or protocol(run.protocol).count != "released":
        return run.images
    counts = {"n_true": run.images["n_objects_true"], "n_pred": run.images["n_objects_pred"]}
    return run.images.assign(**counts)


def use_of_test(evidence: Evidence) -> str:
    """Say what is chosen on which pictures."""
    trained = "the best epoch and, where none is fixed, the cutoff are"
    chosen = trained if evidence.run.recipe else "a cutoff, where none is fixed, is"
    return sentence(
        f"{chosen} chosen on validation pictures; a run scores the test pictures once, at its end"
    )


def scores(evidence: Evidence) -> str:
    """Give the scores of the test pictures, with intervals where they can be had."""
    tables = {int(run.parameters["seed"]): objects(run) for run in evidence.runs}
    tables = {seed: table for seed, table in tables.items() if len(table)}
    if not tables:
        return ""
    rule, trained = protocol(evidence.run.protocol), len(tables) > 1
    counts = picture_counts(tables, mpe=rule.mpe, trained=trained)
    said = []
    for metric, name in METRICS.items():
        limits = interval(counts, metric)
        reach = f" ({limits[0]:.3f} to {limits[1]:.3f})" if limits else ""
        said.append(f"{name} {counts.scores(metric).mean():.3f}{reach}")
    over = {
        1: f"{LEVEL:.0%} intervals over test pictures; another training would score otherwise",
        2: "two trainings are too few for intervals",
    }.get(len(tables), f"means of {len(tables)} trainings, {LEVEL:.0%} intervals over both levels")
    released = "counted are the objects, not what the released rule compares"
    return sentence(", ".join(said), over, released if rule.count == "released" else "")


def failures(evidence: Evidence) -> str:
    """Say what failed, and which pictures were counted worst."""
    said = []
    for run in evidence.runs:
        why = f": {run.reason}" if run.reason else ""
        said.append(f"seed {run.parameters['seed']} {run.status}{why}")
    table = objects(evidence.run)
    if len(table):
        bad = int((table["status"] != "ok").sum())
        said.append(f"{bad} of {len(table)} test pictures have no result and count as empty")
        worst = table.assign(off=(table["n_pred"] - table["n_true"]).abs())
        worst = worst.sort_values(["off", "image"], ascending=[False, True])[:3]
        rows = (f"{r.image}: {r.n_pred:g} for {r.n_true:g}" for r in worst.itertuples())
        said.append(f"counts that are farthest off, seed {_seed(evidence)}: {', '.join(rows)}")
    return sentence(*said)


def _seed(evidence: Evidence) -> int:
    return int(evidence.run.parameters["seed"])


def counted(evidence: Evidence) -> str:
    """Say how the counts of other pictures came about, and which to look at."""
    table = evidence.counts
    if table is None:
        return ""
    good = table[table["status"] == "ok"]
    ways = []
    for name in ("model", "threshold", "protocol", "cell_px_from"):
        if name in good and len(values := good[name].dropna()):
            ways.append(f"`{name}`: {', '.join(sorted({str(value) for value in values}))}")
    flagged = int(good["check"].notna().sum())
    return sentence(
        f"{len(good)} pictures with {int(good['count'].sum())} cells",
        f"{len(table) - len(good)} could not be counted, {flagged} have a reason in column `check`",
        *ways,
    )


def calibration(evidence: Evidence) -> str:
    """Compare counts with those of a person."""
    table = evidence.intervals
    if table is None:
        return ""
    both = table.dropna(subset=["truth"])
    off = both["count"] - both["truth"]
    width = (table["high"] - table["low"]).median()
    return sentence(
        f"{len(both)} pictures were counted by a person, too: mean difference {off.mean():+.2f} "
        f"cells, mean absolute difference {off.abs().mean():.2f}",
        f"the median interval is {width:g} cells wide",
    )


def hardware(evidence: Evidence) -> str:
    """Say where it ran, how long, with how much memory."""
    run = evidence.run
    where = run.machine.get("gpu") or run.machine.get("processor") or ""
    threads = f"threads: {run.machine['threads']}" if run.machine.get("threads") else ""
    times = [f"{name} {seconds:.0f} s" for name, seconds in run.seconds.items()]
    memory = f"at most {run.peak_mb:.0f} MB of memory" if run.peak_mb else ""
    one = f"seed {_seed(evidence)}" if len(evidence.runs) > 1 else ""
    return sentence(one, ", ".join(filter(None, [where, threads])), ", ".join(times), memory)


def software(evidence: Evidence) -> str:
    """List the versions that decide a number."""
    known = [f"{name} {v}" for name, v in evidence.run.versions.items() if v]
    return f"Versions: {', '.join(known)}." if known else ""


def code(evidence: Evidence) -> str:
    """Say which code made the run, and what of it has changed since."""
    record = evidence.run.record
    if record is None:
        return ""
    chapter = project() / "chapters" / f"{record.chapter}.ipynb"
    changed = differences(record, chapter, data=None) if chapter.exists() else None
    since = f"changed since: {', '.join(changed)}" if changed else "none has changed since"
    return sentence(
        f"chapter `{record.chapter}`, and hashes of {len(record.identity['code'])} definitions of "
        "`cellcount-book`",
        "" if changed is None else since,
    )
