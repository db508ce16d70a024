"""What chapters say in words of committed tables: where no quoted number would be noticed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellcount_lib.models import build
from cellcount_lib.models.measure import count_parameters
from cellcount_lib.scoring.stats import difference
from cellcount_lib.tables.committed import table
from cellcount_lib.tables.compare import row_counts
from cellcount_lib.tables.kept import records_in

RESULTS = Path(__file__).resolve().parents[2] / "results"


def means(name, score):
    """Mean of a score over the trainings of each design."""
    return table(name).results.runs.groupby("label")[score].mean()


def by_seed(name, score="f1"):
    """A score of every training: a row per design, a column per seed."""
    return table(name).results.runs.pivot(index="label", columns="seed", values=score)


@pytest.fixture(scope="module")
def ablation():
    return table("table1")


@pytest.fixture(scope="module")
def f1(ablation):
    """F1 by design and seed, of what is trained."""
    runs = ablation.results.runs
    return runs.pivot_table(index="seed", columns="label", values="f1").dropna(axis="columns")


def gain(f1, full, without):
    return (f1[full] - f1[without]).to_numpy()


def test_chapter_4_of_the_two_ideas_and_the_architectures(f1, ablation):
    assert len(f1) == 5
    published = ablation.published["f1"]
    maps = gain(f1, "c-ResUnet, full", "c-ResUnet, no WM")
    assert (maps > 0).sum() == 4
    part = maps.mean() / (published["c-ResUnet, full"] - published["c-ResUnet, no WM"])
    assert 0.4 < part < 0.6
    precision = means("table1", "precision")
    assert 0 < precision["c-ResUnet, no WM"] - precision["c-ResUnet, full"] < 0.03
    of_resunet = gain(f1, "ResUnet, full", "ResUnet, no WM")
    assert len(set(np.sign(of_resunet))) == 2
    assert abs(of_resunet.mean()) < 0.01
    of_small = gain(f1, "small Unet, full", "small Unet, no WM")
    assert ((of_small < 0).sum(), of_small.mean() < 0) == (4, True)
    gained = {
        network: published[f"{network}, full"] - published[f"{network}, no WM"]
        for network in ("c-ResUnet", "ResUnet", "small Unet", "Unet")
    }
    assert max(gained, key=gained.get) == "small Unet"
    artifacts = gain(f1, "c-ResUnet, full", "c-ResUnet, no AO")
    assert len(set(np.sign(artifacts))) == 2
    assert abs(artifacts.mean()) < 0.001
    networks = gain(f1, "ResUnet, full", "c-ResUnet, full")
    assert ((networks > 0).sum(), networks.mean() > 0) == (3, True)
    small = gain(f1, "ResUnet, full", "small Unet, full")
    assert abs(small.mean()) < 0.01
    assert 15.5 < count_parameters(build("unet")) / count_parameters(build("small-unet")) < 16.5


def test_chapter_4_of_trainings_that_were_stopped(ablation):
    runs = ablation.results.runs.dropna(subset="epochs")
    assert len(runs) == 45
    assert not runs["reason"].str.contains("for 2 epochs").any()
    assert 0.3 < (runs["epochs"] < 16).mean() < 0.4
    assert runs["epochs"].min() == 7
    assert (runs.loc[runs["label"].str.startswith("small Unet"), "epochs"] == 16).all()
    highest = runs.loc[runs["f1"].idxmax()]
    assert (highest["label"], highest["seed"]) == ("small Unet, no WM", 2)


def test_chapter_4_shows_heatmaps_of_the_networks_in_its_table(ablation):
    with np.load(ablation.folder / "table1-panels.npz") as panels:
        cutoffs = dict(zip(panels["labels"].tolist(), panels["cutoffs"], strict=True))
    first = ablation.results.runs.query("seed == 0").dropna(subset="epochs")
    assert cutoffs == dict(zip(first["label"], first["cutoff"], strict=True))


def test_chapter_4_of_collapses(ablation):
    runs = ablation.results.runs.dropna(subset="epochs")
    down = runs["status"] == "collapsed"
    large = runs["label"].str.startswith("Unet")
    assert ((down & large).sum(), large.sum(), (down & ~large).sum()) == (5, 10, 0)
    learnt = runs.loc[large & ~down, "f1"]
    assert 0.72 < learnt.min() < learnt.mean() < 0.76, "as good as the others"


def test_chapter_4_of_the_other_ruler(ablation):
    runs = table("table1-recommended").results.runs.set_index(["label", "seed"])["f1"]
    for network, most in {"c-ResUnet": 0.01, "ResUnet": 0.01, "small Unet": 0.02}.items():
        gains = runs[f"{network}, full"] - runs[f"{network}, no WM"]
        assert len(gains) == 5
        assert 0 < gains.mean() < most
    assert (gains > 0).all(), "the small Unet with every seed"
    assert gains.mean() > 0.015
    networks = runs["ResUnet, full"] - runs["c-ResUnet, full"]
    assert ((networks > 0).sum(), len(networks)) == (4, 5)
    assert (runs["ResUnet, full"] > runs["small Unet, full"]).all()
    once = ablation.results.runs.set_index(["label", "seed"])["status"]
    again = runs[once[once == "collapsed"].index]
    assert ((again > 0.2).sum(), (again == 0).sum()) == (3, 2)


def test_chapter_4_of_what_is_shown():
    """None of the maps' differences; those of the networks by `recommended`, alone."""
    made = {name: table(name).results for name in ("table1", "table1-recommended")}

    def chance(name, one, other):
        rows, images = made[name].runs, made[name].images
        pair = [row_counts(rows[rows["label"] == label], images) for label in (one, other)]
        return difference(*pair, "f1").p

    for name in made:
        for network in ("c-ResUnet", "ResUnet", "small Unet", "Unet"):
            assert chance(name, f"{network}, full", f"{network}, no WM") > 0.05, (name, network)
    for other in ("c-ResUnet", "small Unet"):
        assert chance("table1-recommended", "ResUnet, full", f"{other}, full") < 0.05


