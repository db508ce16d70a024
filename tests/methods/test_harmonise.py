"""Looks, steps and distances of kinds of pictures, worked out by hand."""

import numpy as np
import pytest

from cellcount_lib.data.sample import Sample
from cellcount_lib.errors import DataError, InputError
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
from tests.discs import disc_labels
from tests.methods.pictures import picture

HOME = Look(cell_px=18.0, background=20.0, cell=160.0, colour=(1.0, 0.8, 0.2))


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


def test_every_step_pixel_by_pixel():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (6, 7, 3)).astype(np.uint8)
    away = Look(cell_px=9.0, background=40.0, cell=110.0, colour=(0.2, 0.4, 1.0))
    both = Harmonisation(("colour", "intensity"), HOME, away)(image)
    light = Harmonisation(("intensity",), HOME, away)(image)
    for place in np.ndindex(6, 7):
        pixel = image[place].astype(float)
        # 40 becomes 20 and 110 becomes 160: twice the contrast
        wanted = max(0.0, 20 + 2 * (pixel.max() - 40))
        for made, expected in (
            (both[place], wanted * np.array(HOME.colour)),
            (light[place], wanted * pixel / max(pixel.max(), 1)),
        ):
            assert np.abs(made - np.clip(expected, 0, 255)).max() <= 0.51


def test_pictures_without_contrast_are_not_torn_apart():
    flat = Look(cell_px=18.0, background=50.0, cell=50.0, colour=(1.0, 1.0, 1.0))
    image = np.full((2, 2, 3), 50, np.uint8)
    image[0, 0] = 51
    made = Harmonisation(("intensity",), HOME, flat)(image)
    assert made[1, 1].tolist() == [20, 20, 20]
    assert made[0, 0].tolist() == [160, 160, 160]  # a contrast of 0 counts as 1


def test_descriptors_of_several_cells_by_hand():
    labels = np.array([[1, 1, 0, 3], [1, 1, 0, 3], [0, 0, 0, 3]], np.int32)  # there is no 2
    image = np.zeros((3, 4, 3), np.uint8)
    image[..., 0] = [[10, 20, 1, 90], [40, 100, 2, 60], [3, 9, 9, 30]]
    image[..., 1] = [[10, 10, 0, 90], [40, 10, 0, 60], [0, 0, 0, 30]]
    found = describe([Sample(image, labels, {})])
    # background 1, 2, 3, 9, 9; channels 10, 20, 40, 100 apart, and 90, 60, 30
    expected = [
        [np.log(2 * np.sqrt(4 / np.pi)), 30, 27, 30 / 30, 7 / 12],
        [np.log(2 * np.sqrt(3 / np.pi)), 60, 57, 60 / 60, 7 / 12],
    ]
    assert found == pytest.approx(np.array(expected))
    covered = describe([Sample(image[:2, :2], labels[:2, :2], {})])
    assert covered == pytest.approx(np.array([[expected[0][0], 30, 30, 1.0, 1.0]]))
