from dataclasses import FrozenInstanceError

import numpy as np
import pandas as pd
import pytest
from skimage.io import imread
from skimage.measure import label, regionprops

from cellcount_lib.errors import InputError
from cellcount_lib.scoring.counting import MPE_CONVENTIONS
from cellcount_lib.scoring.matching import RULES
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.protocols import CUTOFFS, PROTOCOLS, protocol

COLUMNS = ["image", "n_true", "n_pred", "tp", "fp", "fn", "status"]


def cells(*places, shape=(300, 400), radius=18):
    labels = np.zeros(shape, np.int32)
    y, x = np.ogrid[: shape[0], : shape[1]]
    for number, (cy, cx) in enumerate(places, start=1):
        labels[(y - cy) ** 2 + (x - cx) ** 2 < radius * radius] = number
    return labels


THREE = cells((60, 60), (60, 200), (200, 100))


def test_registry_is_whole():
    assert list(PROTOCOLS) == [
        "morelli2021",
        "clissa2023",
        "clissa2023-corrected",
        "clissa2023-pieces",
        "recommended",
        "instances",
        "marzo2016",
    ]
    for name, p in PROTOCOLS.items():
        assert p.name == name
        assert p.mpe in MPE_CONVENTIONS
        assert p.threshold_rule in ("knee", "middle", "fixed", "max-mcc")
        assert (len(p.cutoffs) == 1) == (p.threshold_rule == "fixed")
        assert {m.rule for m in (p.primary, *p.further)} <= set(RULES)
    with pytest.raises(FrozenInstanceError):
        p.name = "other"
    assert protocol("clissa2023").cutoffs == (0.875,)
    assert (CUTOFFS[0], CUTOFFS[-1], len(CUTOFFS)) == (0.5, 0.975, 20)


def test_true_objects_of_each_protocol():
    labels = np.zeros((6, 9), int)
    labels[:2, :2], labels[2:4, 2:4] = 5, 6  # touch at a corner
    labels[:2, 5:7], labels[:2, 7:9] = 7, 8  # touch at an edge
    counts = {n: len(np.unique(p.true_objects(labels))) - 1 for n, p in PROTOCOLS.items()}
    assert counts == {
        "morelli2021": 3,
        "clissa2023": 2,
        "clissa2023-corrected": 2,
        "clissa2023-pieces": 2,
        "recommended": 4,
        "instances": 4,
        "marzo2016": 4,
    }


def test_predicted_pieces_that_touch_by_a_corner_are_one_object_in_2023():
    """Two squares of 20 pixels, and the one-pixel line of a watershed that runs in a step."""
    pred = np.zeros((24, 44), np.int32)
    pred[2:22, 2:22] = 1
    pred[2:12, 23:42] = 2  # the line is column 22 here ...
    pred[12:22, 22:42] = 2  # ... and column 21 from row 12 on
    pred[12:22, 21] = 0
    counts = {n: int(p.pred_objects(pred).max()) for n, p in PROTOCOLS.items()}
    joined = {"clissa2023", "clissa2023-corrected"}
    assert counts == {name: 1 if name in joined else 2 for name in PROTOCOLS}
    true = np.ones_like(pred)  # a cell of 1056 pixels: 400 are too few for a match by IoU
    found = {n: protocol(n).score(true, pred) for n in ("clissa2023", "clissa2023-pieces")}
    columns = ("n_objects_pred", "tp", "fp", "fn", "tp_iou", "fp_iou", "fn_iou")
    assert [found["clissa2023"][c] for c in columns] == [1, 1, 0, 0, 1, 0, 0]
    assert [found["clissa2023-pieces"][c] for c in columns] == [2, 1, 0, 0, 0, 2, 1]


def by_regionprops_and_masks(true_mask, stored, *, iou, reach):
    """R23's evaluation in its own steps: label, compare every pair, count on both sides."""
    sides = [label(true_mask), label(stored)]  # skimage: by edges and corners
    regions = [regionprops(side) for side in sides]
    near = np.zeros(tuple(map(len, regions)), bool)
    overlap = np.zeros(near.shape)
    for i, a in enumerate(regions[0]):
        for j, b in enumerate(regions[1]):
            near[i, j] = np.hypot(*np.subtract(a.centroid, b.centroid)) <= reach
            one, other = sides[0] == a.label, sides[1] == b.label
            overlap[i, j] = np.sum(one & other) / np.sum(one | other)
    counts = []
    for match in (near, overlap > iou):
        counts += [match.any(axis=1).sum(), (~match.any(axis=0)).sum(), (~match.any(axis=1)).sum()]
    return [len(regions[1]), *map(int, counts)]


