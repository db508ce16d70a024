"""How well are the outlines of objects met? What a picture adds to splits, merges, PQ and AP.

- Splits and merges: objects cut apart or run together (`matching.splits_and_merges`).
- Panoptic quality (Kirillov et al. 2019, Eq. 1) is the sum of the IoUs of matched objects, matched
  with IoU > 0.5, over TP + FP/2 + FN/2; `pooling` takes it over all pictures.
- Average precision as the Data Science Bowl 2018 scored it (Caicedo et al. 2019, Nature Methods
  16:1247): per picture and IoU threshold t, TP/(TP+FP+FN), matched with IoU > t; the mean over
  thresholds, then over pictures, so a picture with two nuclei weighs as much as one with two
  hundred. It is the mean accuracy of `detection_scores`, not the AP of COCO, which ranks the
  detections of all pictures by confidence, matches them greedily with IoU >= t, and integrates
  precision over recall. Labels have no confidence to rank by; the two are not comparable.

Why no assignment problem is solved here: labels do not overlap, so a true object shares more than
half of their union with one prediction at most, and the other way round. IoU > 0.5 is one-to-one.
"""

from cellcount_lib.scoring.detection import detection_scores
from cellcount_lib.scoring.matching import splits_and_merges
from cellcount_lib.scoring.objects import Labelled, iou_matrix

# 0.5, 0.55, ..., 0.95: the ten thresholds of the Data Science Bowl 2018 (and of COCO).
IOU_THRESHOLDS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
INSTANCES = ("splits", "merges", "iou_sum", "ap")


def instance_columns(true: Labelled, pred: Labelled) -> dict[str, int | float]:
    """Count splits and merges, and measure outlines, of one picture: labels (H, W) or `listed`.

    Examples
    --------
    A prediction of 3 of 4 pixels (IoU 0.75) is a match at 0.5, 0.55, ..., 0.7:

    >>> import numpy as np
    >>> instance_columns(np.array([[1, 1, 1, 1]]), np.array([[1, 1, 1, 0]]))
    {'splits': 0, 'merges': 0, 'iou_sum': 0.75, 'ap': 0.5}
    """
    errors = splits_and_merges(true, pred)
    iou = iou_matrix(true, pred)[0]
    n_true, n_pred = iou.shape
    tp = (iou[:, :, None] > IOU_THRESHOLDS).sum(axis=(0, 1))
    return {
        "splits": errors.splits,
        "merges": errors.merges,
        "iou_sum": float(iou[iou > 0.5].sum()),
        "ap": float(detection_scores(tp, n_pred - tp, n_true - tp).accuracy.mean()),
    }
