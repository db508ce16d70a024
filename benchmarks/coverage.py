"""How often an interval holds the truth, and how often two groups of one design "differ".

    python -m benchmarks.coverage

Trainings and pictures are drawn from a model of both: a cell is found with a probability whose
log-odds add up an effect of the training, one of the picture, and one of both. Pictures have as
many cells as those of the committed table of losses. The sizes of the effects give the spreads that
its rows with two trainings have (`spreads`): between trainings, of what pictures do to all
trainings alike, and of what they do to one and not to another.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cellcount_lib.scoring.stats import (
    PictureCounts,
    difference,
    interval,
    picture_counts,
    probability_of_improvement,
    resampled,
)
from cellcount_lib.tables.collect import Results, read_results

RESULTS = Path(__file__).resolve().parents[1] / "results" / "laptop"


@dataclass(frozen=True)
class Design:
    """Sizes of the effects on the log-odds of finding a cell, and the share of dead trainings."""

    training: float = 0.12
    picture: float = 0.75
    both: float = 0.1
    mean: float = 0.3
    collapsed: float = 0.0


DESIGNS = {
    "as the losses": Design(),
    "seeds vary little": Design(training=0.0),
    "seeds vary much": Design(training=0.5),
    "one in five collapses": Design(collapsed=0.2),
}


def losses() -> Results:
    """Return the committed table of losses."""
    return read_results(RESULTS, "losses")


def true_counts() -> np.ndarray:
    """Return how many cells each test picture of the table of losses has."""
    images = losses().images
    return images.loc[images["run"] == images["run"].iloc[0], "n_true"].to_numpy()


def trainings(
    design: Design, seeds: range, true: np.ndarray, easy: np.ndarray, rng: np.random.Generator
) -> PictureCounts:
    """Draw trainings of a design, scored on pictures with so many cells, so easy to find."""
    shape = (len(seeds), len(true))
    odds = design.mean + rng.normal(0, design.training, (len(seeds), 1)) + design.picture * easy
    found = 1 / (1 + np.exp(-odds - rng.normal(0, design.both, shape)))
    alive = rng.random((len(seeds), 1)) >= design.collapsed
    tp = rng.binomial(true, found * alive)
    fp = rng.poisson((true * (1 - found) * 0.5 + 0.3) * alive)
    columns = {"tp": tp, "fp": fp, "fn": true - tp}
    names = [f"{i:04}" for i in range(len(true))]
    return PictureCounts(
        names, list(seeds), {k: v.astype(np.float64) for k, v in columns.items()}, "released2023"
    )


def groups(
    design: Design, seeds: int, pictures: int, tries: int, *, shared: bool = False
) -> Iterator[tuple[PictureCounts, PictureCounts]]:
    """Draw two groups of trainings of a design, again and again, each time on new pictures."""
    rng, counts = np.random.default_rng(1), true_counts()
    for _ in range(tries):
        true, easy = rng.choice(counts, pictures), rng.normal(size=pictures)
        first = trainings(design, range(seeds), true, easy, rng)
        second = range(seeds) if shared else range(seeds, 2 * seeds)
        yield first, trainings(design, second, true, easy, rng)


def differing(design: Design, seeds: int, pictures: int, tries: int, **options: bool) -> float:
    """Return in which share of tries two groups of one design differ at 5%: the A/A test."""
    found = [
        difference(a, b, "f1", resamples=400).p <= 0.05
        for a, b in groups(design, seeds, pictures, tries, **options)
    ]
    return float(np.mean(found))


def truth(design: Design) -> float:
    """Return the score of a design over very many trainings and pictures."""
    (first, _), *_ = groups(design, 300, 5000, 1)
    return float(first.scores("f1").mean())


def coverage(design: Design, seeds: int, pictures: int, tries: int) -> tuple[float, float, float]:
    """Return how often the interval of a score holds the truth, its width, and that of P = 0.5."""
    real, held, widths, even = truth(design), 0, [], 0
    for a, b in groups(design, seeds, pictures, tries):
        low, high = interval(a, "f1", resamples=400)
        held += low <= real <= high
        widths.append(high - low)
        chance = probability_of_improvement(a, b, "f1")
        even += chance.low <= 0.5 <= chance.high
    return held / tries, float(np.mean(widths)), even / tries


def power(design: Design, seeds: int, pictures: int, tries: int, gain: float) -> float:
    """Return how often a design is told from one that finds a cell with odds higher by `gain`."""
    rng, counts, differ = np.random.default_rng(2), true_counts(), 0
    for _ in range(tries):
        true, easy = rng.choice(counts, pictures), rng.normal(size=pictures)
        a = trainings(design, range(seeds), true, easy, rng)
        other = replace(design, mean=design.mean + gain)
        b = trainings(other, range(seeds, 2 * seeds), true, easy, rng)
        differ += difference(a, b, "f1", resamples=400).p <= 0.05
    return differ / tries


def spreads(rows: list[PictureCounts], metric: str) -> tuple[float, float, float]:
    """Return the spread between seeds, of pictures for all alike, and for one: of many rows."""
    parts = []
    for row in rows:
        whole, drawn, _ = resampled(row, metric, resamples=400)
        together = np.cov(drawn.T)
        alike = together[~np.eye(len(whole), dtype=bool)].mean()
        parts.append((whole.var(ddof=1), alike, np.diag(together).mean() - alike))
    between, alike, apart = np.sqrt(np.maximum(np.median(parts, axis=0), 0))
    return float(between), float(alike), float(apart)


def committed_rows() -> list[PictureCounts]:
    """Return the rows of the table of losses that have two trainings."""
    results = losses()
    rows = []
    for _, runs in results.runs.groupby("label", sort=False):
        if len(runs) > 1:
            pairs = zip(runs["seed"], runs["run"], strict=True)
            tables = {seed: results.images[results.images["run"] == run] for seed, run in pairs}
            rows.append(picture_counts(tables))
    return rows


def main(tries: int = 1000) -> None:
    """Print spreads, A/A shares, coverage, widths and power."""
    print("committed rows:", told(spreads(committed_rows(), "f1_iou")))
    for name, design in DESIGNS.items():
        print(f"{name}:", told(spreads([a for a, _ in groups(design, 2, 70, 100)], "f1")))
        for seeds, pictures in ((3, 70), (5, 70), (10, 70), (5, 28), (5, 6)):
            differ = differing(design, seeds, pictures, tries)
            held, width, even = coverage(design, seeds, pictures, tries)
            gained = power(design, seeds, pictures, tries // 4, 0.5)
            print(
                f"  {seeds:2} trainings, {pictures:2} pictures: A/A differ {differ:.1%}; interval "
                f"holds the truth {held:.1%}, width {width:.3f}; P = 0.5 held {even:.1%}; odds "
                f"higher by e^0.5 told {gained:.0%}",
                flush=True,
            )


def told(parts: tuple[float, float, float]) -> str:
    """Return spreads in words."""
    between, alike, apart = parts
    return f"spread of trainings {between:.3f}, pictures {alike:.3f}, both {apart:.3f}"


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:2]))