def test_chapter_4_of_the_crowd(ablation):
    runs = ablation.results.runs
    images = ablation.results.images.merge(runs[["run", "label"]], on="run")
    crowd = images[images["n_true"] > 20].groupby("label")[["tp", "fp", "fn"]].sum()
    scores = 2 * crowd["tp"] / (2 * crowd["tp"] + crowd["fp"] + crowd["fn"])
    ahead = scores[scores > scores["Otsu and watershed"]].drop("oracle")
    assert list(ahead.index) == ["small Unet, no WM"]


def test_chapter_5_of_two_kinds_of_pictures():
    losses, nuclei = table("losses"), table("losses-bbbc038-fluo-x1")
    assert nuclei.results.runs.groupby("label")["seed"].nunique()[losses.published.index].min() == 3
    published = losses.published["f1_iou"].rank(ascending=False, method="min")
    of_neurons, of_nuclei = (
        means(name, "f1_iou")[published.index].rank(ascending=False, method="min")
        for name in ("losses", "losses-bbbc038-fluo-x1")
    )
    mixtures = [label for label in published.index if label.startswith("CombinedFT")]
    assert set(of_nuclei[mixtures]) == {1, 2, 3}
    assert of_neurons[mixtures].max() == 5
    assert min(of_neurons["Focal"], of_nuclei["Focal"], published["Focal"]) >= 11
    light, heavy = "BCE, low (w_cell=50)", "BCE, high (w_cell=200)"
    assert (of_neurons[light], of_nuclei[light], of_nuclei[heavy]) == (3, 9, 12)
    assert of_neurons["Dice"] > of_neurons[light]
    assert published["Focal Tversky"] == of_neurons["Focal Tversky"] == 1
    runs = nuclei.results.runs.pivot(index="seed", columns="label", values="f1_iou")
    assert runs["Dice"].min() > runs[light].max()
    assert means("losses-bbbc038-fluo-x1", "f1_iou")[["Dice", light]].agg("ptp") > 0.1
    combined = runs.filter(like="Combined")
    assert combined.shape == (3, 6)
    assert runs["Focal Tversky"].max() < combined.min(axis=None)
    otsu = runs["Otsu and watershed"].dropna().item()
    assert combined.mean().min() > otsu
    rows, images = nuclei.results.runs, nuclei.results.images
    threshold = row_counts(rows[rows["label"] == "Otsu and watershed"], images, trained=False)
    for label in combined:
        network = row_counts(rows[rows["label"] == label], images)
        assert difference(network, threshold, "f1_iou").p > 0.05


