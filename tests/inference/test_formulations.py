"""Targets, losses and ways to objects of networks that are asked for more than a mask."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import ndimage
from torch.nn import functional as F

from cellcount_lib.data.datasets import load
from cellcount_lib.data.shapes import RAYS, bell, outlines, rays
from cellcount_lib.errors import InputError
from cellcount_lib.inference import tiles as cut
from cellcount_lib.inference.evaluation import ScaledProtocol
from cellcount_lib.inference.formulations import MASK, OF_LOSS, formulation
from cellcount_lib.inference.heatmaps import (
    Kept,
    encode,
    enlarged,
    load_heatmaps,
    rounded,
    save_heatmaps,
)
from cellcount_lib.inference.info import ModelInfo
from cellcount_lib.inference.model_file import TrainedModel
from cellcount_lib.inference.network import predict
from cellcount_lib.inference.predict import logit_map
from cellcount_lib.losses import LOSSES, PRESETS, build, cell_logit
from cellcount_lib.models import ModelConfig
from cellcount_lib.models import build as build_model
from cellcount_lib.postprocess.postprocess import Cores
from cellcount_lib.scoring.objects import iou_matrix
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.protocols import protocol
from tests.discs import disc_labels

TOUCHING = disc_labels((100, 160), [(50, 50, 20), (50, 89, 20), (30, 130, 18)])


def test_every_formulation_has_a_loss_and_says_how_many_channels_it_needs():
    assert set(OF_LOSS) <= {*PRESETS, *LOSSES}
    for name, asks in OF_LOSS.items():
        target = torch.from_numpy(asks.target(TOUCHING))[None]
        logits = torch.zeros(1, asks.channels, *TOUCHING.shape)
        assert torch.isfinite(build(name)(logits, target))
    assert formulation("combined-balanced") is MASK


@pytest.mark.parametrize("width", [2, 4, 6, 8])
def test_an_outline_is_as_wide_as_it_says_and_runs_between_touching_cells(width):
    row = np.zeros((1, 40), int)
    row[0, 10:20], row[0, 20:30] = 1, 2
    found = np.flatnonzero(outlines(row, width)[0])
    half = width // 2
    expected = [x for edge in (10, 20, 30) for x in range(edge - half, edge + half)]
    assert found.tolist() == expected


def test_an_outline_against_a_plain_loop_over_all_pixels():
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 3, (4, 5)), np.ones((5, 6), int))
    height, width = labels.shape
    edge = np.zeros_like(labels, bool)
    for y in range(height):
        for x in range(width):
            for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                if 0 <= y + dy < height and 0 <= x + dx < width:
                    edge[y, x] |= labels[y, x] != labels[y + dy, x + dx]
    np.testing.assert_array_equal(outlines(labels, 2), edge)
    assert not outlines(np.ones((5, 5), int), 8).any()  # one cell that fills the picture


def test_depth_against_a_distance_map_of_every_cell_alone():
    found = OF_LOSS["distance"].target(TOUCHING)
    for number in (1, 2, 3):
        alone = ndimage.distance_transform_edt(number == TOUCHING)
        expected = np.rint(127.5 + 127.5 * alone / alone.max())
        inside = number == TOUCHING
        assert np.abs(found[inside] - expected[inside]).max() <= 1
        assert found[inside].max() == 255
    assert (found[TOUCHING == 0] == 0).all()
    assert (OF_LOSS["distance"].target(np.zeros((4, 4), int)) == 0).all()


def test_what_is_as_deep_as_an_outline_is_cell():
    target = torch.tensor([[[[0, 127, 128, 255]]]])
    assert build("distance").truth(target).flatten().tolist() == [False, False, True, True]


def test_targets_are_what_their_names_say():
    classes = OF_LOSS["three-class-4"].target(TOUCHING)
    edge = outlines(TOUCHING, 4)
    assert ((classes == 2) == edge).all()
    assert ((classes == 1) == ((TOUCHING > 0) & ~edge)).all()
    assert (OF_LOSS["boundary-4"].target(TOUCHING) == edge).all()
    many = np.arange(600).reshape(20, 30)
    numbered = OF_LOSS["instances"].target(many)
    assert numbered.max() == 255
    assert numbered[many > 0].min() == 1
    assert numbered[0, 0] == 0


def test_a_bell_is_one_beside_an_outline_a_half_where_its_width_ends_and_nothing_from_four_on():
    row = np.zeros((1, 30), int)
    row[0, 15:] = 1
    found = bell(row, 4)[0] / 255
    # the outline is at 14.5, where pixels 14 and 15 meet; sigma from exp(-(2^2 - 1/4)/2s^2) = 1/2
    twice_variance = 3.75 / np.log(2)
    for x in range(30):
        distance = abs(x - 14.5)
        expected = np.exp(-(distance**2 - 0.25) / twice_variance) if distance < 4 else 0.0
        assert found[x] == pytest.approx(expected, abs=0.5 / 255)
    assert (found > 0).sum() == 8
    assert not bell(np.zeros((4, 4), int), 4).any()
    # above one half lies the outline of four pixels, but for the corners of its curve
    assert ((bell(TOUCHING, 4) > 127) != outlines(TOUCHING, 4)).sum() == 0
    assert OF_LOSS["boundary-bell"].target(TOUCHING).max() == 255


def test_the_loss_of_the_bell_is_the_squared_error_of_the_share():
    logits, target = torch.tensor([[[[0.0, 1.0]]]]), torch.tensor([[[[51, 255]]]])
    errors = (0.5 - 0.2) ** 2, (1 / (1 + np.exp(-1)) - 1) ** 2
    assert float(build("boundary-bell")(logits, target)) == pytest.approx(np.mean(errors))
    heavy = build("boundary-bell")(logits, target, torch.tensor([[[[3.0, 1.0]]]]))
    assert float(heavy) == pytest.approx((3 * errors[0] + errors[1]) / 4)


@pytest.mark.parametrize("name", [name for name in OF_LOSS if name != "instances"])
def test_a_perfect_answer_gives_back_the_touching_cells(name):
    ruler = OF_LOSS[name].adapt(protocol("instances"), magnification=1.0)
    answer = rounded(OF_LOSS[name].perfect(TOUCHING))
    found = ruler.segment(enlarged(answer, TOUCHING.shape), 0.5)
    overlap = iou_matrix(TOUCHING, found)[0]
    assert found.max() == 3
    assert overlap.max(axis=1).min() > 0.85
    row = ruler.score(TOUCHING, found)
    assert (row["tp"], row["splits"], row["merges"]) == (3, 0, 0)
    # a protocol that labels the mask again leaves these objects alone: they are not its pieces
    assert protocol("clissa2023").pred_objects(found).max() == 2
    again = OF_LOSS[name].adapt(protocol("clissa2023"), magnification=1.0)
    assert again.pred_objects(found).max() == 3


def test_outlines_grow_with_the_magnification():
    cores = (OF_LOSS["three-class-4"].target(TOUCHING) == 1).astype(np.float32)
    once = OF_LOSS["three-class-4"].adapt(protocol("instances"), magnification=1.0)
    twice = OF_LOSS["three-class-4"].adapt(protocol("instances"), magnification=2.0)
    assert once.postprocess.touching == Cores(2, 50)
    assert twice.postprocess.touching == Cores(4, 50)
    areas = [np.count_nonzero(r.segment(cores, 0.5)) for r in (once, twice)]
    assert areas[0] < areas[1]
    # at half the size half as much grows: as if outlines were half as wide
    thin = OF_LOSS["three-class-2"].adapt(protocol("instances"), magnification=1.0)
    assert thin.postprocess.touching.grow == 1
    half = ScaledProtocol(once, 0.5).protocol.segment(cores, 0.5, scale=0.5)
    assert np.array_equal(half > 0, thin.segment(cores, 0.5) > 0)


@pytest.mark.parametrize("protocol_scale", [0.36, 0.5, 0.7, 1.0, 1.47])
def test_what_grows_is_whole_pixels_whatever_the_scale_of_the_protocol(protocol_scale):
    cores = (OF_LOSS["three-class-2"].target(TOUCHING) == 1).astype(np.float32)
    ruler = OF_LOSS["three-class-2"].adapt(protocol("instances"), magnification=1 / protocol_scale)
    found = ruler.segment(cores, 0.5, scale=protocol_scale)
    # an outline of two pixels took one inside: by one pixel, up, down, left and right, it grows
    assert np.array_equal(found > 0, ndimage.binary_dilation(cores > 0))


def test_background_between_outlines_is_no_cell():
    edge = outlines(TOUCHING, 4).astype(np.float32)
    ruler = OF_LOSS["boundary-4"].adapt(protocol("instances"), magnification=1.0)
    found = ruler.segment(edge, 0.5)
    assert found[0, 0] == 0
    assert found.max() == 3


def test_three_classes_reduce_to_inside_against_the_rest():
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    expected = logits.softmax(dim=1)[:, 1:2]
    torch.testing.assert_close(cell_logit(logits).sigmoid(), expected)


def test_the_loss_over_classes_is_torchs_with_class_weights():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 6, 7, generator=generator, dtype=torch.float64)
    target = torch.randint(3, (2, 1, 6, 7), generator=generator)
    weights = torch.tensor([1.0, 1.0, 4.0], dtype=torch.float64)
    expected = F.cross_entropy(logits, target[:, 0], weight=weights)
    loss = build("three-class-4")
    torch.testing.assert_close(loss(logits, target), expected)
    torch.testing.assert_close(loss(logits, target.to(torch.uint8)), expected)
    assert torch.equal(loss.truth(target), target == 1)
    with pytest.raises(InputError, match=r"logits: expected shape \(2, 3, 6, 7\)"):
        loss(logits[:, :2], target)


def test_the_loss_over_instances_against_a_loop_over_objects():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 1, 8, 9, generator=generator, dtype=torch.float64)
    target = torch.randint(4, (2, 1, 8, 9), generator=generator)
    target[1] = 0  # a crop without cells
    target[1, 0, 0, :3] = 7
    prices = []
    for p, numbers in zip(logits.sigmoid(), target, strict=True):
        objects = [int(n) for n in numbers.unique() if n]
        false = float(p[numbers == 0].sum()) / len(objects)
        for number in objects:
            inside = p[numbers == number]
            common = float(inside.sum())
            prices.append(1 - 2 * common / (common + inside.numel() + false))
    mask = build("combined-balanced")(logits, target > 0)
    found = build("instances", beta=0.5)(logits, target)
    assert float(found) == pytest.approx(float(mask) + 0.5 * np.mean(prices))
    empty = torch.zeros_like(target)
    assert torch.isfinite(build("instances")(logits, empty))


def test_small_objects_weigh_as_much_as_large_ones():
    target = torch.zeros(1, 1, 20, 20, dtype=torch.int64)
    target[0, 0, :10, :10], target[0, 0, 15:17, 15:17] = 1, 2
    sure = torch.where(target > 0, 9.0, -9.0)
    without_small = torch.where(target == 1, 9.0, -9.0)
    without_large = torch.where(target == 2, 9.0, -9.0)
    per_object = [
        float(build("instances")(z, target) - build("combined-balanced")(z, target > 0))
        for z in (sure, without_small, without_large)
    ]
    assert per_object[0] < 0.01
    assert per_object[1] == pytest.approx(per_object[2], abs=0.05)
    assert per_object[1] == pytest.approx(0.5, abs=0.05)


def test_a_model_file_knows_its_formulation():
    info = ModelInfo(ModelConfig("c-resunet", out_channels=3), formulation="three-class-4")
    assert info.ruler().postprocess.touching == Cores(2, 50)
    assert info.ruler("marzo2016").name == "marzo2016"
    with pytest.raises(InputError, match="formulation 'three-clas-4'"):
        ModelInfo(ModelConfig("c-resunet"), formulation="three-clas-4")


def test_a_class_that_is_none_is_refused():
    target = torch.full((1, 1, 4, 4), 3, dtype=torch.uint8)
    with pytest.raises(InputError, match="expected classes 0, 1 and 2, found 3 to 3"):
        build("three-class-4")(torch.zeros(1, 3, 4, 4), target)


@pytest.fixture(scope="module")
def crowd():
    """A crowded picture at full size, and at the size at which networks see it."""
    return [
        load("simulated:nuclei-overcrowded", split="val", scale=s)[0].labels for s in (1.0, 0.35)
    ]


@pytest.mark.parametrize(("name", "least"), [("stars", 0.93), ("flows", 0.99)])
def test_what_is_drawn_of_crowded_nuclei_gives_them_back(name, least, crowd):
    asks = OF_LOSS[name]
    full, seen = crowd
    # at the size at which it is drawn; measured: stars 0.945, flows 1.000
    ruler = asks.adapt(protocol("instances"), magnification=2.2)
    found = ruler.segment(enlarged(rounded(asks.perfect(seen)), seen.shape), 0.3, scale=1 / 2.2)
    row = ruler.score(seen, found)
    assert row["tp"] == row["n_true"] == row["n_pred"] > 100
    assert pooled(pd.DataFrame([row]))["pq"] > least
    # enlarged to full size, where outlines are as coarse as what was drawn; 0.939 and 0.942
    ruler = asks.adapt(protocol("instances"), magnification=1 / (0.35 * 1.33))
    found = ruler.segment(enlarged(rounded(asks.perfect(seen)), full.shape), 0.3, scale=1.33)
    row = ruler.score(full, found, scale=1.33)
    assert row["tp"] == row["n_true"] == row["n_pred"]
    assert pooled(pd.DataFrame([row]))["pq"] > 0.92


@pytest.mark.parametrize("axis", [-2, -1])
@pytest.mark.parametrize("name", ["dice", "three-class-4", "distance", "stars", "flows"])
def test_the_answer_for_a_mirrored_picture_is_the_mirrored_answer(name, axis):
    asks = formulation(name)
    answer, other = asks.perfect(TOUCHING), asks.perfect(np.flip(TOUCHING, axis))
    np.testing.assert_allclose(asks.mirrored(answer, axis), other, atol=1e-4)
    twice = asks.mirrored(asks.mirrored(answer, axis), axis)
    np.testing.assert_array_equal(twice, answer)
    assert not np.allclose(asks.mirrored(answer, axis), answer)


def test_the_loss_of_stars_by_hand():
    target = torch.zeros(1, 1, 3, 5, dtype=torch.uint8)
    target[0, 0, 1, 1:4] = 9  # a row of three: depths 1, 1, 1, all at the edge of the cell
    logits = torch.zeros(1, 1 + RAYS, 3, 5)
    logits[:, 1:] = 1.0  # all rays 8 pixels long
    errors = np.abs(8 - rays(target[0, 0].numpy())[:, 1, 1:4]).mean()
    expected = np.log(2) + 0.2 * errors
    assert float(build("stars")(logits, target)) == pytest.approx(expected, rel=1e-6)
    # where a weight is 0, nothing counts
    weight = torch.ones(1, 1, 3, 5)
    weight[..., 1] = 0
    errors = np.abs(8 - rays(target[0, 0].numpy())[:, 1, 2:4]).mean()
    found = build("stars")(logits, target, weight)
    assert float(found) == pytest.approx(np.log(2) + 0.2 * errors, rel=1e-6)
    assert torch.equal(build("stars").truth(target), target > 0)
    assert not build("stars").truth(torch.from_numpy(np.uint8(TOUCHING)))[50, 32]  # at an edge


def test_the_loss_of_flows_by_hand():
    target = torch.zeros(2, 3, 5, dtype=torch.uint8)
    target[0, 1, 1:4] = 9  # flows to the right, nowhere, to the left
    logits = torch.zeros(2, 3, 3, 5)
    logits[:, 2] = 1.0
    errors = [(1 - 5) ** 2, 1, (1 + 5) ** 2, *[1] * 27]
    expected = np.log(2) + 0.5 * np.mean(errors) / 2  # of two planes one is right
    assert float(build("flows")(logits, target)) == pytest.approx(expected, rel=1e-6)


def test_pieces_of_one_number_are_cells_of_their_own_for_their_flows():
    numbers = np.zeros((1, 9, 30), np.uint8)
    numbers[0, 2:7, 2:7] = numbers[0, 2:7, 20:25] = 5
    inside, flow = build("flows").draw(numbers)
    assert np.array_equal(inside[:, 0], numbers > 0)
    np.testing.assert_allclose(flow[0, :, :, 2:7], flow[0, :, :, 20:25], atol=1e-6)


@pytest.mark.parametrize("name", ["stars", "flows"])
def test_a_crop_without_cells_and_logits_of_another_shape(name):
    loss, planes = build(name), OF_LOSS[name].channels
    empty = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    logits = torch.zeros(2, planes, 8, 8, requires_grad=True)
    loss(logits, empty).backward()
    assert torch.isfinite(logits.grad).all()
    assert loss.activation(logits).shape == (2, 1, 8, 8)
    with pytest.raises(InputError, match=rf"logits: expected shape \(2, {planes}, 8, 8\)"):
        loss(logits[:, :2], empty)


@pytest.mark.parametrize("name", ["stars", "flows"])
def test_planes_are_kept_in_sixteen_bits_and_applied_in_tiles(name, monkeypatch, tmp_path):
    asks = OF_LOSS[name]
    model = build_model("small-unet", out_channels=asks.channels, seed=1)
    image = np.random.default_rng(0).integers(0, 256, (150, 210, 3)).astype(np.uint8)
    answer = logit_map(model, image, precision="fp32", asks=asks)
    assert answer.shape == (1 + asks.planes, 150, 210)
    monkeypatch.setattr(cut, "SMALLEST_TILE", 96)
    tiled = logit_map(model, image, precision="fp32", asks=asks, memory_mb=0.001)
    assert np.abs(tiled - answer).max() <= 1 / 256
    with torch.no_grad():
        pixels = torch.tensor(image / 255, dtype=torch.float32).permute(2, 0, 1)[None]
        plain = model.eval()(pixels)[0].numpy()
    assert np.abs(answer - plain.clip(-8, 8)).max() <= 1 / 512 + 1e-5
    save_heatmaps(tmp_path / "h.npz", {"a": Kept(encode(answer), (300, 420))})
    heatmap = load_heatmaps(tmp_path / "h.npz")["a"].heatmap()
    assert heatmap.shape == (1 + asks.planes, 300, 420)
    np.testing.assert_array_equal(heatmap[0], enlarged(answer[0], (300, 420)))
    assert np.abs(heatmap[1:, ::2, ::2] - answer[1:]).max() < 2  # no probabilities


@pytest.mark.parametrize("name", ["stars", "flows"])
def test_a_trained_model_of_planes_predicts_labels_and_a_plain_heatmap(name):
    asks = OF_LOSS[name]
    model = build_model("small-unet", out_channels=asks.channels)
    info = ModelInfo(model.config, formulation=name)
    found = predict(TrainedModel(model, info), np.zeros((40, 50, 3), np.uint8), threshold=0.9)
    assert found.heatmap.shape == found.labels.shape == (40, 50)
    assert found.labels.max() == 0


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", ["dice", "three-class-4", "stars", "flows"])
def test_mirrored_answers_do_not_depend_on_the_side_a_picture_is_seen_from(name, axis):
    asks = formulation(name)
    model = build_model("small-unet", out_channels=asks.channels, seed=1)
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3)).astype(np.uint8)

    def turned(mirrored):
        answer, other = (
            logit_map(model, seen, precision="fp32", asks=asks, mirrored=mirrored)
            for seen in (image, np.flip(image, axis))
        )
        return np.abs(asks.mirrored(answer, axis - 2) - other).max()

    assert turned(mirrored=True) <= 1 / 256  # half a step of the 16 bits, either way
    assert turned(mirrored=False) > 2 / 256
