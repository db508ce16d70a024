"""Make what the book's pages include: the tables in book/_generated and the overview figure.

Every table comes from a registry of the library or from a file in results/, so that no page repeats
a number by hand. `make book` runs this before it renders.
"""

import csv
import inspect
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from cellcount_lib.tables.leaderboard import Entry

ROOT = Path(__file__).resolve().parents[1]


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; bars inside cells are escaped."""
    lines = [list(header), ["---"] * len(header), *([str(c) for c in row] for row in rows)]
    return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in lines)


def datasets() -> str:
    from cellcount_lib.data.manifest import manifest, names

    rows = [
        (f"`{m.name}`", m.title, m.images, m.download_mb or "-", m.licence, m.checksum or "-")
        for m in map(manifest, names())
    ]
    header = ("name", "what", "images", "MB to download", "licence", "checksum")
    return markdown(header, rows)


def models() -> str:
    from cellcount_lib.models import MODELS, build
    from cellcount_lib.models.measure import count_flops, count_parameters, receptive_field

    published = {
        "c-resunet": "1.7M",
        "resunet": "887k",
        "unet": "about 14M",
        "small-unet": "876k",
        "fcn": "about 1.3M",
    }
    rows = []
    for name in MODELS:
        model = build(name, 1, 2) if name == "fcn" else build(name)
        rows.append(
            (
                f"`{name}`",
                f"{count_parameters(model):,}",
                published[name],
                receptive_field(model, at="bottleneck"),
                receptive_field(model, at="output"),
                f"{count_flops(model) / 1e9:.1f}",
            )
        )
    header = ("network", "trainable parameters", "as published", "field, deepest", "field, output")
    return markdown((*header, "GFLOP"), rows)


def losses() -> str:
    from cellcount_lib.losses import PRESETS

    rows = [
        (f"`{name}`", loss, ", ".join(f"{k} = {_plain(v)}" for k, v in settings.items()))
        for name, (loss, settings) in PRESETS.items()
    ]
    return markdown(("preset", "loss", "settings"), rows)


def _plain(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def protocols() -> str:
    from cellcount_lib.scoring.protocols import PROTOCOLS

    parts = []
    for p in PROTOCOLS.values():
        cutoff = f"fixed at {p.cutoffs[0]:g}" if p.threshold_rule == "fixed" else p.threshold_rule
        rules = [f"{m.rule}, threshold {m.threshold:g}" for m in (p.primary, *p.further)]
        smallest = f"objects below {p.postprocess.cleaning.objects_below} px are dropped"
        touching = inspect.getdoc(type(p.postprocess.touching)).partition(".")[0]
        parts += [f"### `{p.name}`", "", p.description, ""]
        parts += [f"- cutoff: {cutoff}", f"- cleaning: {smallest}"]
        parts += [
            f"- touching cells: {touching[0].lower()}{touching[1:]}",
            f"- matching: {rules[0]}",
        ]
        parts += [f"- beside it: {rule}" for rule in rules[1:]]
        parts += [f"- mean percentage error: `{p.mpe}`", f"- source: {p.source}", ""]
    return "\n".join(parts)


def _results(name: str) -> list[dict[str, str]]:
    lines = (ROOT / "results" / name).read_text().splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def calibration() -> str:
    rows = []
    for r in _results("calibration.csv"):
        error = f"{100 * float(r['relative_error']):+.1f}%" if r["relative_error"] else ""
        rows.append((r["statistic"], r["published"], r["simulated"], error, r["source"], r["note"]))
    header = ("statistic", "published", "simulated", "difference", "source", "note")
    return markdown(header, rows)


def difficulty() -> str:
    rows = _results("difficulty.csv")
    return markdown(list(rows[0]), [[v or "–" for v in r.values()] for r in rows])


def likeness() -> str:
    rows = _results("likeness.csv")
    return markdown(list(rows[0]), [list(r.values()) for r in rows])


def speedrun() -> str:
    return (ROOT / "results" / "speedrun.md").read_text().strip()


def starting() -> str:
    return (ROOT / "results" / "starting.md").read_text().strip()


def status() -> str:
    """When, where and how long each chapter was executed; see tools/chapters.py."""
    rows, versions = [], {}
    for path in sorted((ROOT / "book" / "chapters").glob("*.ipynb")):
        notebook = json.loads(path.read_text())
        title = "".join(notebook["cells"][0]["source"]).splitlines()[0].lstrip("# ")
        made = notebook["metadata"]["cellcount"]
        link = f"[{title}](chapters/{path.name})"
        machine = made["gpu"] or made["processor"]
        rows.append(
            (link, made["profile"], made["executed"][:10], f"{made['seconds']:.0f} s", machine)
        )
        versions |= made["versions"]
    table = markdown(("chapter", "profile", "executed", "took", "on"), rows)
    return table + "\n\nVersions: " + ", ".join(f"{k} {v}" for k, v in versions.items()) + "."


def overview(path: Path) -> None:
    """Draw the figure of the README: picture, labels, weight map, what the baseline finds."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    from cellcount_lib.data.simulate import simulate
    from cellcount_lib.methods.baselines import adaptive_threshold
    from cellcount_lib.plots import outline, show_image, show_matches
    from cellcount_lib.postprocess.postprocess import postprocess
    from cellcount_lib.scoring.matching import match
    from cellcount_lib.scoring.protocols import protocol
    from cellcount_lib.training.weightmap import weight_map

    sample = simulate(OVERVIEW_INDEX)
    ruler = protocol("recommended")
    rows, columns = densest(sample.labels, size=512)
    image, labels = sample.image[rows, columns], sample.labels[rows, columns]
    found = postprocess(adaptive_threshold(sample.image, quantile=0.98), ruler.postprocess)
    figure, axes = plt.subplots(1, 4, figsize=(14, 3.9), layout="constrained", dpi=100)
    show_image(axes[0], image, gamma=0.65, title="picture (simulated)")
    show_image(axes[1], image, gamma=0.65, title=f"labels: {len(set(labels.flat)) - 1} cells")
    outline(axes[1], labels, colors="#56B4E9", linewidths=1.3)
    axes[2].imshow(weight_map(labels), cmap="cividis")
    axes[2].set(xticks=[], yticks=[], title="weight map")
    axes[2].spines[:].set_visible(False)
    rule = ruler.primary
    pairs = match(sample.labels, found, rule=rule.rule, threshold=rule.threshold).pairs
    picture, title = (sample.image, sample.labels, found, pairs), "adaptive threshold"
    show_matches(axes[3], *picture, window=(rows, columns), gamma=0.65, title=title)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