def test_chapter_6_of_rulers():
    runs = table("protocols").results.runs
    f1 = means("protocols", "f1")
    for ruler, first in (
        ("clissa2023", "Dice"),
        ("recommended", "Focal"),
        ("morelli2021", "Focal"),
    ):
        names = [f"c-ResUnet, {loss}; {ruler}" for loss in ("Dice", "Focal")]
        assert f1[names].idxmax() == f"c-ResUnet, {first}; {ruler}"
    focal = runs[runs["label"] == "c-ResUnet, Focal; clissa2023"]
    assert focal["recall"].eq(0).sum() == 2
    assert focal.loc[focal["recall"] == 0, "mae"].eq(0).all()
    errors = means("protocols", "mae")
    networks = [row for row in errors.index if row.startswith("c-ResUnet")]
    assert errors[networks].idxmin() == "c-ResUnet, Focal; clissa2023"
    spread = {
        loss: np.ptp(f1[[row for row in networks if row.startswith(f"c-ResUnet, {loss};")]])
        for loss in ("Dice", "Focal", "recommended")
    }
    assert min(spread, key=spread.get) == "recommended"


def test_chapter_9_of_questions():
    runs = table("separation").results.runs
    f1, merges, pq, mae = (means("separation", score) for score in ("f1", "merges", "pq", "mae"))
    assert runs.groupby("label").size()[[label for label in f1.index if "," in label]].eq(3).all()
    assert f1.idxmax() == pq.idxmax() == "flows"
    flows = runs["label"] == "flows"
    assert runs.loc[flows, "f1"].min() > runs.loc[~flows, "f1"].max()
    assert merges.drop("predict the mean").idxmin() == "star-convex polygons"
    assert f1["star-convex polygons"] == pytest.approx(f1["three classes, outline 4"], abs=0.005)
    alone = [f"outline alone, {width}" for width in (2, 4, 6, 8)]
    classes = [f"three classes, outline {width}" for width in (2, 4, 6, 8)]
    assert list(f1[alone].sort_values(ascending=False).index) == alone
    assert f1[classes].idxmax() == classes[1]
    for rows in (alone, classes):
        two, four, six, eight = merges[rows]
        assert four < two < six < eight
        assert pq[rows].max() - pq[rows].min() < 0.02
        assert pq[rows].idxmax() == rows[-1]
    assert mae[classes[3]] > mae[classes[2]] > mae[classes[0]] > mae[classes[1]]
    spread = runs.groupby("label")["f1"].std()
    assert spread.idxmax() == "distance, peaks"
    masks = ["mask, every object the same", "mask, split at necks", "mask, weight map"]
    assert list(f1[masks].sort_values().index) == masks
    assert f1["oracle"] < f1["mask, every object the same"]


def test_chapter_10_of_labels_by_a_machine():
    f1 = means("automatic-labels", "f1")
    assert f1["Otsu and watershed"] < f1["automatic labels alone"] < f1["5 patches alone"]
    first = {
        n: f1[f"automatic labels, then {n} patches"] - f1[f"{n} patches alone"] for n in (5, 10, 20)
    }
    assert first[10] > 0.02
    assert max(first[5], first[20]) < 0