def test_2023_equals_the_evaluation_in_the_authors_steps():
    joined = 0
    for seed in range(4):
        y, x = np.ogrid[:300, :400]
        rng = np.random.default_rng(seed)
        true = np.zeros((300, 400), np.int32)
        for number in range(1, 15):  # discs that overlap: pieces, and lines between them
            cy, cx = rng.integers(25, 275), rng.integers(25, 375)
            true[(y - cy) ** 2 + (x - cx) ** 2 < rng.integers(14, 24) ** 2] = number
        heatmap = (true > 0).astype(np.float32)
        p = protocol("clissa2023")
        pieces = p.postprocess.label(heatmap > 0.5)
        row = p.score(true, p.segment(heatmap, 0.5))
        names = ("n_objects_pred", "tp", "fp", "fn", "tp_iou", "fp_iou", "fn_iou")
        expected = by_regionprops_and_masks(true > 0, pieces > 0, iou=0.4, reach=40)
        assert [row[name] for name in names] == expected
        apart = protocol("clissa2023-pieces")
        row = apart.score(true, apart.segment(heatmap, 0.5))
        expected = by_regionprops_and_masks(true > 0, pieces, iou=0.4, reach=40)
        assert [row[name] for name in names] == expected
        joined += expected[0] - int(p.pred_objects(pieces).max())
    assert joined > 0, "no piece was joined: the masks do not test the difference"


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_perfect_heatmap_scores_perfectly(name):
    p = protocol(name)
    pred = p.segment(np.where(THREE > 0, 0.95, 0.1).astype(np.float32), 0.5)
    row = p.score(THREE, pred, image="a.png")
    assert list(row)[: len(COLUMNS)] == COLUMNS
    assert [row[c] for c in COLUMNS] == ["a.png", 3, 3, 3, 0, 0, "ok"]
    for m in p.further:
        assert (row[f"tp_{m.name}"], row[f"fp_{m.name}"], row[f"fn_{m.name}"]) == (3, 0, 0)
    scores = pooled(pd.DataFrame([row]), mpe=p.mpe)
    assert (scores["f1"], scores["mae"]) == (1.0, 0.0)


def test_the_threshold_itself_is_background():
    heatmap = np.where(THREE > 0, 0.75, 0.5).astype(np.float32)
    p = protocol("recommended")
    assert p.segment(heatmap, 0.75).max() == 0
    assert p.segment(heatmap, 0.7).max() == 3
    assert p.segment(heatmap, 0.5).max() == 3


def test_clissa2023_as_released_does_not_count_predictions():
    # found by centre and outline; by centre only; missed; and two inventions
    true = cells((60, 60), (60, 200), (200, 100))
    pred = cells((60, 62), (60, 225), (230, 300), (130, 330))
    released = protocol("clissa2023").score(true, pred)
    assert (released["tp"], released["fp"], released["fn"]) == (2, 2, 1)
    assert (released["tp_iou"], released["fp_iou"], released["fn_iou"]) == (1, 3, 2)
    assert (released["n_true"], released["n_pred"]) == (1 + 1, 2 + 1)
    assert (released["n_objects_true"], released["n_objects_pred"]) == (3, 4)
    corrected = protocol("clissa2023-corrected").score(true, pred)
    assert (corrected["n_true"], corrected["n_pred"]) == (3, 4)
    same = set(released) - {"n_true", "n_pred"}
    assert {k: released[k] for k in same} == {k: corrected[k] for k in same}