def model_cards() -> str:
    """The cards of the shipped models, as parts of a page: headings two steps down."""
    from cellcount_lib.prediction.models import CHOSEN_FROM
    from tools.ship_model import MASK

    folder, names = ROOT / "cellcount_lib" / "pretrained", (*CHOSEN_FROM, MASK)
    cards = [(folder / f"{name}.md").read_text().strip() for name in names]
    return "\n\n".join(cards).replace("\n#", "\n###").replace("# ", "### ", 1)


def cost() -> str:
    """Core-hours of every table: seconds of its runs, from first to last, times their threads."""
    from cellcount_lib.tables.collect import read_results
    from cellcount_lib.tables.kept import notebooks, records_in

    rows, total = [], 0.0
    for folder in sorted({path.parent for path in (ROOT / "results").glob("*/*.json")}):
        records = records_in(folder)

        def hours(run: str, records=records) -> float:
            record = records(run)
            return record.seconds["total"] * (record.machine.get("threads") or 1) / 3600

        total += sum(hours(path.stem) for path in notebooks(folder))
        for plan in sorted(folder.glob("*.json")):
            runs = sorted(set(read_results(folder, plan.stem).runs["run"]))
            rows.append((plan.stem, folder.name, len(runs), f"{sum(map(hours, runs)):.1f}"))
    table = markdown(("table", "profile", "runs", "core-hours"), rows)
    return f"{table}\n\nAll runs together, each counted once: {total:.0f} core-hours."


def checklist() -> str:
    """The reporting checklist of the trainings with Dice at profile study, without its title."""
    from cellcount_lib.reporting.checklist import to_markdown
    from cellcount_lib.reporting.evidence import Evidence
    from cellcount_lib.reporting.known import read_runs
    from cellcount_lib.tables.committed import table
    from cellcount_lib.tables.kept import place

    folder, rows = ROOT / "results", table("losses", "study").results.runs
    runs = [folder / "study" / place(run) for run in rows.loc[rows["label"] == "Dice", "run"]]
    return to_markdown(Evidence(read_runs(runs))).partition("\n")[2].strip()