def test_chapter_10_of_wrong_labels():
    assert means("noisy-labels", "f1").drop("Otsu and watershed").min() > 0.998
    pq = means("noisy-labels", "pq")
    order = ["clean", "every fifth cell missing", "ragged outlines", "both"]
    assert list(pq[order].sort_values(ascending=False).index) == order


def test_chapter_10_of_mirror_images():
    splits, pq = means("mirrored", "splits"), means("mirrored", "pq")
    once = [label for label in splits.index if not label.endswith("mirrored")]
    assert len(once) == 5
    gains = {label: pq[f"{label}; mirrored"] - pq[label] for label in once}
    assert max(gains, key=gains.get) == "nuclei, star-convex polygons"
    for label in once:
        assert splits[f"{label}; mirrored"] < splits[label]
    runs = by_seed("mirrored")
    gains = runs.loc["neurons, mask; mirrored"] - runs.loc["neurons, mask"]
    assert ((gains > 0.01).sum(), (abs(gains) < 0.001).sum()) == (2, 1)


def test_the_page_on_time_to_quality():
    runs = pd.read_csv(RESULTS / "speedrun.csv").set_index(["data", "entry"])
    assert runs.groupby(level=[0, 1]).size().eq(3).all()
    minutes = runs["minutes"].groupby(level=[0, 1]).median()
    assert runs.loc[("bbbc038", "small-crops"), "minutes"].isna().all()
    free, recipe = (minutes.xs(entry, level=1) for entry in ("schedule-free", "recommended"))
    assert (free == minutes.groupby(level=0).min()).all()
    assert 0.5 < free["simulated"] / recipe["simulated"] < 0.6
    assert 0.3 < free["bbbc038"] / recipe["bbbc038"] < 0.4
    high = minutes.xs("schedule-free-high", level=1)
    assert abs(high / [free["bbbc038"], recipe["simulated"]] - 1).max() < 0.1
    assert minutes["simulated"].idxmax() == "short"
    assert minutes["bbbc038", "short"] < recipe["bbbc038"]
    assert minutes["simulated", "small-crops"] < recipe["simulated"]
    ends = runs["last_f1"].groupby(level=[0, 1]).median()
    assert ends["bbbc038", "short"] < ends["bbbc038", "recommended"]
    assert abs(ends["bbbc038", "small-crops"] - 0.8) < 0.01
    same = ends.xs("schedule-free", level=1) - ends.xs("recommended", level=1)
    assert abs(same).max() < 0.01
    assert runs["curve"].str.split().str.len().eq(4).all()


KINDS = {
    "medium": "ood-simulated-nuclei-medium",
    "small": "ood-simulated-nuclei-small",
    "uneven": "ood-simulated-nuclei-uneven",
    "overcrowded": "ood-simulated-nuclei-overcrowded",
    "BBBC038": "ood-bbbc038-fluo",
    "S-BSST265": "ood-sbsst265-sample",
}


@pytest.fixture(scope="module")
def away():
    """F1 away from home by way to count and kind of picture, and seed."""
    runs = pd.concat({kind: table(name).results.runs for kind, name in KINDS.items()}, names=["on"])
    return runs.reset_index().pivot_table("f1", ["label", "on"], "seed", sort=False)


def test_chapter_7_of_what_a_seed_decides(away):
    untouched, size, alike = (
        away.loc[f"Focal Tversky{words}"].drop(columns=0)
        for words in (", nothing harmonised", "; size", "; size, colour, intensity")
    )
    assert [*untouched] == [1, 2, 3]
    assert (untouched[2] == 0).all()
    assert (size[2] == 0).all()
    assert (alike.idxmax(axis=1) == 2).sum() == 5
    without = away.loc["Focal Tversky; size, intensity"]
    costs = (alike[[1, 3]] < without[[1, 3]]).all(axis=1)
    assert set(costs[costs].index) == {"medium", "small", "uneven", "S-BSST265"}
    assert (without[[1, 3]] - size[[1, 3]]).loc["medium"].max() < 0
    assert (size.loc["medium"] - untouched.loc["medium"]).abs().max() < 0.01


