import numpy as np
import pytest
from scipy import ndimage

from cellcount_lib.data.simulate import simulate
from cellcount_lib.data.simulator.nuclei import grey_camera, place_nuclei

FACES = ("medium", "small", "uneven", "overcrowded")


@pytest.fixture(scope="module")
def pictures():
    return {f: [simulate(i, style=f"nuclei-{f}", size=(384, 512)) for i in range(3)] for f in FACES}


@pytest.mark.parametrize("face", FACES)
def test_pictures_are_grey_and_labels_are_exact(pictures, face):
    for sample in pictures[face]:
        assert sample.image.shape == (384, 512, 3)
        assert (sample.image == sample.image[..., :1]).all()
        assert sample.labels.dtype == np.int32
        assert sample.meta["labelling"] == "exact"
        assert sample.meta["face"] == face
        # numbered from 1 without gaps, one box for each
        assert np.array_equal(np.unique(sample.labels), np.arange(sample.count + 1))
        assert sample.meta["n_cells_drawn"] == sample.count == len(sample.meta["structures"])


@pytest.mark.parametrize("face", FACES)
def test_boxes_are_those_of_the_labels(pictures, face):
    sample = pictures[face][0]
    for number, structure in enumerate(sample.meta["structures"], start=1):
        rows, columns = np.nonzero(sample.labels == number)
        assert structure["kind"] == "nucleus"
        assert structure["box"] == (
            rows.min(),
            columns.min(),
            rows.max() + 1,
            columns.max() + 1,
        )


@pytest.mark.parametrize("face", FACES)
def test_nuclei_are_brighter_than_what_surrounds_them(pictures, face):
    for sample in pictures[face]:
        grey = sample.image[..., 0].astype(float)
        outside = np.median(grey[~ndimage.binary_dilation(sample.mask, iterations=4)])
        inside = ndimage.median(grey, sample.labels, np.arange(1, sample.count + 1))
        assert (inside > outside + 5).mean() > 0.95


def test_faces_differ_as_their_names_say(pictures):
    def area(face):
        return np.median(
            np.concatenate([np.bincount(s.labels.ravel())[1:] for s in pictures[face]])
        )

    def cover(face):
        return np.mean([s.mask.mean() for s in pictures[face]])

    def within(face):
        """Relative standard deviation of the brightness inside a nucleus."""
        values = []
        for s in pictures[face]:
            core = np.where(ndimage.binary_erosion(s.mask, iterations=4), s.labels, 0)
            for number in np.unique(core[core > 0]):
                grey = s.image[core == number, 0].astype(float)
                values.append(grey.std() / grey.mean())
        return np.median(values)

    assert area("small") < 0.3 * area("medium") < area("uneven")
    assert cover("overcrowded") > 2 * cover("medium")
    assert within("uneven") > 1.5 * within("medium")


def test_overcrowded_nuclei_touch():
    sample = simulate(1, style="nuclei-overcrowded", size=(512, 512))
    _, components = ndimage.label(sample.mask)
    assert components < 0.6 * sample.count


def test_nuclei_goes_through_the_faces_in_turn():
    for index in range(8):
        mixed = simulate(index, style="nuclei", size=(64, 64))
        face = FACES[index % 4]
        alone = simulate(index, style=f"nuclei-{face}", size=(64, 64))
        assert mixed.meta["face"] == face
        assert mixed.image.tobytes() == alone.image.tobytes()


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (65, 130), (300, 70)])
@pytest.mark.parametrize("face", FACES)
def test_any_size(face, size):
    sample = simulate(5, style=f"nuclei-{face}", size=size)
    assert sample.image.shape == (*size, 3)
    assert sample.labels.shape == size


def test_centres_keep_their_distance():
    rng = np.random.default_rng(0)
    radii = rng.uniform(5, 15, 60)
    centres = place_nuclei(rng, (200, 300), radii, clumped=0.5, closest=0.9)
    found = np.flatnonzero(~np.isnan(centres[:, 0]))
    assert len(found) > 30
    for a in found:
        assert 0 <= centres[a, 0] < 200
        assert 0 <= centres[a, 1] < 300
        for b in found[found > a]:
            apart = np.linalg.norm(centres[a] - centres[b])
            assert apart >= 0.9 * (radii[a] + radii[b]) - 1e-9


def test_what_finds_no_place_is_left_out():
    # two discs of radius 40 whose centres must be 80 apart do not fit in a field of 50 x 50
    radii = np.array([40.0, 40.0])
    centres = place_nuclei(np.random.default_rng(0), (50, 50), radii, clumped=0.5, closest=1.0)
    assert not np.isnan(centres[0]).any()
    assert np.isnan(centres[1]).all()


def test_camera_keeps_the_level_of_light():
    light = np.full((80, 90), 100, np.float32)
    image = grey_camera(np.random.default_rng(0), light, background=10.0, haze=0.0)
    # the ground varies by a seventh of its 10 levels; light of 110 has a noise of 0.5 + sqrt(110)/4
    assert abs(image.mean() - 110) < 3
    assert 1 < image[..., 0].astype(float).std() < 6
    dark = grey_camera(np.random.default_rng(0), 0 * light, background=10.0, haze=0.0)
    assert dark.mean() < 15