def leaderboard() -> str:
    """Every board with more than a few rows: a heading that links can lead to, and its table."""
    from cellcount_lib.tables.findings import tabled
    from cellcount_lib.tables.leaderboard import CONTROLS, SCORE, leaderboards
    from cellcount_lib.tables.quoted import slug

    def row(title: str, entry: "Entry") -> tuple[object, ...]:
        place = f"result:{entry.table}@{entry.profile}/{slug(entry.label)}/{SCORE}"
        limits = "" if entry.interval is None else "{:.3f} to {:.3f}".format(*entry.interval)
        trainings = "–" if entry.method else len(entry.counts.seeds)
        return title, f"[{entry.score:.3f}]({place})", limits, trainings, entry.profile

    parts = []
    for board, entries in sorted(leaderboards(tabled(ROOT / "results")).items()):
        ranked = [entry for entry in entries if entry.method not in CONTROLS]
        controls = [entry for entry in entries if entry.method in CONTROLS]
        if len(ranked) < 3:
            continue
        title = f"{board.dataset.replace('folder:', '').replace(':', ': ')}, {board.protocol}"
        parts += [f"({slug(f'board {title}')})=", f"## {title}", ""]
        parts += [f"{len(entries[0].counts.pictures)} test pictures.", ""]
        rows = [row(f"{rank}. {entry.label}", entry) for rank, entry in enumerate(ranked, start=1)]
        rows += [row(f"{entry.label} (control)", entry) for entry in controls]
        parts += [markdown(("row", "F1", "95% interval", "trainings", "profile"), rows), ""]
    return "\n".join(parts)


def wrap_up(source: Path = ROOT / "book" / "wrap_up.yml") -> tuple[str, str]:
    """The wrap-up quiz as HTML, and a table of the chapters that its questions need."""
    from cellcount_lib.teaching.widgets import Question, quiz

    asked = yaml.safe_load(source.read_text())
    made = quiz(*(Question(q["ask"], q["right"], q["wrong"]) for q in asked))
    names = {int(path.name[:2]): path.name for path in (ROOT / "chapters").glob("[01]*.ipynb")}
    rows = [
        (number, ", ".join(f"[{n}](chapters/{names[n]})" for n in question["chapters"]))
        for number, question in enumerate(asked, start=1)
    ]
    return made._repr_html_(), markdown(("question", "chapters"), rows)


OVERVIEW_INDEX = 250  # a picture with many cells, look-alikes and clumps


def densest(labels, *, size: int) -> tuple[slice, slice]:
    """Window of `size` pixels that holds the most foreground, on a grid of a quarter window."""
    starts = [range(0, max(1, side - size + 1), size // 4) for side in labels.shape]
    corners = [(r, c) for r in starts[0] for c in starts[1]]
    best = max(corners, key=lambda rc: (labels[rc[0] :, rc[1] :][:size, :size] > 0).sum())
    return slice(best[0], best[0] + size), slice(best[1], best[1] + size)


def main(book: Path = ROOT / "book") -> None:
    from cellcount_lib.reporting.croissant import of_tables
    from tools import findings

    generated, figure = book / "_generated", book / "images" / "overview.png"
    generated.mkdir(exist_ok=True)
    parts = (
        datasets,
        models,
        losses,
        protocols,
        calibration,
        difficulty,
        likeness,
        speedrun,
        starting,
        model_cards,
        checklist,
        leaderboard,
        cost,
        status,
    )
    for part in parts:
        (generated / f"{part.__name__}.md").write_text(part() + "\n")
    for kind, text in zip(("html", "md"), wrap_up(), strict=True):
        (generated / f"wrap_up.{kind}").write_text(text + "\n")
    about = json.dumps(of_tables(ROOT / "results"), indent=1, ensure_ascii=False)
    (generated / "croissant.json").write_text(about + "\n")
    for name, text in findings.pages().items():
        (generated / f"{name}.md").write_text(text + "\n")
    overview(figure)


if __name__ == "__main__":
    main()