def test_chapter_7_of_cutoffs_crowds_and_grey_crops(away):
    alike = away.loc["Focal Tversky; size, colour, intensity"].drop(columns=0)
    recut = away.loc["Focal Tversky; size, colour, intensity, cutoff"].drop(columns=0)
    assert (recut - alike).abs().max().max() < 0.06
    assert ((recut - alike).loc["BBBC038"] < 0).all()
    networks = away.drop(columns=0).dropna()
    best = networks.groupby(level="on").max().max(axis=1).sort_values()
    assert [*best.index[:2]] == ["overcrowded", "S-BSST265"]
    grey = away.loc["Focal Tversky, half of the crops grey; size, intensity"]
    gains = (grey - away.loc["Focal Tversky; size, intensity"]).drop(columns=0)
    assert (gains[2] > 0.1).all()
    assert (gains[3] > 0).all()
    assert (gains[1] < 0).sum() == 5
    otsu = away.xs("Otsu and watershed")[0]
    assert set(best.index[otsu[best.index] > best]) == set(KINDS) - {"uneven"}


def test_chapter_8_of_patches_and_seeds():
    runs = table("transfer-bbbc038-fluo").results.runs
    mcc, f1 = (
        runs.pivot_table(index="seed", columns="label", values=score).dropna(axis="columns")
        for score in ("px_mcc", "f1")
    )
    assert len(mcc) == 3
    for number in (5, 55):
        tuned, scratch = (f"FCN, {how} on {number}" for how in ("fine-tuned", "from scratch"))
        assert mcc[tuned].min() > mcc[scratch].max()
    scratch = mcc["FCN, from scratch on 55"]
    assert mcc["FCN, fine-tuned on 5"].min() > scratch.max()
    assert abs(scratch.mean() - mcc["FCN, from scratch on 20"].mean()) < 0.005
    more = mcc["FCN, fine-tuned on 55"] - mcc["FCN, fine-tuned on 20"]
    assert ((more < 0) & (more > -0.03)).all()
    free, slower, frozen = (
        mcc[f"FCN, fine-tuned on 55{how}"]
        for how in ("", ", first half slower", ", first half frozen")
    )
    assert ((free > slower) & (slower > frozen)).all()
    assert (frozen < scratch.min()).sum() == 2
    before, five = (f1[f"c-ResUnet, {k}"] for k in ("before fine-tuning", "fine-tuned on 5"))
    assert (before > five).all()
    assert before.mean() > f1["c-ResUnet, from scratch on 5"].mean()
    record_of = records_in(table("transfer-bbbc038-fluo").folder)
    tuned = runs[runs["label"] == "FCN, fine-tuned on 55"].set_index("seed")["run"]
    ends = {seed: record_of(run).history[-1]["dice"] for seed, run in tuned.items()}
    assert {seed: end > 0.5 for seed, end in ends.items()} == {0: True, 1: True, 2: False}
    lowest = runs[runs["label"] == "c-ResUnet, before fine-tuning"]
    assert set(lowest["cutoff"]) == {0.01}
    assert set(lowest["cutoff_edge"]) == {"lowest"}


def test_the_findings_of_a_larger_network_and_simulated_patches():
    runs = table("transfer-bbbc038-fluo").results.runs
    mcc = runs.groupby("label")["px_mcc"].mean()
    gains = {
        number: mcc[f"c-ResUnet, fine-tuned on {number}"]
        - mcc[f"c-ResUnet, from scratch on {number}"]
        for number in (5, 55)
    }
    assert 0.02 < gains[5] < 0.06
    assert abs(gains[55]) < 0.01


