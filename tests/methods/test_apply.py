"""Networks away from home: what a step changes, and what stays as it was at home."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cellcount_lib.data.datasets import load
from cellcount_lib.errors import DataError
from cellcount_lib.inference.evaluation import ScaledProtocol, heatmaps
from cellcount_lib.inference.model_file import load_model
from cellcount_lib.methods.apply import apply
from cellcount_lib.methods.harmonise import measure
from cellcount_lib.methods.score import Scoring, score
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.protocols import protocol
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


def test_scores_away_are_those_of_pictures_changed_by_hand(home):
    base, folder, _ = home
    name = away(base, "large", size=(230, 260), number=4, radius=27.0)
    asked = Scoring(
        "apply",
        dataset=name,
        profile="smoke",
        run="one",
        harmonise="size+colour+intensity+cutoff",
    )
    scored = score(asked, run=folder)
    here, there = (
        measure(list(load(folder_name, split="train")))
        for folder_name in (f"folder:{base / 'discs'}", name)
    )

    def changed(sample):
        light = sample.image.max(axis=2).astype(np.float32)
        contrast = (here.cell - here.background) / (there.cell - there.background)
        wanted = np.maximum(here.background + contrast * (light - there.background), 0)
        image = wanted[..., None] * np.array(here.colour, np.float32)
        return replace(sample, image=np.rint(np.clip(image, 0, 255)).astype(np.uint8))

    ruler, size = protocol("recommended"), scored.protocol_scale
    network = load_model(folder / "model.safetensors").model
    seen = {}
    for part in ("val", "test"):
        pictures = [changed(sample) for sample in load(name, split=part)]
        scale = round(here.cell_px / there.cell_px, 3)
        kept, labels = heatmaps(network, pictures, scale=scale, jobs=1)
        seen[part] = [(kept[n].heatmap(), labels[n], n) for n in kept]

    def rows(part, cutoff):
        return [
            ruler.score(labels, ruler.segment(heatmap, cutoff, scale=size), image=n, scale=size)
            for heatmap, labels, n in seen[part]
        ]

    def f1(cutoff):
        tp, fp, fn = np.sum([[r["tp"], r["fp"], r["fn"]] for r in rows("val", cutoff)], axis=0)
        return 2 * tp / (2 * tp + fp + fn)

    assert scored.cutoff == max(ruler.cutoffs, key=f1)
    pd.testing.assert_frame_equal(scored.images, pd.DataFrame(rows("test", scored.cutoff)))


def test_a_folder_without_a_network_is_refused(home, tmp_path):
    asked = Scoring("apply", dataset=f"folder:{home[0] / 'discs'}", profile="smoke", run="x")
    with pytest.raises(DataError, match="expected the model of a run"):
        score(asked, run=tmp_path)
