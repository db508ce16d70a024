"""A protocol: everything between a heatmap and a score, under one name.

Two studies, or two papers about the same pictures, cannot be compared by their F1 alone: how the
cutoff was chosen, how objects were cleaned and split, what counts as found and what as the count
all change the number. A protocol freezes these choices, and no score is shown without its name.

What the released evaluations do, beyond the tables of the papers (R21, R23, read for facts):

- ``morelli2021``: objects are the 4-connected components of both masks. Touching cells count as
  one on the true side; on the predicted side the line of the watershed keeps them apart. A curve
  without a knee is not foreseen in S3 or R21; the cutoff is then the one of highest F1, as R21
  chooses elsewhere, and the record says so (`cutoff.choose`).
- ``clissa2023``: the evaluation labels both masks, the true one and the post-processed one, by
  8-connected components. That joins predicted pieces which touch by a corner across the line that
  the watershed drew between them: with perfect masks of 70 simulated pictures (678 true objects)
  720 pieces become 632 objects, and F1 by IoU rises from 0.917 to 0.964 (method ``oracle`` under
  this protocol and the next, profile ``laptop``). A mask that still has the
  numbers of its pieces, as a version of R23 stored it (label times 255, in 8 bits), keeps them
  apart when it is labelled again: this is ``clissa2023-pieces``, which differs in nothing else.
- The counts of ``clissa2023`` are not counts:
  Predicted_count = TP + FN of the distance rule, which is the number of *true* objects, and
  Target_count = TP of the IoU rule + FN of the distance rule. The published counting error is thus
  TP(distance) - TP(IoU) per picture: how many cells were found by their centre but not by their
  outline. **A model that predicts nothing has TP = 0 twice, and so a counting error of exactly 0**;
  the zeros of collapsed runs in the published mean (1.220 for Focal Tversky) come from this rule.
- ``clissa2023-corrected`` differs in one thing: the count is the number of predicted objects.

Taught in: 06_threshold_and_ruler
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.checks import check_first_plane, check_labels, check_positive, check_same_shape
from cellcount_lib.data.sample import components
from cellcount_lib.errors import InputError
from cellcount_lib.postprocess.postprocess import POSTPROCESS, Postprocessing
from cellcount_lib.registry import Registry
from cellcount_lib.scoring.instances import instance_columns
from cellcount_lib.scoring.matching import match
from cellcount_lib.scoring.objects import listed
from cellcount_lib.scoring.pixels import pixel_columns

CUTOFFS: tuple[float, ...] = tuple(round(0.5 + 0.025 * i, 3) for i in range(20))
"""0.5 to 0.975 in steps of 0.025 (S3; R21 writes ``arange(0.5, 0.98, 0.025)``)."""
WIDE_CUTOFFS: tuple[float, ...] = tuple(round(0.025 * i, 3) for i in range(2, 40))
"""0.05 to 0.975 in the same steps: the best cutoff of a young network often lies below 0.5."""
CELL_PX = 38.0
"""Width of the cells, in pixels, for which the sizes and distances of the protocols are made."""
CELL_AREA = round(math.pi / 4 * CELL_PX**2)
"""Pixels of such a cell."""


@dataclass(frozen=True)
class Matching:
    """A matching rule with its threshold; `name` marks its columns in a row of scores."""

    name: str
    rule: str
    threshold: float

    @property
    def by_distance(self) -> bool:
        """Whether the threshold is in pixels, and so follows the image's scale."""
        return not self.rule.endswith("iou")