def test_chapter_9_of_real_nuclei():
    made = table("separation-bbbc038-fluo-x1")
    runs, images = made.results.runs, made.results.images
    f1 = runs.pivot(index="seed", columns="label", values="f1")
    best = ["mask, split at necks", "mask, every object the same", "flows"]
    outlines = [label for label in f1 if "outline" in label]
    assert len(outlines) == 9
    assert f1[best].min().min() > f1[outlines].max().max()
    means = f1.mean()
    assert abs(means["flows"] - means["mask, split at necks"]) < 0.01
    assert means["mask, weight map"] < means["mask, split at necks"] - 0.02
    widths = [means[f"three classes, outline {width}"] for width in (2, 4, 6, 8)]
    assert abs(widths[0] - widths[1]) < 0.03
    assert widths[1] > widths[2] > widths[3]
    assert widths[0] > widths[2]
    counting = runs.groupby("label")["mae"].mean().drop("oracle")
    assert counting.idxmin() == "star-convex polygons"

    label_of = runs.set_index("run")["label"]
    pooled = images.groupby([images["run"].map(label_of), "image"])[["tp", "fp", "fn"]].sum()
    scores = (2 * pooled["tp"] / (2 * pooled["tp"] + pooled["fp"] + pooled["fn"])).unstack(0)
    behind = scores["mask, split at necks"] - scores["Otsu and watershed"]
    assert (behind.abs() < 0.08).sum() > 20
    assert 2 < (behind > 0.15).sum() < 5


def test_chapter_10_of_splits():
    assert table("cross-validation-bbbc038-fluo-x1").results.images["image"].nunique() == 200
    f1 = by_seed("cross-validation-bbbc038-fluo-x1")
    networks = f1.filter(regex=r"^fold \d$", axis="index")
    otsu = f1.loc[[f"{fold}, Otsu and watershed" for fold in networks.index], 0]
    seed = np.sqrt(networks.var(axis=1, ddof=1).mean())
    split = np.sqrt(networks.mean(axis=1).var(ddof=1) - seed**2 / 3)
    assert (round(seed, 2), round(split, 2), round(otsu.std(ddof=1), 2)) == (0.01, 0.02, 0.06)
    gains = networks.mean(axis=1).to_numpy() - otsu.to_numpy()
    assert (gains.argmin(), gains.argmax()) == (4, 0)
    assert 0 < gains[4] < 0.02
    assert gains[0] > 0.15


def test_chapter_5_of_losses_as_released():
    runs, f1 = table("activation").results.runs, by_seed("activation", "f1_iou")
    released = f1.loc["Dice, as released"]
    alone = f1.loc[["Dice", "Dice over two classes", "Dice, activated twice"]]
    assert (alone < released).all(axis=None)
    assert released.max() - released.min() < 0.02 < (alone.max(axis=1) - alone.min(axis=1)).min()
    for loss in ("Combined, balanced", "CombinedFT, balanced"):
        assert (f1.loc[f"{loss}, as released"] > f1.loc[loss]).all()
    ended = runs[runs["status"] == "collapsed"].groupby("label")["run"].apply(list)
    assert ended.index.tolist() == ["Focal", "Focal Tversky, as released"]
    assert ended.str.len().eq(f1.shape[1]).all()
    record_of = records_in(table("activation").folder)
    for run in ended["Focal Tversky, as released"]:
        found = [row["found"] for row in record_of(run).history]
        assert found[0] > 0 == max(found[1:])
    assert (f1.loc["BCE, low, as released"] < f1.loc["BCE, low"]).all()
    mean = f1.mean(axis=1)
    published = table("losses").published["f1_iou"].rename({"BCE, low (w_cell=50)": "BCE, low"})
    five = ["CombinedFT, balanced", "Dice", "Combined, balanced", "BCE, low", "Focal"]
    assert published[five].is_monotonic_decreasing
    assert published["Dice"] == published["Combined, balanced"]
    assert mean[[f"{loss}, as released" for loss in five]].is_monotonic_decreasing
    assert mean["BCE, low"] > mean[["Dice", "Combined, balanced"]].max()
    tversky = f1.loc["Focal Tversky"]
    assert (f1.loc["Focal Tversky over two classes"] < tversky).all()
    assert abs(f1.loc["Focal Tversky, released constants"] - tversky).max() < 0.02