def test_a_collapsed_model_has_no_counting_error_by_the_released_rule():
    nothing = np.zeros_like(THREE)
    rows = {n: p.score(THREE, nothing) for n, p in PROTOCOLS.items()}
    errors = {n: abs(row["n_true"] - row["n_pred"]) for n, row in rows.items()}
    assert errors == {
        "morelli2021": 3,
        "clissa2023": 0,
        "clissa2023-corrected": 3,
        "clissa2023-pieces": 0,
        "recommended": 3,
        "instances": 3,
        "marzo2016": 3,
    }
    assert all((row["tp"], row["fp"], row["fn"]) == (0, 0, 3) for row in rows.values())


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("status", ["missing", "failed"])
def test_a_missing_prediction_keeps_its_row_and_counts_as_nothing(name, status):
    p = protocol(name)
    row = p.score(THREE, None, image="b.png", status=status)
    assert [row[c] for c in COLUMNS] == ["b.png", 3, 0, 0, 0, 3, status]
    assert p.score(THREE, None)["status"] == "missing"
    scores = pooled(pd.DataFrame([row, p.score(THREE, THREE)]), mpe=p.mpe)
    assert scores[f"n_{status}"] == 1
    assert (scores["tp"], scores["fn"], scores["recall"]) == (3, 3, 0.5)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_four_corners_of_the_contract(name):
    p = protocol(name)
    none = np.zeros_like(THREE)
    assert [p.score(none, none)[c] for c in COLUMNS[1:6]] == [0, 0, 0, 0, 0]
    row = p.score(none, THREE)
    assert (row["tp"], row["fp"], row["fn"]) == (0, 3, 0)
    assert pooled(pd.DataFrame([p.score(none, none)]))["f1"] == 1.0
    assert pooled(pd.DataFrame([row]))["f1"] == 0.0


@pytest.mark.parametrize(("name", "near", "far"), [("morelli2021", 49, 50), ("clissa2023", 40, 41)])
def test_distances_in_pixels_follow_the_scale(name, near, far):
    p = protocol(name)
    true = cells((60, 60), radius=10)
    for way, tp in ((near, 1), (far, 0)):
        assert p.score(true, cells((60, 60 + way), radius=10))["tp"] == tp
    double = cells((60, 60), radius=10)
    assert p.score(double, cells((60, 60 + 2 * near), radius=10), scale=2)["tp"] == 1
    assert p.score(double, cells((60, 60 + near // 2 + 2), radius=10), scale=0.5)["tp"] == 0


def test_iou_does_not_follow_the_scale():
    shifted = cells((60, 66))
    for scale in (0.25, 1.0, 4.0):
        assert protocol("recommended").score(cells((60, 60)), shifted, scale=scale)["tp"] == 1


def test_segment_follows_the_scale():
    small = cells((60, 60), (120, 200), shape=(200, 300), radius=7)  # 150 pixels: below 200
    p = protocol("recommended")
    assert p.segment((small > 0).astype(np.float32), 0.5).max() == 0
    assert p.segment((small > 0).astype(np.float32), 0.5, scale=0.5).max() == 2


def test_oracle_of_2021_on_real_masks(samples_dir):
    p, found = protocol("morelli2021"), []
    for file in sorted((samples_dir / "fnc_sample" / "yellow" / "masks").glob("*.png")):
        mask = imread(file)
        mask = ((mask if mask.ndim == 2 else mask[..., 0]) > 0).astype(np.int32)
        row = p.score(mask, p.segment(mask.astype(np.float32), 0.5))
        found.append((row["n_true"], row["n_pred"], row["tp"], row["fp"], row["fn"]))
    # even the true mask is not a perfect prediction
    assert sorted(found) == [(4, 4, 4, 0, 0), (6, 6, 6, 0, 0), (35, 33, 33, 0, 2)]


def test_bad_input():
    p = protocol("recommended")
    with pytest.raises(InputError, match="did you mean 'clissa2023'"):
        protocol("clisa2023")
    with pytest.raises(InputError, match=r"true_labels \(300, 400\), pred_labels \(300, 399\)"):
        p.score(THREE, THREE[:, 1:])
    with pytest.raises(InputError, match="labels: expected integer instance labels"):
        p.score(THREE > 0, THREE)
    with pytest.raises(InputError, match="status: expected ok here, found 'failed'"):
        p.score(THREE, THREE, status="failed")
    with pytest.raises(InputError, match="status: expected missing or failed here, found 'ok'"):
        p.score(THREE, None, status="ok")
    with pytest.raises(InputError, match="scale: expected a finite number > 0"):
        p.score(THREE, THREE, scale=-1)
    heatmap = np.full((20, 20), 0.4, np.float32)
    with pytest.raises(InputError, match=r"threshold: expected a number in \[0, 1\], found 1.5"):
        p.segment(heatmap, 1.5)
    with pytest.raises(InputError, match=r"heatmap: expected probabilities in \[0, 1\]"):
        p.segment(heatmap * 10, 0.5)
    with pytest.raises(InputError, match="heatmap: expected finite"):
        p.segment(heatmap * np.nan, 0.5)
