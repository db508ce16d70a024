"""Looks, steps and distances of kinds of pictures, by hand; blobs; networks away from home."""

import json

import numpy as np
import pandas as pd
import pytest

from cellcount_lib.data.datasets import load
from cellcount_lib.data.sample import Sample
from cellcount_lib.errors import DataError, InputError
from cellcount_lib.inference.evaluation import ScaledProtocol
from cellcount_lib.methods.apply import apply
from cellcount_lib.methods.blobs import log_blobs
from cellcount_lib.methods.harmonise import (
    DESCRIPTORS,
    Harmonisation,
    Harmonised,
    Look,
    describe,
    distance,
    measure,
    steps,
)
from cellcount_lib.methods.score import Scoring, score
from cellcount_lib.scoring.objects import centroids
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.protocols import protocol
from cellcount_lib.training.data import full_size
from tests.discs import disc_labels, write_dataset

HOME = Look(cell_px=18.0, background=20.0, cell=160.0, colour=(1.0, 0.8, 0.2))


def picture(places, *, light=100, background=30, colour=(1, 1, 1), size=(90, 120)):
    labels = disc_labels(size, places)
    image = np.full((*size, 3), background, np.uint8)
    image[labels > 0] = (light * np.array(colour)).astype(np.uint8)
    return Sample(image, labels, {"name": "a"})


PLACES = [(20, 20, 9), (60, 80, 12), (60, 30, 6)]


def test_a_look_by_hand():
    found = measure([picture(PLACES, light=200, background=10, colour=(0.5, 1, 0))])
    areas = sorted(np.bincount(disc_labels((90, 120), PLACES).ravel())[1:])
    assert found.cell_px == pytest.approx(2 * np.sqrt(areas[1] / np.pi), abs=0.01)
    assert (found.background, found.cell) == (10, 200)
    assert found.colour == (0.5, 1.0, 0.0)
    with pytest.raises(DataError, match="at least one labelled cell"):
        measure([picture([])])


def test_all_steps_together_bring_the_look_home():
    sample = picture(PLACES)
    change = Harmonisation(("size", "colour", "intensity"), HOME, measure([sample]))
    again = measure(list(Harmonised([sample], change)))
    assert again.background == HOME.background
    assert again.cell == HOME.cell
    assert again.colour == pytest.approx(HOME.colour, abs=0.01)
    assert change.magnification == pytest.approx(HOME.cell_px / measure([sample]).cell_px)


def test_steps_that_are_not_named_change_nothing():
    sample = picture(PLACES)
    away = measure([sample])
    for names in ((), ("size",), ("cutoff",)):
        np.testing.assert_array_equal(Harmonisation(names, HOME, away)(sample.image), sample.image)
    assert Harmonisation(("colour",), HOME, away).magnification == 1.0
    only_light = Harmonisation(("intensity",), HOME, away)(sample.image)
    assert (only_light == only_light[..., :1]).all(), "grey stays grey"
    only_colour = Harmonisation(("colour",), HOME, away)(sample.image)
    assert (only_colour.max(-1) == sample.image.max(-1)).all(), "the highest channel stays"


def test_labels_and_names_stay_and_the_dataset_is_a_sequence():
    samples = [picture(PLACES), picture(PLACES[:1])]
    made = Harmonised(samples, Harmonisation(("colour",), HOME, measure(samples)))
    assert len(made) == 2
    assert [s.count for s in made] == [3, 1]
    assert made[1].meta == samples[1].meta
    assert len(made[:1]) == 1
    assert (made[:1][0].image == made[0].image).all()


@pytest.mark.parametrize(
    ("names", "message"),
    [("sise", "did you mean 'size'"), ("size+size", "every step once"), ("size+", "step ''")],
)
def test_wrong_steps_are_named(names, message):
    with pytest.raises(InputError, match=message):
        steps(names)


def test_descriptors_of_a_cell_by_hand():
    sample = picture([(40, 40, 10)], light=200, background=20, colour=(1, 0.5, 0))
    (row,) = describe([sample])
    area = np.count_nonzero(sample.labels)
    expected = [np.log(2 * np.sqrt(area / np.pi)), 200, 180, 1.0, area / sample.labels.size]
    assert row == pytest.approx(expected)
    (larger,) = describe([sample], magnification=2.0)
    assert larger[0] - row[0] == pytest.approx(np.log(2))
    assert describe([picture([])]).shape == (0, 5)


def test_a_distance_is_how_far_sorted_values_have_to_move():
    rng = np.random.default_rng(0)
    home, away = rng.normal(size=(50, 5)), rng.normal(1, 2, size=(50, 5))
    found = distance(home, away)
    for i, name in enumerate(DESCRIPTORS):
        by_hand = np.abs(np.sort(home[:, i]) - np.sort(away[:, i])).mean() / home[:, i].std()
        assert found[name] == pytest.approx(by_hand)
    assert found["mean"] == pytest.approx(np.mean([found[n] for n in DESCRIPTORS]))
    assert distance(home, home)["mean"] == 0