@dataclass(frozen=True)
class Protocol:
    """How a heatmap becomes a score."""

    name: str
    description: str
    source: str
    threshold_rule: str  # how the cutoff is chosen on validation pictures: `cutoff.choose`
    cutoffs: tuple[float, ...]  # the grid it is chosen from; a single one where it is fixed
    postprocess: Postprocessing
    primary: Matching  # gives tp, fp, fn of a row
    further: tuple[Matching, ...]  # reported beside it, as tp_NAME, fp_NAME, fn_NAME
    # True and predicted objects are the connected components of their mask (1: by edges, 2: by
    # edges and corners); None keeps the instances of the labels.
    true_connectivity: int | None
    pred_connectivity: int | None
    count: str  # "objects": n_pred is the number of predicted objects; "released": the rule of R23
    mpe: str  # a name in `counting.MPE_CONVENTIONS`
    further_scores: tuple[Literal["pixels", "instances"], ...] = ()  # see `pooling`

    def true_objects(self, labels: NDArray[np.integer]) -> NDArray[np.int32]:
        """Return what this protocol takes for the true objects of a labelled picture, int32 (H, W).

        Examples
        --------
        >>> touching = np.array([[1, 1, 2, 2]])
        >>> protocol("morelli2021").true_objects(touching).tolist()
        [[1, 1, 1, 1]]
        >>> protocol("recommended").true_objects(touching).tolist()
        [[1, 1, 2, 2]]
        """
        return _objects("true_labels", labels, self.true_connectivity)

    def pred_objects(self, labels: NDArray[np.integer]) -> NDArray[np.int32]:
        """Return what this protocol takes for the predicted objects, int32 (H, W).

        Examples
        --------
        >>> corner = np.array([[1, 1, 0], [0, 0, 2]])
        >>> protocol("clissa2023").pred_objects(corner).tolist()
        [[1, 1, 0], [0, 0, 1]]
        >>> protocol("clissa2023-pieces").pred_objects(corner).tolist()
        [[1, 1, 0], [0, 0, 2]]
        """
        return _objects("pred_labels", labels, self.pred_connectivity)

    def segment(
        self, heatmap: NDArray[np.floating], threshold: float, *, scale: float = 1.0
    ) -> NDArray[np.int32]:
        """Label the objects of a heatmap: pixels **above** the threshold, then post-processing.

        A formulation may need planes beside it: (C, H, W), the heatmap first. What comes out are
        `pred_objects`. Sizes follow the scale of the image against the original.
        """
        first = check_first_plane("heatmap", heatmap)
        if not 0 <= threshold <= 1:
            raise InputError(f"threshold: expected a number in [0, 1], found {threshold!r}")
        # NumPy would compare a float64 cutoff in another precision than a plain number
        mask = first > float(threshold)
        return self.pred_objects(self.postprocess.label(mask, scale=scale, heatmap=heatmap))

    def score(
        self,
        true_labels: NDArray[np.integer],
        pred_labels: NDArray[np.integer] | None,
        *,
        image: str = "",
        scale: float = 1.0,
        status: str | None = None,
        mask: NDArray[np.bool_] | None = None,
    ) -> dict[str, Any]:
        """Score one picture.

        Parameters
        ----------
        true_labels : ndarray of int, shape (H, W)
            As the dataset gives them; `true_objects` is applied here.
        pred_labels : ndarray of int, shape (H, W), or None
            As `segment` gives them, or of another method; `pred_objects` is applied here. None is
            a prediction that is missing, or whose computation failed: no object was predicted, and
            the picture keeps its row.
        scale : float
            Size of the picture relative to the original; thresholds in pixels follow it.
        status : str, optional
            "ok" with a prediction; "missing" (default) or "failed" without one.
        mask : ndarray of bool, shape (H, W), optional
            The heatmap above the cutoff, for scores of pixels; else those of predicted objects.

        Returns
        -------
        dict
            image, n_true, n_pred, tp, fp, fn, status; then tp_NAME, fp_NAME, fn_NAME of further
            matchings; then n_objects_true and n_objects_pred, the objects there really are, which
            differ from n_true and n_pred under the count rule of R23 alone.

        Examples
        --------
        >>> one = np.zeros((50, 50), int)
        >>> one[10:30, 10:30] = 1
        >>> row = protocol("recommended").score(one, one, image="a")
        >>> row["tp"], row["fp"], row["fn"], row["tp_distance"], row["status"]
        (1, 0, 0, 1, 'ok')
        """
        scale = check_positive("scale", scale)
        true = self.true_objects(true_labels)
        allowed = ("missing", "failed") if pred_labels is None else ("ok",)
        status = allowed[0] if status is None else status
        if status not in allowed:
            raise InputError(f"status: expected {' or '.join(allowed)} here, found {status!r}")
        pred = self.pred_objects(np.zeros_like(true) if pred_labels is None else pred_labels)
        check_same_shape(["true_labels", "pred_labels"], [true, pred])

        sides = listed(true), listed(pred)
        matches = {}
        for m in (self.primary, *self.further):
            threshold = m.threshold * scale if m.by_distance else m.threshold
            matches[m.name] = match(*sides, rule=m.rule, threshold=threshold)
        main = matches[self.primary.name]
        n_true, n_pred = main.n_true, main.n_pred
        if self.count == "released" and status == "ok":
            n_true, n_pred = matches["iou"].tp + main.fn, main.tp + main.fn
        row: dict[str, Any] = {"image": image, "n_true": n_true, "n_pred": n_pred}
        row |= {"tp": main.tp, "fp": main.fp, "fn": main.fn, "status": status}
        for m in self.further:
            other = matches[m.name]
            row |= {f"tp_{m.name}": other.tp, f"fp_{m.name}": other.fp, f"fn_{m.name}": other.fn}
        if "pixels" in self.further_scores:
            row |= pixel_columns(true, pred > 0 if mask is None else mask)
        if "instances" in self.further_scores:
            row |= instance_columns(*sides)
        return row | {"n_objects_true": main.n_true, "n_objects_pred": main.n_pred}