def test_schedule_free_is_ahead_after_the_default_training_only():
    short, long = by_seed("optimisers"), by_seed("schedule-free")
    assert (short.loc["Schedule-Free AdamW; 0.005"] > short.loc["AdamW; 0.005"]).all()
    lead = long - long.loc["AdamW"]
    assert abs(lead.loc["Schedule-Free AdamW; 0.005"].mean()) < 0.005
    high = lead.loc["Schedule-Free AdamW; 0.01"]
    assert high.mean() > 0.005
    assert not (high > 0).all()


def test_chapter_10_of_longer_trainings():
    runs = table("curve").results.runs
    told = runs["label"].str.split("; ", expand=True)
    runs = runs.assign(recipe=told[0], network=told[1], steps=told[2].str[:-6].astype(int))
    f1 = runs.pivot(index=["recipe", "network"], columns="steps", values="f1")
    recommended = f1.loc["recommended"]
    assert recommended.loc["c-ResUnet"].is_monotonic_increasing
    assert recommended.loc["ResUnet", [360, 720, 1440]].is_monotonic_increasing
    assert recommended.loc["Unet", 1440] < recommended.loc["Unet", 360]
    assert list(recommended.columns) == [360, 720, 1440, 2880, 5760]
    large, plain = recommended.loc["c-ResUnet"], recommended.loc["ResUnet"]
    assert large[1440] < plain[360] < large[2880]
    assert plain[1440] - plain[360] < large[1440] - large[360]
    dice = f1.loc["clissa2023, Dice"]
    assert dice.loc["ResUnet", [360, 720, 1440]].is_monotonic_increasing
    assert dice.loc["c-ResUnet", 720] < dice.loc["c-ResUnet", 360] < dice.loc["c-ResUnet", 1440]
    first = f1.loc["fcn2016"]
    assert 0.05 < first.loc["c-ResUnet", 1440] - first.loc["c-ResUnet", 360] < 0.06
    assert -0.06 < first.loc["ResUnet", 1440] - first.loc["ResUnet", 360] < -0.04
    of_2021 = f1.loc["morelli2021", [360, 720, 1440]]
    assert of_2021.loc["c-ResUnet", 720] == of_2021.loc["c-ResUnet", 1440]
    learnt = of_2021.loc[["c-ResUnet", "ResUnet"]]
    assert (learnt.max(axis="columns") - learnt.min(axis="columns") < 0.03).all()
    assert (of_2021.loc["Unet"] == 0).all()
    records = records_in(RESULTS / "laptop")
    ids = runs.loc[(told[0] == "morelli2021") & (told[1] == "c-ResUnet"), "run"]
    losses = [[epoch["valid_loss"] for epoch in records(run).history] for run in ids]
    assert [len(epochs) for epochs in losses] == [4, 8, 12]
    assert losses[2][:8] == losses[1]
    assert losses[1][:4] == losses[0]
    assert np.argmin(losses[1]) == np.argmin(losses[2]) == 6