def test_blobs_lie_where_discs_are():
    places = [(20, 20, 9), (60, 80, 10), (60, 30, 8)]
    found = log_blobs(picture(places, light=220, background=10).image, cell_px=18.0)
    assert found.max() == 3
    true = sorted((row, column) for row, column, _ in places)
    for (row, column), centre in zip(true, sorted(map(tuple, centroids(found)[0])), strict=True):
        assert np.hypot(row - centre[0], column - centre[1]) < 3
    areas = np.bincount(found.ravel())[1:]
    assert (areas > 100).all()
    assert (areas < 700).all()


def test_large_pictures_are_reduced_and_labels_come_back_at_full_size():
    sample = picture([(150, 150, 60), (150, 400, 60)], light=220, size=(300, 560))
    found = log_blobs(sample.image, cell_px=120.0)
    assert found.shape == (300, 560)
    assert found.max() == 2
    assert found[150, 150] != found[150, 400]
    assert log_blobs(picture([]).image, cell_px=18.0).max() == 0


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A small network trained on discs, in the folder of a run with its record."""
    from cellcount_lib.runs.leaving import leave_record, record_of
    from cellcount_lib.training.data import read_data
    from cellcount_lib.training.prepare import prepare
    from cellcount_lib.training.result import evaluate, leave
    from cellcount_lib.training.spec import Training

    base = tmp_path_factory.mktemp("home")
    write_dataset(base / "discs", train=6, val=3, test=2)
    asked = Training(
        dataset=f"folder:{base / 'discs'}",
        arch="small-unet",
        profile="smoke",
        crop=32,
        batch=4,
        steps=40,
        epochs=3,
        scale=1.0,
        protocol_scale=0.45,
        precision="fp32",
    )
    data = read_data(asked, jobs=1)
    folder = base / "runs" / "one"
    ready = prepare(asked, data, folder, show=False)
    ready.fit()
    result = evaluate(ready, data, jobs=1)
    leave(folder, asked, result)
    leave_record(folder, record_of(asked, data, result, begun="2026-01-01T00:00:00Z", total=1.0))
    assert result.scores["f1"] > 0.8
    return base, folder, result


def away(base, name, **change):
    """The discs again, larger and dimmer, or as `change` says."""
    folder = base / name
    if not folder.exists():
        write_dataset(folder, train=4, val=3, test=3, seed=5, **change)
    return f"folder:{folder}"


def test_at_home_a_network_scores_what_its_run_scored(home):
    base, folder, result = home
    parts = full_size(f"folder:{base / 'discs'}", "smoke", protocol_scale=0.45)
    rows, cutoff = apply(folder, parts, ScaledProtocol(protocol("recommended"), 0.45, 1))
    assert cutoff == result.info.threshold
    pd.testing.assert_frame_equal(rows, result.images)


def test_with_size_the_network_sees_cells_as_wide_as_at_home(home, monkeypatch):
    from cellcount_lib.methods import apply as applying

    base, folder, result = home
    name = away(base, "large", size=(230, 260), number=4, radius=27.0)
    seen, real = [], applying.heatmaps

    def watched(model, pictures, *, scale):
        seen.append(scale)
        return real(model, pictures, scale=scale, jobs=1)

    monkeypatch.setattr(applying, "heatmaps", watched)
    for harmonise in (None, "size"):
        asked = Scoring("apply", dataset=name, profile="smoke", run="one", harmonise=harmonise)
        assert pooled(score(asked, run=folder).images)["f1"] > 0.8
    assert seen[0] == result.info.scale == 1.0
    assert seen[1] == pytest.approx(9 / 27, rel=0.03)


def test_the_cutoff_is_chosen_again_only_when_asked_and_home_is_looked_at_once(home):
    base, folder, result = home
    name = away(base, "large", size=(230, 260), number=4, radius=27.0)
    kept = folder / "home-recommended.json"
    kept.unlink(missing_ok=True)
    asked = Scoring("apply", dataset=name, profile="smoke", run="one", harmonise="size")
    assert score(asked, run=folder).cutoff == result.info.threshold
    known = json.loads(kept.read_text())
    kept.write_text(json.dumps(known | {"cutoff": 0.9}))
    assert score(asked, run=folder).cutoff == 0.9, "what was kept is used"
    kept.write_text(json.dumps(known | {"cutoff": 0.9, "of": "another run"}))
    assert score(asked, run=folder).cutoff == result.info.threshold, "but not of another run"
    again = Scoring("apply", dataset=name, profile="smoke", run="one", harmonise="size+cutoff")
    assert score(again, run=folder).cutoff in protocol("recommended").cutoffs


def test_what_cannot_be_applied_is_refused(home, tmp_path):
    base, _, _ = home
    name = f"folder:{base / 'discs'}"
    with pytest.raises(InputError, match="only the method 'apply'"):
        Scoring("oracle", harmonise="size")
    with pytest.raises(InputError, match="expected the id of a run"):
        Scoring("apply")
    with pytest.raises(DataError, match="expected the model of a run"):
        score(Scoring("apply", dataset=name, profile="smoke", run="x"), run=tmp_path)


def test_blobs_are_tuned_on_validation_pictures(home):
    base, _, _ = home
    asked = Scoring("log-blobs", dataset=f"folder:{base / 'discs'}", profile="smoke")
    found = score(asked)
    assert len(found.images) == len(load(asked.dataset, split="test"))
    assert pooled(found.images)["f1"] > 0.8