def _objects(name: str, labels: NDArray[np.integer], connectivity: int | None) -> NDArray[np.int32]:
    labels = check_labels(name, labels)
    return labels if connectivity is None else components(labels, connectivity)


_MORELLI = Protocol(
    name="morelli2021",
    description="Greedy one-to-one matching of bounding-box centres closer than 50 pixels; "
    "cutoff at the knee of F1 on validation pictures, and where there is none at the highest F1.",
    source="S3; R21 evaluation_utils.py",
    threshold_rule="knee",
    cutoffs=CUTOFFS,
    postprocess=POSTPROCESS["morelli2021"],
    primary=Matching("distance", "2021", 50.0),
    further=(),
    true_connectivity=1,
    pred_connectivity=1,
    count="objects",
    mpe="table2021",
)


_CLISSA = Protocol(
    name="clissa2023",
    description="Two-sided matching of centroids within 40 pixels and of IoU above 0.4; both "
    "masks are labelled by edges and corners. With the count rule of the released code, which does "
    "not measure predicted counts.",
    source="S1; R23 evaluate.py, fluocells/utils/metrics.py and README (cutoff, thresholds)",
    threshold_rule="fixed",
    cutoffs=(0.875,),
    postprocess=POSTPROCESS["clissa2023"],
    primary=Matching("distance", "2023-distance", 40.0),
    further=(Matching("iou", "2023-iou", 0.4),),
    true_connectivity=2,
    pred_connectivity=2,
    count="released",
    mpe="released2023",
)


_RECOMMENDED = Protocol(
    name="recommended",
    description="Optimal one-to-one matching at IoU above 0.5, and of centroids within "
    "20 pixels, the mean radius of a cell; instances on both sides.",
    source="this project",
    threshold_rule="middle",
    cutoffs=WIDE_CUTOFFS,
    postprocess=POSTPROCESS["recommended"],
    primary=Matching("iou", "hungarian-iou", 0.5),
    further=(Matching("distance", "hungarian-distance", 20.0),),
    true_connectivity=None,
    pred_connectivity=None,
    count="objects",
    mpe="released2023",
)

PIXEL_CUTOFFS = tuple(round(0.01 * i, 2) for i in range(1, 100))
"""0.01 to 0.99 in steps of 0.01: scores per pixel cost little (S2 found 0.25 and 0.67)."""

PROTOCOLS: Registry[Protocol] = Registry(
    "protocol",
    {
        "morelli2021": _MORELLI,
        "clissa2023": _CLISSA,
        "clissa2023-corrected": replace(
            _CLISSA,
            name="clissa2023-corrected",
            description="As clissa2023, but the count is the number of predicted objects.",
            count="objects",
        ),
        "clissa2023-pieces": replace(
            _CLISSA,
            name="clissa2023-pieces",
            description="As clissa2023, but predicted pieces that touch by a corner across the "
            "line of the watershed stay apart, as the post-processing means it.",
            pred_connectivity=None,
        ),
        "recommended": _RECOMMENDED,
        "instances": replace(
            _RECOMMENDED,
            name="instances",
            description="As recommended, with splits, merges, average precision and panoptic "
            "quality beside it: for telling touching cells apart.",
            further_scores=("instances",),
        ),
        "marzo2016": replace(
            _RECOMMENDED,
            name="marzo2016",
            description="Scores of pixels; cutoff at the highest Matthews correlation of "
            "validation pixels. Objects are scored beside it, as recommended.",
            source="S2, section 3 (cutoff and indicators)",
            threshold_rule="max-mcc",
            cutoffs=PIXEL_CUTOFFS,
            further_scores=("pixels",),
        ),
    },
)
"""Protocols by name.

In ``recommended`` IoU comes first because it needs no size of a cell and so means the same on every
dataset; at 0.5 and above a pair is unambiguous. The distance of one mean radius asks that a
predicted centre lies inside the cell, as a person who clicks on cells is judged.
"""


def protocol(name: str) -> Protocol:
    """Return the protocol of this name."""
    return PROTOCOLS[name]
