"""Which model counts a picture, how often it looks, and what ships."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cellcount_lib.data.sample import Sample
from cellcount_lib.data.simulate import simulate
from cellcount_lib.errors import InputError
from cellcount_lib.inference.info import SHIPPED, names
from cellcount_lib.inference.model_file import load_model
from cellcount_lib.inference.network import Prediction
from cellcount_lib.prediction.counter import counted
from cellcount_lib.prediction.models import (
    NEURONS,
    NUCLEI,
    OTSU,
    Model,
    choose,
    in_yellow,
    known,
    of_neurons,
    open_models,
)
from cellcount_lib.scoring.matching import match
from tests.discs import disc_labels, draw, write_dataset
from tools.ship_model import MASK, with_new_head

YELLOW, BLUE, GREY = (1, 0.82, 0.07), (0.1, 0.2, 1), (1, 1, 1)


def dyed(colour):
    """Discs in one colour on a dark ground."""
    labels = disc_labels((80, 120), [(40, 30, 12), (40, 80, 12)])
    return (180 * (labels > 0)[..., None] * np.array(colour)).astype(np.uint8)


def test_each_picture_has_the_model_that_suits_it():
    models = [Model(f"{NUCLEI} 1", None), Model("neurons 2", None)]
    for colour, suits in ((YELLOW, "neurons"), ((1, 0, 0), "neurons")):
        assert choose(models, dyed(colour)).title == suits
    for colour in (BLUE, GREY, (0, 1, 0), (0, 0, 0)):
        assert choose(models, dyed(colour)).title == NUCLEI
    assert choose(models[:1], dyed(YELLOW)).title == NUCLEI  # asked for by name
    assert {"auto", NEURONS, NUCLEI, OTSU} <= set(known())


def test_neurons_are_shown_in_yellow():
    yellow = dyed(YELLOW)
    assert in_yellow(yellow) is yellow
    for colour in ((1, 0, 0), GREY, BLUE):
        shown = in_yellow(dyed(colour))
        assert of_neurons(shown)
        assert np.abs(shown.astype(int) - yellow).max() <= 1


class Scripted:
    """A network that knows cells of 20 pixels, and finds five squares of a given width."""

    def __init__(self, *widths):
        self.widths, self.asked = list(widths), []

    def __call__(self, image, *, cell_px=None, **options):
        self.asked.append(cell_px)
        width = self.widths.pop(0) if len(self.widths) > 1 else self.widths[0]
        labels = np.zeros(image.shape[:2], np.int32)
        for number in range(5):
            labels[:width, number * 60 : number * 60 + width] = number + 1
        ratio = 1.0 if cell_px is None else 20 / cell_px
        return Prediction(np.zeros(labels.shape, np.float32), labels, 0.5, "recommended", ratio)


def looks(*widths, image, **options):
    network = Scripted(*widths)
    measures = options.pop("measures", True)
    pixel = options.pop("pixel", None)  # size in the training pictures
    found = counted(image, [Model("nuclei 1", network, 20.0, measures, pixel)], **options)
    return network.asked, found.cell_px, found.cell_px_from


@pytest.fixture
def discs():
    """Discs 24 pixels wide."""
    return draw(np.random.default_rng(3), size=(300, 320), number=9, radius=12)[0]


@pytest.fixture
def flat():
    return np.zeros((300, 320, 3), np.uint8)


def test_a_network_looks_again_at_cells_of_another_width(discs, flat):
    wide = 2 / np.sqrt(np.pi)  # of a square with a side of 1
    asked, width, origin = looks(21, image=discs)
    assert asked == [pytest.approx(24, rel=0.1)]
    assert (width, origin) == (asked[0], "estimated")
    asked, width, origin = looks(50, image=discs)
    assert asked == [pytest.approx(24, rel=0.1), pytest.approx(50 * wide)]
    assert (width, origin) == (pytest.approx(50 * wide), "found")
    # without an estimate the first look is at what the network knows: 20 pixels
    assert looks(18, image=flat) == ([None], None, "pixel size, or as in training")
    assert looks(9, image=flat)[0] == [None, pytest.approx(9 * wide)]
    assert len(looks(9, 18, 36, 50, image=flat)[0]) == 3  # no width is right: it ends


def test_what_is_said_is_not_estimated(discs):
    assert looks(50, image=discs, cell_px=7.0) == ([7.0], 7.0, "option")
    assert looks(50, image=discs, by_pixel_size=True, pixel=0.5) == ([None], None, "pixel size")
    assert looks(50, image=discs, measures=False)[0] == [None]


def test_a_pixel_size_says_nothing_to_a_model_that_does_not_know_its_own(discs):
    asked, width, origin = looks(21, image=discs, by_pixel_size=True)
    assert asked == [width] == [pytest.approx(24, rel=0.1)]
    assert origin == "estimated"


@pytest.mark.parametrize("asked", [{"device": "cpu"}, {"precision": "fp32"}])
def test_otsu_has_no_device_and_no_precision(asked):
    with pytest.raises(InputError, match="otsu-watershed is no network"):
        open_models(OTSU, **asked)


def test_pictures_at_once_share_the_memory_whatever_runs_the_network(monkeypatch):
    given = []

    def predict(network, image, *, memory_mb):
        given.append(memory_mb)

    monkeypatch.setattr("cellcount_lib.prediction.models.predict", predict)
    monkeypatch.setattr("cellcount_lib.prediction.models.budget", lambda memory_mb: 8e9)
    for at_once in (1, 8):
        open_models(NUCLEI, device="cpu", at_once=at_once)[0].apply(dyed(GREY))
    assert given == [8000, 1000]


def test_torch_without_memory_is_a_picture_that_fails(monkeypatch):
    def predict(*args, **options):
        return torch.empty(2**50)

    monkeypatch.setattr("cellcount_lib.prediction.models.predict", predict)
    (model,) = open_models(NUCLEI, device="cpu")
    with pytest.raises(MemoryError, match="not enough memory"):
        model.apply(dyed(GREY))


def test_the_shipped_models():
    assert {NEURONS, NUCLEI, MASK} <= set(names())
    for name in (NEURONS, NUCLEI, MASK):
        for suffix in (".onnx", ".safetensors"):
            assert (SHIPPED / f"{name}{suffix}").stat().st_size < 8e6
        trained = load_model(name)
        card, about = (SHIPPED / f"{name}.md").read_text(), trained.info.training
        assert card.startswith(f"# {name}\n")
        assert "{" not in card
        steps = about["recipe"]["epochs"] * about["profile"]["steps"]
        weights = sum(p.numel() for p in trained.model.parameters())
        for said in (
            f"{weights:,} weights",
            f"cutoff {trained.info.threshold} was chosen",
            f"{steps} steps",
            f"fingerprint {about['fingerprint'][:12]}",
            f"tools.ship_model {name}",
        ):
            assert said in card.replace("\n", " "), f"{name}: {said}"
    assert load_model(NUCLEI).info.stretch
    assert not load_model(NEURONS).info.stretch


def test_a_network_gets_more_outputs_and_keeps_its_mask():
    old = load_model(MASK)
    new = with_new_head(old, 3)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, after = old.model(image), new.eval()(image)
    assert after.shape == (1, 3, 32, 32)
    torch.testing.assert_close(after[:, :1], before)  # to rounding: convolutions of other widths
    assert 0 < after[:, 1:].abs().mean() < before.abs().mean()


def test_a_dim_picture_of_nuclei_is_counted():
    drawn = simulate(1, style="nuclei-medium", size=(260, 330))
    dim = (drawn.image[..., :1] / 6 + 4).astype(np.uint8).repeat(3, axis=2)
    assert dim.max() < 48
    found = counted(dim, open_models("auto"))
    assert found.model.title == NUCLEI
    assert found.prediction.labels.max() == drawn.count == 6
    matched = match(drawn.labels, found.prediction.labels, rule="hungarian-iou", threshold=0.7)
    assert len(matched.pairs) == 6


def test_the_benchmark_of_counting_on_discs(tmp_path):
    from benchmarks.counting import measured, pictures

    folder = write_dataset(tmp_path / "d", size=(150, 170), number=5, radius=14)
    found = measured(pictures(f"folder:{folder}", "test"), models=open_models(OTSU), by_group=True)
    assert found["pictures"].tolist()[::2] == ["all", "not dim", "18 to 36 px wide"]
    assert found["cells"].tolist() == [10] * 6
    assert found["F1"].str.startswith("1.000").all()
    assert found["counted by"].unique().tolist() == ["otsu-watershed 2"]
    assert found["F1 over Otsu"].tolist() == ["+0.000 (+0.00 to +0.00)", ""] * 3


def test_specks_are_cells_too_small_to_be_kept():
    """The protocol drops less than 200 pixels where cells are 38 wide: 14 where they are 10."""
    from benchmarks.counting import scored

    labels = np.zeros((60, 60), np.int32)
    for number, side in enumerate((9, 9, 9, 4, 3), start=1):  # 81 pixels: a circle 10.2 wide
        labels[5 : 5 + side, 11 * number - 10 : 11 * number - 10 + side] = number
    image = (200 * (labels > 0)).astype(np.uint8)[..., None].repeat(3, axis=2)
    rows = scored([Sample(image, labels, {"name": "a"})], open_models(OTSU))
    assert rows["specks"].tolist() == [1]
    assert rows["width"].tolist() == pytest.approx([10.2], abs=0.05)


def test_fields_that_are_held_back(tmp_path):
    from tools.nuclei_pictures import SBSST265, VALIDATED, middle, open_folder, resized

    folder = write_dataset(
        tmp_path / SBSST265, train=12, val=0, test=0, size=(70, 80), number=2, radius=8
    )
    parts = {split: open_folder(Path(folder), split) for split in ("train", "val", "test")}
    assert [len(part) for part in parts.values()] == [5, 3, 4]
    assert len({name for part in parts.values() for name in part.names}) == 12
    larger = resized(parts["val"][0], 64.0)  # four times as wide
    assert larger.labels.shape == pytest.approx((280, 320), abs=12)
    assert middle(larger).labels.shape == (VALIDATED, VALIDATED)
    row, column = ((side - VALIDATED) // 2 for side in larger.labels.shape)
    assert (middle(larger).image[0, 0] == larger.image[row, column]).all()
