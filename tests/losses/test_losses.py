import copy
import inspect
import math

import pytest
import torch
from torch.nn import functional as F

from cellcount_lib.errors import InputError
from cellcount_lib.losses import LOSSES, PRESETS, STUDY, build, cell_logit, made_of, names
from cellcount_lib.losses.combined import Combined, CombinedFT
from cellcount_lib.losses.pixel import Focal, WeightedBCE
from cellcount_lib.losses.region import Dice, FocalTversky, Tversky

# These have targets that are no masks; see tests/test_formulations.py.
OTHER = {
    "distance",
    "boundary-bell",
    "stars",
    "flows",
    *(n for n in names() if n.startswith("three-class")),
}
# What the released ones are made of is here by its own name; the naive code below tells the rest.
RELEASED = [n for n in names() if n.startswith("released-")]
OTHER |= set(RELEASED)
every_loss = pytest.mark.parametrize("name", [n for n in names() if n not in OTHER])


def logit(p):
    return math.log(p / (1 - p))


def batch(seed=0, shape=(3, 1, 9, 11), share=0.3):
    """Random logits and masks; every image has cells and background."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(shape, generator=generator)
    return logits, (torch.rand(shape, generator=generator) < share).float()


# Four pixels: two cells with p = 0.9 and 0.2, two of background with p = 0.4 and 0.1.
P = (0.9, 0.2, 0.4, 0.1)
LOGITS = torch.tensor([[[[logit(p) for p in P]]]])
TARGET = torch.tensor([[[[1, 1, 0, 0]]]])
TP, FN, FP = 1.1, 0.9, 0.5


# --- values by hand -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "by_hand"),
    [
        (WeightedBCE(), (0.105361 + 1.609438 + 0.510826 + 0.105361) / 4),
        (WeightedBCE(cell_weight=50), (50 * 1.714798 + 0.616186) / 4),
        (WeightedBCE(cell_weight=50, mean_over="weights"), (50 * 1.714798 + 0.616186) / 102),
        (WeightedBCE(cell_weight=2, background_weight=3), (2 * 1.714798 + 3 * 0.616186) / 4),
        (Dice(smooth=1.0), 1 - (2 * TP + 1) / (2 + 1.6 + 1)),
        (Dice(smooth=1e-6), 1 - 2 * TP / 3.6),
        (
            Focal(gamma=2),
            (0.01 * 0.105361 + 0.64 * 1.609438 + 0.16 * 0.510826 + 0.01 * 0.105361) / 4,
        ),
        (Focal(gamma=0), (1.714798 + 0.616186) / 4),
        (
            Focal(gamma=2, alpha=0.25),
            (
                0.25 * (0.01 * 0.105361 + 0.64 * 1.609438)
                + 0.75 * (0.16 * 0.510826 + 0.01 * 0.105361)
            )
            / 4,
        ),
        (Tversky(), 1 - TP / (TP + 0.7 * FN + 0.3 * FP)),
        (Tversky(smooth=0.5), 1 - (TP + 0.5) / (TP + 0.7 * FN + 0.3 * FP + 0.5)),
        (FocalTversky(gamma=2), (0.78 / 1.88) ** 2),
        (FocalTversky(gamma=4 / 3), (0.78 / 1.88) ** (4 / 3)),
        (Combined(), 0.3 * 0.582746 + 0.3 * 0.388889 + 0.4 * 0.278469),
        (CombinedFT(), 0.3 * 0.582746 + 0.3 * 0.388889 + 0.4 * (0.78 / 1.88) ** (4 / 3)),
    ],
)
def test_values_by_hand(loss, by_hand):
    assert loss(LOGITS, TARGET).item() == pytest.approx(by_hand, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        # Inside the loss p becomes sigmoid(2p - 1): 0.689974, 0.354344, 0.450166, 0.310026.
        (
            "bce",
            -(math.log(0.689974) + math.log(0.354344) + math.log(0.549834) + math.log(0.689974))
            / 4,
        ),
        ("dice", 1 - 2 * 1.044318 / (2 + 1.804510)),
    ],
)
def test_double_activation_by_hand(name, by_hand):
    loss = build("historical.double-activation", of=name)
    assert loss(LOGITS, TARGET).item() == pytest.approx(by_hand, abs=1e-5)


def test_two_class_losses_by_hand():
    # TP = 0.9 + 0.2 + 0.6 + 0.9 over both classes, FN = FP = 1.4.
    loss = build("historical.two-class-focal-tversky")
    assert loss(LOGITS, TARGET).item() == pytest.approx((1.4 / 4) ** (4 / 3), abs=1e-5)
    # of cells 2 * 1.1 over 2 + 1.6, of background 2 * 1.5 over 2 + 2.4
    by_hand = (1 - 2.2 / 3.6 + 1 - 3.0 / 4.4) / 2
    loss = build("historical.two-class-dice")
    assert loss(LOGITS, TARGET).item() == pytest.approx(by_hand, abs=1e-5)


# The four pixels as a picture of 2 x 2. What the released losses see as probability of the true
# class: softmax over [1 - p, p], for background over [p, 1 - p].
SEEN = (0.689974, 0.354344, 0.549834, 0.689974)
SEEN_CE = -sum(math.log(q) for q in SEEN) / 4
SEEN_FOCAL = -sum((1 - q) ** 2 * math.log(q) for q in SEEN) / 4
SEEN_DICE = (1 - 2 * 1.044318 / (2 + 1.804510) + 1 - 2 * 1.239808 / (2 + 2.195490)) / 2
SEEN_TVERSKY = (1.715874 / 4) ** (4 / 3)  # four pixels, twice: TP = 2.284126, FN = FP = 1.715874


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        (
            "released-bce-low",
            -sum(math.log(q) * w for q, w in zip(SEEN, (50, 50, 1, 1), strict=True)) / 102,
        ),
        ("released-dice", SEEN_DICE),
        ("released-focal", SEEN_FOCAL),
        ("released-focal-tversky", SEEN_TVERSKY),
        ("released-combined-overcrowd", 0.2 * SEEN_CE + 64 * 0.5 * SEEN_DICE + 0.3 * SEEN_FOCAL),
        ("released-combinedft-cellvit", 0.5 * SEEN_CE + 64 * 0.2 * SEEN_DICE + 0.5 * SEEN_TVERSKY),
    ],
)
def test_the_released_losses_by_hand(name, by_hand):
    loss = build(name)(LOGITS.reshape(1, 1, 2, 2), TARGET.reshape(1, 1, 2, 2))
    assert loss.item() == pytest.approx(by_hand, rel=1e-5)


def test_weight_map_by_hand():
    weight = torch.tensor([[[[2.0, 1.0, 0.0, 3.0]]]])
    expected = (2 * 0.105361 + 1.609438 + 0 + 3 * 0.105361) / 4
    assert WeightedBCE()(LOGITS, TARGET, weight).item() == pytest.approx(expected, abs=1e-5)
    expected = 1 - 2 * (2 * 0.9 + 0.2) / (2 * (2 * 0.9 + 0.2) + (2 * 0.1 + 0.8) + 3 * 0.1)
    assert Dice()(LOGITS, TARGET, weight).item() == pytest.approx(expected, abs=1e-5)


# --- relations between the formulas -------------------------------------------------------------


@pytest.mark.parametrize("smooth", [1e-6, 0.6])
def test_dice_by_its_own_formula(smooth):
    logits, target = batch()
    p = logits.sigmoid()
    for over, dims in (("image", (1, 2, 3)), ("batch", (0, 1, 2, 3))):
        common, both = (target * p).sum(dims), (target + p).sum(dims)
        expected = (1 - (2 * common + smooth) / (both + smooth)).mean().item()
        found = Dice(smooth=smooth, over=over)(logits, target).item()
        assert found == pytest.approx(expected, rel=1e-5)


def test_over_the_batch_is_over_one_long_image():
    logits, target = batch()
    long_logits, long_target = (x.reshape(1, 1, 1, -1) for x in (logits, target))
    for loss in (Dice(over="batch"), FocalTversky(over="batch")):
        assert loss(logits, target).item() == pytest.approx(loss(long_logits, long_target).item())
    for loss in (Dice(over="image"), FocalTversky(over="image")):
        each = [loss(z[None], t[None]).item() for z, t in zip(logits, target, strict=True)]
        assert loss(logits, target).item() == pytest.approx(sum(each) / len(each))


def test_two_class_tversky_is_soft_accuracy():
    logits, target = batch()
    error = (target - logits.sigmoid()).abs().mean().item()
    for gamma in (1.0, 4 / 3, 2.0):
        loss = build("historical.two-class-focal-tversky", gamma=gamma)
        assert loss(logits, target).item() == pytest.approx(error**gamma, rel=1e-5)


@pytest.mark.parametrize(
    "name",
    [name for name in names() if "dice" in name or "tversky" in name]
    + ["bce-low", "historical.double-activation"],
)
def test_whole_weights_count_pixels_several_times(name):
    # A pixel of weight 3 counts like three pixels, wherever the sum of the weights is divided by.
    loss = build(name)
    logits, target = batch(shape=(1, 1, 1, 8))
    weight = torch.tensor([1, 3, 2, 1, 1, 2, 3, 1])
    repeated = loss(*(x.repeat_interleave(weight, dim=-1) for x in (logits, target)))
    weighted = loss(logits, target, weight.reshape(1, 1, 1, 8).float())
    assert weighted.item() == pytest.approx(repeated.item(), rel=1e-5)


def test_combined_losses_hand_the_weights_to_their_parts():
    logits, target = batch()
    weight = 1 + target
    for name in ("combined-cellvit", "combinedft-cellvit"):
        loss = build(name)
        parts = [p(logits, target, weight).item() for p in (loss.bce, loss.dice, loss.focal)]
        expected = 0.5 * parts[0] + 0.3 * parts[1] + 0.5 * parts[2]
        assert loss(logits, target, weight).item() == pytest.approx(expected, rel=1e-6)


# --- other implementations ----------------------------------------------------------------------


def test_bce_equals_torch():
    logits, target = batch()
    expected = F.binary_cross_entropy_with_logits(logits, target, pos_weight=torch.tensor(50.0))
    assert torch.allclose(WeightedBCE(cell_weight=50)(logits, target), expected)


def test_bce_over_weights_equals_cross_entropy_of_two_classes():
    generator = torch.Generator().manual_seed(1)
    two, target = 3 * torch.randn(3, 2, 8, 8, generator=generator), batch(1, (3, 1, 8, 8))[1]
    expected = F.cross_entropy(two, target[:, 0].long(), weight=torch.tensor([1.0, 100.0]))
    assert torch.allclose(build("bce-medium")(two, target), expected)


@pytest.mark.parametrize("alpha", [None, 0.25])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_equals_torchvision(alpha, gamma):
    from torchvision.ops import sigmoid_focal_loss

    logits, target = batch()
    expected = sigmoid_focal_loss(
        logits, target, alpha=-1 if alpha is None else alpha, gamma=gamma, reduction="mean"
    )
    assert torch.allclose(Focal(gamma=gamma, alpha=alpha)(logits, target), expected)


def test_focal_and_dice_equal_fastai():
    from fastai.losses import DiceLoss, FocalLossFlat

    generator = torch.Generator().manual_seed(2)
    two, target = 3 * torch.randn(3, 2, 8, 8, generator=generator), batch(2, (3, 1, 8, 8))[1]
    classes = target[:, 0].long()
    assert torch.allclose(build("focal")(two, target), FocalLossFlat(axis=1)(two, classes))
    of_cells = DiceLoss(axis=1, smooth=1e-6, reduction="none")(two, classes)[:, 1].mean()
    assert torch.allclose(build("dice")(two, target), torch.Tensor(of_cells))


def test_focal_dice_and_tversky_equal_kornia():
    from kornia.losses import binary_focal_loss_with_logits, dice_loss, tversky_loss

    logits, target = batch()
    expected = binary_focal_loss_with_logits(logits, target, alpha=0.25, gamma=2, reduction="mean")
    assert torch.allclose(Focal(alpha=0.25)(logits, target), expected, rtol=1e-4)
    # kornia averages the index over background and cells, and names the prices the other way round.
    two, classes = torch.cat([torch.zeros_like(logits), logits], dim=1), target[:, 0].long()
    both = lambda loss: (loss(logits, target) + loss(-logits, 1 - target)) / 2  # noqa: E731
    assert torch.allclose(
        both(Dice()), dice_loss(two, classes, average="macro", eps=1e-6), rtol=1e-4
    )
    expected = tversky_loss(two, classes, alpha=0.3, beta=0.7, eps=1e-6)
    assert torch.allclose(both(Tversky(over="image")), expected, rtol=1e-4)


def test_released_code_is_double_activation():
    # R23: the head returns [1 - p, p]; fastai's Dice applies softmax to that.
    from fastai.losses import CrossEntropyLossFlat, DiceLoss

    logits, target = batch()
    p, classes = logits.sigmoid(), target[:, 0].long()
    head = torch.cat([1 - p, p], dim=1)
    theirs = DiceLoss(axis=1, smooth=1e-6, reduction="none")(head, classes)[:, 1].mean()
    assert torch.allclose(
        build("historical.double-activation", of="dice")(logits, target), torch.Tensor(theirs)
    )
    theirs = CrossEntropyLossFlat(axis=1, weight=torch.tensor([1.0, 50.0]))(head, classes)
    ours = build("historical.double-activation", of="bce-low")(logits, target)
    assert torch.allclose(ours, torch.Tensor(theirs))


def naive_released(logits, target):
    """Return the released terms, class by class, image by image and pixel by pixel.

    A sigmoid and its complement, softmax over the two, then: cross-entropy with a weight of cells,
    Dice summed over images and classes, focal, and Focal Tversky over all classes as one list.
    """
    pictures = []
    for picture, truth in zip(logits.double().numpy(), target.numpy(), strict=True):
        pixels = []
        for z, y in zip(picture.ravel(), truth.ravel(), strict=True):
            p = 1 / (1 + math.exp(-z))
            head = [math.exp(1 - p), math.exp(p)]
            pixels.append(([h / sum(head) for h in head], int(y)))
        pictures.append(pixels)
    every = [pixel for pixels in pictures for pixel in pixels]

    def entropy(weight):
        weights = [weight if y else 1 for _, y in every]
        costs = [-w * math.log(q[y]) for w, (q, y) in zip(weights, every, strict=True)]
        return sum(costs) / sum(weights)

    dice = 0.0
    for pixels in pictures:
        for c in (0, 1):
            both = sum(q[c] for q, y in pixels if y == c)
            sizes = sum(q[c] for q, _ in pixels) + sum(y == c for _, y in pixels)
            dice += 1 - (2 * both + 1e-6) / (sizes + 1e-6)
    focal = sum(-((1 - q[y]) ** 2) * math.log(q[y]) for q, y in every) / len(every)
    ones = [(q[c], c == y) for q, y in every for c in (0, 1)]
    hits = sum(q for q, true in ones if true)
    misses = sum(1 - q for q, true in ones if true)
    alarms = sum(q for q, true in ones if not true)
    index = (hits + 1e-6) / (hits + 0.7 * misses + 0.3 * alarms + 1e-6)
    return entropy, dice, focal, (1 - index) ** (4 / 3)


def test_the_released_losses_are_what_a_naive_implementation_gives():
    logits, target = batch(5, (32, 1, 3, 4))  # the batch of the study: Dice is a sum of 64
    entropy, dice, focal, tversky = naive_released(logits, target)
    expected = {
        "bce-low": entropy(50),
        "bce-medium": entropy(100),
        "bce-high": entropy(200),
        "dice": dice / 64,
        "focal": focal,
        "focal-tversky": tversky,
    }
    for kind, last in (("combined", focal), ("combinedft", tversky)):
        for name, (a, b, c) in {
            "balanced": (0.3, 0.3, 0.4),
            "overcrowd": (0.2, 0.5, 0.3),
            "cellvit": (0.5, 0.2, 0.5),
        }.items():
            expected[f"{kind}-{name}"] = a * entropy(1) + b * dice + c * last
    assert [*expected] == [*STUDY]
    assert [f"released-{name}" for name in expected] == RELEASED
    for name, value in expected.items():
        assert build(f"released-{name}")(logits, target).item() == pytest.approx(value, rel=1e-5)


def test_the_released_dice_is_fastais():
    from fastai.losses import DiceLoss

    logits, target = batch(6, (32, 1, 5, 5))
    p = logits.sigmoid()
    theirs = DiceLoss(axis=1, smooth=1e-6)(torch.cat([1 - p, p], dim=1), target[:, 0].long())
    ours = build("released-combined-balanced", bce=0.0, dice=1.0, focal=0.0)(logits, target)
    assert ours.item() == pytest.approx(float(theirs), rel=1e-5)


def test_what_a_loss_is_made_of():
    assert made_of("dice") == ({"dice"}, {"dice"})
    assert made_of("tversky") == (set(), {"tversky"})
    assert made_of("released-dice") == (
        {"released-dice"},
        {"historical.double-activation", "historical.two-class-dice"},
    )
    assert made_of("historical.double-activation")[0] == {"dice"}


def test_double_activation_squeezes_and_flattens():
    loss = build("historical.double-activation", of="bce")
    for target, worst, best in [(1.0, -80.0, 80.0), (0.0, 80.0, -80.0)]:
        t = torch.full((1, 1, 1, 1), target)
        assert loss(torch.full_like(t, worst), t).item() == pytest.approx(
            -math.log(0.268941), rel=1e-5
        )
        assert loss(torch.full_like(t, best), t).item() == pytest.approx(
            -math.log(0.731059), rel=1e-5
        )


# --- what every loss must do --------------------------------------------------------------------


@every_loss
def test_activation_is_applied_exactly_once(name):
    loss = build(name)
    logits, target = batch()
    once, twice = loss(logits, target), loss(logits.sigmoid(), target)
    assert abs(once - twice) > 1e-3 * once


@every_loss
def test_better_predictions_cost_less(name):
    loss = build(name)
    _, target = batch()
    values = [loss((2 * target - 1) * z, target).item() for z in (-6.0, -1.0, 1.0, 6.0)]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[-1] >= 0


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("foreground", ["none", "some", "all"])
@pytest.mark.parametrize("z", [-80.0, 80.0, "right", "wrong"])
def test_extreme_logits_are_finite(name, dtype, foreground, z):
    target = torch.zeros(2, 1, 8, 8)
    if foreground == "some":
        target[0, 0, 2:5, 3:6] = 1
    elif foreground == "all":
        target += 1
    signs = {"right": 2 * target - 1, "wrong": 1 - 2 * target}
    values = 80 * signs[z] if isinstance(z, str) else torch.full_like(target, z)
    logits = values.to(dtype).requires_grad_()
    loss = build(name)(logits, target, torch.full_like(target, 1.5))
    assert loss.isfinite()
    loss.backward()
    assert logits.grad.isfinite().all()
    if z == "right" and not name.startswith("historical.double"):
        assert loss.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("over", ["image", "batch"])
def test_the_slope_of_focal_tversky_is_finite_where_the_prediction_is_perfect(over):
    # below gamma = 1 that of the power is not
    target = torch.zeros(2, 1, 4, 4)
    target[0, 0, :2] = 1
    logits = (2 * target - 1) * 1000
    logits.requires_grad_()
    build("focal-tversky", gamma=0.75, over=over)(logits, target).backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_counts_in_single(name, dtype):
    # 512 x 512 pixels: more than float16 can count to, and bfloat16 stops adding at 256.
    logits, target = batch(shape=(1, 1, 512, 512), share=0.02)
    logits = logits.to(dtype)
    loss = build(name)
    with torch.autocast("cpu", dtype=dtype):
        value = loss(logits, target)
    assert value.dtype == torch.float32
    assert torch.allclose(value, loss(logits.float(), target))


@every_loss
def test_gradients(name):
    loss = build(name)
    logits, target = batch(shape=(2, 1, 3, 4))
    weight = 1 + torch.rand(2, 1, 3, 4, generator=torch.Generator().manual_seed(3)).double()
    logits = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: loss(z, target, weight), logits)


@every_loss
def test_targets_of_any_kind(name):
    loss = build(name)
    logits, target = batch()
    expected = loss(logits, target)
    assert expected.ndim == 0
    for same in (target.bool(), target.byte(), target.long(), target[:, 0], target[:, 0].double()):
        assert torch.equal(loss(logits, same), expected)
    ones = torch.ones(3, 9, 11)
    assert torch.equal(loss(logits, target, ones), expected)


@every_loss
def test_two_channels_are_one_difference(name):
    loss = build(name)
    generator = torch.Generator().manual_seed(4)
    two = 3 * torch.randn(3, 2, 9, 11, generator=generator)
    _, target = batch()
    assert torch.allclose(loss(two, target), loss(two[:, 1:] - two[:, :1], target))
    assert torch.allclose(loss.activation(two), two.softmax(dim=1)[:, 1:], atol=1e-6)


@every_loss
def test_activation_and_decoding(name):
    loss = build(name)
    logits, _ = batch()
    probabilities = loss.activation(logits)
    assert probabilities.shape == logits.shape
    mask = loss.decodes(probabilities)
    assert mask.dtype == torch.bool
    assert torch.equal(mask, logits[:, 0] > 0)


def test_whatever_is_more_than_background_is_cell():
    assert build("dice").truth(torch.tensor([0.0, 0.2, 1.0])).tolist() == [False, True, True]


@every_loss
def test_a_batch_is_not_changed_and_settings_not_lost(name):
    loss = build(name)
    logits, target = batch()
    kept = logits.clone(), target.clone()
    value = loss(logits, target)
    assert torch.equal(logits, kept[0])
    assert torch.equal(target, kept[1])
    assert torch.equal(copy.deepcopy(loss)(logits, target), value)


@pytest.mark.parametrize("name", ["bce-low", "focal-tversky", "combined-balanced"])
def test_compiles_without_a_break(name):
    torch._dynamo.reset()
    loss = build(name)
    logits, target = batch()
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    assert torch.allclose(compiled(logits, target), loss(logits, target))


def test_fastai_learner_uses_activation_and_decoding():
    import fastai.callback.progress  # noqa: F401  (adds Learner.no_bar)
    from fastai.data.core import DataLoaders
    from fastai.data.load import DataLoader
    from fastai.learner import Learner
    from fastai.torch_core import TensorImage, TensorMask

    logits, target = batch(shape=(4, 1, 8, 8))
    items = [
        (TensorImage(z), TensorMask(t[0].long()), torch.full((8, 8), 1.5))
        for z, t in zip(logits, target, strict=True)
    ]
    data = DataLoader(items, bs=2)
    data.n_inp = 1
    loss = build("dice")
    identity = torch.nn.Conv2d(1, 1, 1)
    torch.nn.init.ones_(identity.weight)
    torch.nn.init.zeros_(identity.bias)
    learner = Learner(DataLoaders(data, data), identity, loss_func=loss)
    with learner.no_bar(), learner.no_logging():
        predictions, _, masks = learner.get_preds(dl=data, with_decoded=True)
        (value,) = learner.validate(dl=data)
    assert torch.allclose(torch.Tensor(predictions), logits.sigmoid())
    assert torch.equal(torch.Tensor(masks).bool(), logits[:, 0] > 0)
    weight = torch.full((4, 8, 8), 1.5)
    assert value == pytest.approx(loss(logits, target, weight).item(), rel=1e-5)


def test_the_cell_among_three_classes_competes_with_the_other_two_together():
    logits = torch.tensor([0.5, -1.0, 2.0]).reshape(1, 3, 1, 1)
    share = math.exp(-1.0) / (math.exp(0.5) + math.exp(-1.0) + math.exp(2.0))
    assert cell_logit(logits).shape == (1, 1, 1, 1)
    assert cell_logit(logits).item() == pytest.approx(logit(share), abs=1e-6)


def test_depths_and_classes_by_hand():
    depth = build("distance")(torch.full((1, 1, 1, 1), logit(0.9)), torch.tensor([[[51]]]))
    assert depth.item() == pytest.approx(-0.2 * math.log(0.9) - 0.8 * math.log(0.1), abs=1e-5)
    logits, classes = torch.zeros(1, 3, 1, 2), torch.tensor([[[1, 2]]])
    logits[0, 1] = math.log(2)  # shares 1/4, 1/2, 1/4
    by_hand = (math.log(2) + 4 * math.log(4)) / 5
    for target in (classes, classes[:, None]):
        assert build("three-class-4")(logits, target).item() == pytest.approx(by_hand, abs=1e-5)
    with pytest.raises(InputError, match="classes 0, 1 and 2"):
        build("three-class-4")(logits, classes + 1)


# --- names and settings -------------------------------------------------------------------------


def test_the_twelve_configurations_of_the_study():
    assert (
        *("bce-low", "bce-medium", "bce-high", "dice", "focal", "focal-tversky"),
        *("combined-balanced", "combined-overcrowd", "combined-cellvit"),
        *("combinedft-balanced", "combinedft-overcrowd", "combinedft-cellvit"),
    ) == STUDY
    assert [build(name).cell_weight for name in STUDY[:3]] == [50, 100, 200]
    assert PRESETS["dice"] == ("dice", {"smooth": 1e-6})
    assert build("focal").gamma == 2
    tversky = build("focal-tversky")
    assert (tversky.alpha, tversky.beta, tversky.gamma, tversky.over) == (0.7, 0.3, 2, "batch")
    for family in ("combined", "combinedft"):
        weights = [build(f"{family}-{way}").lambdas for way in ("balanced", "overcrowd", "cellvit")]
        assert weights == [(0.3, 0.3, 0.4), (0.2, 0.5, 0.3), (0.5, 0.3, 0.5)]


def test_variants_where_slides_and_code_differ():
    assert build("focal-tversky-r23").gamma == 4 / 3
    assert build("combined-cellvit-r23").lambdas == (0.5, 0.2, 0.5)
    assert build("combinedft-cellvit-r23").lambdas == (0.5, 0.2, 0.5)
    smoothed = build("dice-smooth-1")(LOGITS, TARGET).item()
    assert smoothed == pytest.approx(1 - (2 * TP + 1) / (2 + 1.6 + 1), abs=1e-5)
    assert (build("wbce-2021").cell_weight, build("wbce-2021").background_weight) == (1.5, 1)


TERMS = {"bce": 0.3, "dice": 0.3, "focal": 0.4}
SMOOTH = {"smooth": 1e-6, "over": "image"}
UNLESS_SAID = {  # S1's table; gammas of 4/3 are R23's
    "bce": {"cell_weight": 1.0, "background_weight": 1.0, "mean_over": "pixels"},
    "dice": SMOOTH,
    "focal": {"gamma": 2.0, "alpha": None},
    "tversky": {"alpha": 0.7, "beta": 0.3, "smooth": 1e-6, "over": "batch"},
    "focal-tversky": {"gamma": 2.0, "alpha": 0.7, "beta": 0.3, "smooth": 1e-6, "over": "batch"},
    "combined": TERMS | {"cell_weight": 1.0, "gamma": 2.0} | SMOOTH,
    "combinedft": TERMS | {"cell_weight": 1.0, "gamma": 4 / 3, "alpha": 0.7, "beta": 0.3} | SMOOTH,
    "historical.two-class-dice": SMOOTH,
    "historical.two-class-focal-tversky": {"gamma": 4 / 3},
    "historical.combined": TERMS,
    "historical.combinedft": TERMS,
    "three-class": {"boundary_weight": 4.0},
    "instances": {"beta": 1.0},
}


@pytest.mark.parametrize("formula", UNLESS_SAID)
def test_what_a_formula_takes_unless_it_is_told_otherwise(formula):
    known = inspect.signature(LOSSES[formula]).parameters
    assert {name: of.default for name, of in known.items()} == UNLESS_SAID[formula]


def test_outlines_of_every_width_weigh_four():
    assert {str(PRESETS[f"three-class-{width}"]) for width in (2, 4, 6, 8)} == {
        "('three-class', {'boundary_weight': 4.0})"
    }


def test_every_preset_names_a_formula_and_its_settings():
    for name, (formula, settings) in PRESETS.items():
        of = LOSSES.get(settings.get("of", ""))
        known = [inspect.signature(loss).parameters for loss in (LOSSES[formula], of) if loss]
        assert set(settings) <= {key for keys in known for key in keys}, name
        build(name)


def test_settings_override_the_preset():
    assert build("focal-tversky", gamma=0.75).gamma == 0.75
    assert build("historical.double-activation", of="focal", gamma=3.0).of.gamma == 3


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("focal-tversk", {}, "unknown loss 'focal-tversk'; did you mean 'focal-tversky'"),
        ("dice", {"smoth": 1}, "setting of the loss 'dice': 'smoth'; did you mean 'smooth'"),
        ("historical.double-activation", {"of": "dyce"}, "unknown loss 'dyce'"),
        ("dice", {"smooth": 0}, "smooth: expected"),
        ("dice", {"over": "batches"}, "over 'batches'; did you mean 'batch'"),
        ("bce", {"cell_weight": -1}, "cell_weight: expected"),
        ("bce", {"mean_over": "pixel"}, "mean_over 'pixel'; did you mean 'pixels'"),
        ("focal", {"gamma": -1}, "gamma: expected"),
        ("focal", {"alpha": 25}, "alpha: expected"),
        ("tversky", {"alpha": -0.1}, "alpha, beta: expected"),
        ("focal-tversky", {"gamma": 0}, "gamma: expected"),
        ("combined", {"bce": 0, "dice": 0, "focal": 0}, "weights of the terms"),
        ("combined", {"bce": math.inf}, "weights of the terms"),
    ],
)
def test_bad_settings_are_named(name, settings, message):
    with pytest.raises(InputError, match=message):
        build(name, **settings)


@pytest.mark.parametrize(
    ("logits", "target", "weight", "message"),
    [
        (torch.zeros(2, 8, 8), torch.zeros(2, 8, 8), None, "logits: expected shape"),
        (torch.zeros(2, 4, 8, 8), torch.zeros(2, 8, 8), None, r"found \(2, 4, 8, 8\)"),
        (torch.zeros(0, 1, 8, 8), torch.zeros(0, 8, 8), None, "at least one pixel"),
        (torch.zeros(2, 1, 8, 8), torch.zeros(2, 8, 9), None, r"target: .* found \(2, 1, 8, 9\)"),
        (torch.zeros(2, 1, 8, 8), torch.zeros(1, 8, 8), None, "target: expected shape"),
        (torch.zeros(2, 1, 8, 8), torch.full((2, 8, 8), 255), None, r"> 0\), found 255 to 255"),
        (torch.zeros(2, 1, 8, 8), torch.full((2, 8, 8), torch.nan), None, "target: .*nan"),
        (torch.zeros(2, 1, 8, 8), torch.zeros(2, 8, 8), torch.ones(8, 8), "weight: expected shape"),
        (torch.zeros(2, 1, 8, 8), torch.zeros(2, 8, 8), -torch.ones(2, 8, 8), "weight: .*-1"),
        (torch.zeros(2, 1, 8, 8), torch.zeros(2, 8, 8), torch.full((2, 8, 8), torch.inf), "inf"),
    ],
)
def test_bad_input_is_named(logits, target, weight, message):
    with pytest.raises(InputError, match=message):
        build("dice")(logits, target, weight)


def test_no_weight_at_all_is_no_loss():
    logits, target = batch()
    nothing = torch.zeros_like(target)
    for name in STUDY:
        assert build(name)(logits, target, nothing).item() == pytest.approx(0, abs=1e-6)


def test_reduction_to_one_logit_is_symmetric():
    two = torch.tensor([2.0, -1.0]).reshape(1, 2, 1, 1)
    assert cell_logit(two).item() == -3
    assert cell_logit(two.flip(1)).item() == 3