def test_chapter_10_of_the_recommended_network():
    f1 = by_seed("recommended-network")
    assert (f1.loc["ResUnet"] > f1.loc["c-ResUnet"]).all()
    assert (f1.loc["small Unet"] < f1.loc["ResUnet"]).all()
    assert f1.shape == (3, 3)
    assert (table("recommended-network").results.runs["status"] == "completed").all()
    larger, plain, small, unet = (
        count_parameters(build(name)) for name in ("c-resunet", "resunet", "small-unet", "unet")
    )
    assert 8 < unet / larger < 8.5
    assert 0.45 < plain / larger < 0.55
    assert 0.98 < small / plain < 1.02


def test_chapter_10_of_the_recommended_network_on_nuclei():
    nuclei, early = by_seed("recommended-network-bbbc038-fluo-x1"), by_seed("curve")[0]
    assert nuclei.shape == (2, 3)
    lead = nuclei.loc["c-ResUnet"] - nuclei.loc["ResUnet"]
    assert (lead > 0).all()
    assert 0.015 < lead.mean() < 0.02
    assert early["recommended; ResUnet; 360 steps"] > early["recommended; c-ResUnet; 360 steps"]


def test_chapter_10_of_optimisers():
    runs, f1 = table("optimisers").results.runs, by_seed("optimisers")
    best = f1.filter(like="best of three", axis="index")
    free = best.loc["Schedule-Free AdamW; best of three"]
    others = best.drop("Schedule-Free AdamW; best of three")
    assert len(others) == 6
    assert (others.max() < free).all()
    high = f1.loc["Schedule-Free AdamW; 0.025"]
    assert high.min() < 0.5 < 0.67 < high.max()
    assert free[high.idxmin()] == f1.loc["Schedule-Free AdamW; 0.005", high.idxmin()]
    seconds = runs[~runs["label"].str.contains("best")].groupby("label")["seconds"].mean()
    free_takes = seconds.filter(regex="^Schedule-Free AdamW; ").mean()
    assert 0.9 < free_takes / seconds.filter(regex="^AdamW; ").mean() < 1.1
    mean = f1.mean(axis=1)
    rmsprop = mean.filter(like="RMSprop; 0")
    assert (rmsprop.idxmin(), rmsprop.idxmax()) == ("RMSprop; 0.005", "RMSprop; 0.0002")
    last, *_, first = others.mean(axis=1).sort_values().index
    assert (last, first) == ("Adagrad; best of three", "Adam; best of three")
    assert rmsprop.max() - rmsprop.min() > mean[first] - mean[last]
    sgd = runs[runs["label"].isin(["SGD; 2.0", "SGD; best of three"])]
    ended = sgd[sgd["status"] != "completed"]
    assert list(zip(ended["label"], ended["seed"], strict=True)) == [("SGD; 2.0", 2)]
    assert (f1.loc["SGD; best of three"] == f1.loc["SGD; 0.2"]).all()
    assert f1.shape[1] == 3


def test_chapter_10_of_learning_rates():
    f1 = by_seed("losses-tuned")
    best = f1.filter(like="best of three", axis="index")
    dice = best.loc["Dice; best of three"]
    assert len(dice) == 3
    assert (best.drop("Dice; best of three") > dice).all(axis=None)
    assert (dice == f1.loc["Dice; 0.0005"]).all()
    assert f1.loc[["Dice; 0.002", "Dice; 0.008"]].max(axis=None) < 0.2
    mean = f1.mean(axis=1)
    assert abs(mean["Focal; best of three"] - mean["BCE, low; best of three"]) < 0.02
    three = {"Combined, balanced", "CombinedFT, balanced", "Focal Tversky"}
    for rate in ("best of three", "0.0005"):
        found = mean[mean.index.str.endswith(rate)].sort_values().index[-3:]
        assert {label.split(";")[0] for label in found} == three
    high = mean[mean.index.str.endswith("0.008")]
    assert high.idxmax() == "Focal; 0.008"
    assert (f1.loc["Focal Tversky; 0.008"] < 0.2).sum() == 2
    assert min(high["Combined, balanced; 0.008"], high["CombinedFT, balanced; 0.008"]) > 0.49
