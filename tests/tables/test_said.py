"""What chapters say in words of committed tables: where no quoted number would be noticed."""

import numpy as np
import pytest

from cellcount_lib.tables.committed import table


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


def test_chapter_4_of_the_two_ideas_and_the_architectures(f1):
    assert len(f1) == 5
    assert (gain(f1, "c-ResUnet, full", "c-ResUnet, no WM") > 0).all()
    assert len(set(np.sign(gain(f1, "ResUnet, full", "ResUnet, no WM")))) == 2
    artifacts = gain(f1, "c-ResUnet, full", "c-ResUnet, no AO")
    assert len(set(np.sign(artifacts))) == 2
    assert abs(artifacts.mean()) < 0.02
    assert (gain(f1, "ResUnet, full", "c-ResUnet, full") > 0).all()


def test_chapter_4_of_collapses(ablation):
    runs = ablation.results.runs
    down = runs[runs["status"] == "collapsed"]
    assert set(down["label"]) <= {
        f"{u}, {m}" for u in ("Unet", "small Unet") for m in ("full", "no WM")
    }
    assert len(down) > 2
    learnt = runs[runs["label"].str.startswith(("Unet", "small Unet")) & (runs["f1"] > 0.05)]
    assert 0.7 < learnt["f1"].mean() < 0.78, "as good as the others"


def test_chapter_4_of_the_other_ruler(ablation):
    runs = table("table1-recommended").results.runs.set_index(["label", "seed"])["f1"]
    for network, lowest, highest in (("c-ResUnet", 0, 0.03), ("ResUnet", -0.03, 0)):
        gains = runs[f"{network}, full"] - runs[f"{network}, no WM"]
        assert len(gains) == 5
        assert lowest < gains.mean() < highest
    once = ablation.results.runs.set_index(["label", "seed"])["status"]
    again = runs[once[once == "collapsed"].index]
    assert ((again > 0.2).sum(), len(again)) == (4, 6)


def test_chapter_4_of_the_crowd(ablation):
    runs = ablation.results.runs
    images = ablation.results.images.merge(runs[["run", "label"]], on="run")
    crowd = images[images["n_true"] > 20].groupby("label")[["tp", "fp", "fn"]].sum()
    scores = 2 * crowd["tp"] / (2 * crowd["tp"] + crowd["fp"] + crowd["fn"])
    best = scores.drop(["Otsu and watershed", "oracle"]).max()
    assert scores["Otsu and watershed"] == pytest.approx(best, abs=0.02)
