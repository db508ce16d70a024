"""Networks away from home: what a step changes, and what stays as it was at home."""

import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from cellcount_lib.data.datasets import load
from cellcount_lib.data.images import read_image, write_png
from cellcount_lib.errors import DataError
from cellcount_lib.inference.evaluation import ScaledProtocol, heatmaps
from cellcount_lib.inference.formulations import Formulation
from cellcount_lib.inference.heatmaps import Kept, load_heatmaps, save_heatmaps
from cellcount_lib.inference.info import MODEL
from cellcount_lib.inference.model_file import read_tensors, write_tensors
from cellcount_lib.inference.predict import logit_map
from cellcount_lib.methods.apply import apply
from cellcount_lib.methods.chosen import chosen
from cellcount_lib.methods.harmonise import measure
from cellcount_lib.methods.score import Scoring, score
from cellcount_lib.records import RECORD
from cellcount_lib.scoring.cutoff import choose
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.protocols import protocol
from cellcount_lib.scoring.sweeps import sweep
from cellcount_lib.training.data import full_size
from tests.discs import write_dataset


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


def away(base, name, *, dim=1, **change):
    """The discs again, larger and `dim` times as dark, or as `change` says."""
    folder = base / name
    if not folder.exists():
        write_dataset(folder, train=4, val=3, test=3, seed=5, **change)
        for path in (folder / "images").iterdir():
            write_png(path, read_image(path)[0] // dim)
    return f"folder:{folder}"


def test_at_home_a_network_scores_what_its_run_scored(home):
    base, folder, result = home
    parts = full_size(f"folder:{base / 'discs'}", "smoke", protocol_scale=0.45)
    rows, choice = apply(folder, parts, ScaledProtocol(protocol("recommended"), 0.45, 1))
    assert choice == result.choice
    pd.testing.assert_frame_equal(rows, result.images)


def test_of_several_runs_the_best_on_validation_pictures_is_scored(home):
    base, folder, result = home
    poor = folder.parent / "poor"
    shutil.copytree(folder, poor, dirs_exist_ok=True)
    kept = load_heatmaps(folder / "heatmaps-val.npz")  # finds nothing in the pictures but one
    for name in list(kept)[1:]:
        kept[name] = Kept(np.full_like(kept[name].code, -2000), kept[name].size)
    save_heatmaps(poor / "heatmaps-val.npz", kept)
    tensors, about = read_tensors(poor / MODEL)
    name = next(iter(tensors))  # its training ended in numbers that are none
    write_tensors(poor / MODEL, tensors | {name: torch.full_like(tensors[name], torch.nan)}, about)
    path = poor / RECORD
    path.write_text(path.read_text().replace('"protocol": "recommended"', '"protocol": "other"'))
    data = f"folder:{base / 'discs'}"
    for names in ("poor+one", "one+poor"):
        asked = Scoring("run", data, "smoke", protocol_scale=0.45, run=names)
        found = score(asked, run=folder.parent / names)
        pd.testing.assert_frame_equal(found.images, result.images)
        assert found.choice.note.endswith("of one")
        assert found.choice.value == result.choice.value


def test_a_cutoff_is_swept_again_only_under_another_protocol_or_on_other_pictures(home, tmp_path):
    base, folder, result = home
    ruler = protocol("recommended")
    parts = full_size(f"folder:{base / 'discs'}", "smoke", protocol_scale=0.45)
    scaled = ScaledProtocol(ruler, 0.45, 1)
    shutil.copy(folder / RECORD, tmp_path)  # without its heatmaps nothing can be swept
    assert chosen(tmp_path, parts, scaled) == result.choice
    for other in (
        (parts, replace(scaled, scale=0.5)),
        (parts, replace(scaled, protocol=replace(ruler, name="other"))),
        (replace(parts, fingerprint="other"), scaled),
    ):
        with pytest.raises(DataError, match="expected the heatmaps of a run"):
            chosen(tmp_path, *other)
    assert chosen(folder, *other) == result.choice


def test_mirrored_a_network_is_asked_four_times_and_its_answers_averaged(home):
    base, folder, result = home
    name = f"folder:{base / 'discs'}"
    found = score(Scoring("mirrored", name, "smoke", protocol_scale=0.45, run="one"), run=folder)
    ruler, logits = protocol("recommended"), {"val": [], "test": []}
    for part, answers in logits.items():
        for sample in load(name, split=part):
            total = 0
            for axes in ((), (0,), (1,), (0, 1)):
                image = np.flip(sample.image, axes)
                answer = logit_map(result.model, image, precision="fp32")
                total = total + np.flip(answer, axes)
            answers.append((sample, 1 / (1 + np.exp(-total / 4))))
    heat, labels = [h for _, h in logits["val"]], [s.labels for s, _ in logits["val"]]
    curve = sweep(heat, labels, ruler, ruler.cutoffs, scale=0.45)
    assert found.choice == choose(curve, "middle")
    for sample, heatmap in logits["test"]:
        row = ruler.score(sample.labels, ruler.segment(heatmap, found.cutoff, scale=0.45))
        named = found.images.set_index("image").loc[sample.meta["name"]]
        assert (named["tp"], named["n_pred"]) == (row["tp"], row["n_pred"])


@pytest.fixture
def seen(monkeypatch):
    """What networks were given and what they answered: images, scale, heatmaps, labels."""
    calls = []

    def watched(model, pictures, *, scale, stretch, asks):
        kept, labels = heatmaps(model, pictures, scale=scale, asks=asks)
        calls.append(([s.image for s in pictures], scale, kept, labels))
        return kept, labels

    monkeypatch.setattr(sys.modules["cellcount_lib.methods.apply"], "heatmaps", watched)
    return calls


def test_with_size_the_network_sees_cells_as_wide_as_at_home(home, seen):
    base, folder, result = home
    name = away(base, "large", size=(230, 260), number=4, radius=27.0)
    for harmonise in (None, "size"):
        asked = Scoring("apply", dataset=name, profile="smoke", run="one", harmonise=harmonise)
        assert pooled(score(asked, run=folder).images)["f1"] > 0.8
    assert seen[0][1] == result.info.scale == 1.0
    assert seen[1][1] == pytest.approx(9 / 27, rel=0.03)


def test_lengths_are_of_the_pixels_that_the_network_sees_away(home, monkeypatch):
    base, folder, _ = home
    name = away(base, "large", size=(230, 260), number=4, radius=27.0)
    asked_for = []

    class Watched(Formulation):
        def adapt(self, protocol, *, magnification):
            asked_for.append(magnification)
            return protocol

    monkeypatch.setattr(
        sys.modules["cellcount_lib.methods.apply"], "formulation", lambda _: Watched()
    )
    asked = Scoring("apply", dataset=name, profile="smoke", run="one", protocol_scale=1.35)
    for harmonise in (None, "size"):
        score(replace(asked, harmonise=harmonise), run=folder)
    # cells there are three times as wide, and so are a protocol's pixels, of which home has 0.45
    assert asked_for == pytest.approx([1 / 1.35, 1 / 0.45], rel=0.03)


def test_the_cutoff_is_chosen_again_only_when_asked_and_home_is_looked_at_once(home):
    base, folder, result = home
    name = away(base, "large", size=(230, 260), number=4, radius=27.0)
    kept = folder / "home-recommended.json"
    kept.unlink(missing_ok=True)
    asked = Scoring("apply", dataset=name, profile="smoke", run="one", harmonise="size")
    assert score(asked, run=folder).cutoff == result.info.threshold
    known = json.loads(kept.read_text())
    other = {"choice": known["choice"] | {"cutoff": 0.9}}
    kept.write_text(json.dumps(known | other))
    assert score(asked, run=folder).cutoff == 0.9, "what was kept is used"
    kept.write_text(json.dumps(known | other | {"of": "another run"}))
    assert score(asked, run=folder).cutoff == result.info.threshold, "but not of another run"
    again = Scoring("apply", dataset=name, profile="smoke", run="one", harmonise="size+cutoff")
    assert score(again, run=folder).cutoff in protocol("recommended").cutoffs


def test_pictures_away_are_changed_as_by_hand_and_the_cutoff_is_theirs(home, seen):
    base, folder, _ = home
    name = away(base, "dim", dim=4, size=(160, 180), number=4, radius=18.0)
    steps = "size+colour+intensity+cutoff"
    asked = Scoring("apply", dataset=name, profile="smoke", run="one", harmonise=steps)
    score(asked, run=folder)
    kept_home = folder / "home-recommended.json"
    home_said = json.loads(kept_home.read_text())
    home_said["choice"]["cutoff"] = 0.97
    kept_home.write_text(json.dumps(home_said))
    scored = score(asked, run=folder)
    kept_home.unlink()
    here, there = (
        measure(list(load(folder_name, split="train")))
        for folder_name in (f"folder:{base / 'discs'}", name)
    )
    contrast = (here.cell - here.background) / (there.cell - there.background)
    ruler, size, rows = protocol("recommended"), scored.protocol_scale, {}
    for part, (images, scale, kept, labels) in zip(("val", "test"), seen[2:], strict=True):
        assert scale == round(here.cell_px / there.cell_px, 3)
        for sample, image in zip(load(name, split=part), images, strict=True):
            light = here.background + contrast * (sample.image.max(axis=2) - there.background)
            by_hand = np.maximum(light, 0)[..., None] * np.array(here.colour)
            assert np.abs(image - np.clip(by_hand, 0, 255)).max() <= 0.51
        rows[part] = {
            cutoff: [
                ruler.score(
                    labels[n],
                    ruler.segment(kept[n].heatmap(), cutoff, scale=size),
                    image=n,
                    scale=size,
                )
                for n in kept
            ]
            for cutoff in ruler.cutoffs
        }

    def f1(cutoff):
        sums = pd.DataFrame(rows["val"][cutoff]).sum(numeric_only=True)
        return 2 * sums["tp"] / (2 * sums["tp"] + sums["fp"] + sums["fn"])

    best = [cutoff for cutoff in ruler.cutoffs if f1(cutoff) == max(map(f1, ruler.cutoffs))]
    assert best[-1] - best[0] < 0.025 * len(best)  # neighbours, of which the middle one is taken
    assert scored.cutoff == best[(len(best) - 1) // 2]
    pd.testing.assert_frame_equal(scored.images, pd.DataFrame(rows["test"][scored.cutoff]))


def test_a_folder_without_a_network_is_refused(home, tmp_path):
    asked = Scoring("apply", dataset=f"folder:{home[0] / 'discs'}", profile="smoke", run="x")
    with pytest.raises(DataError, match="expected the model of a run"):
        score(asked, run=tmp_path)
