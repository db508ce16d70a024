"""The Learner against a plain loop, its schedules, and what its callbacks record."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cellcount_lib import losses
from cellcount_lib.data.sample import Sample
from cellcount_lib.models import build
from cellcount_lib.tables.render import NO_GAIN
from cellcount_lib.training.augment import Augmentation
from cellcount_lib.training.crops import Crops, cell_places, grid_places
from cellcount_lib.training.fast import Callback
from cellcount_lib.training.learner import find_lr, fit, make_learner
from cellcount_lib.training.loader import Batches
from cellcount_lib.training.recipes import RECIPES
from tests.discs import draw

EPOCHS, STEPS = 4, 6


@pytest.fixture(scope="module")
def crops():
    rng = np.random.default_rng(0)
    return [Sample(*draw(rng), {}) for _ in range(3)]


def batches(samples, seed=0, weight_sigma=None):
    made = Crops(samples, weight_sigma=weight_sigma)
    train = Batches(
        made,
        cell_places(samples, 32),
        side=32,
        batch=4,
        seed=seed,
        augmentation=Augmentation(flip=True, rotate=90),
        steps=STEPS,
    )
    return train, Batches(made, grid_places(samples, 32), side=32, batch=16)


def short(name, **changes):
    return replace(RECIPES[name].shortened(EPOCHS), **{"loss": "bce"} | changes)


def learner(samples, plan, cbs=(), dtype=torch.float32, **options):
    train, valid = batches(samples, weight_sigma=8.0 if plan.weight_map else None)
    model = build("small-unet", bn_momentum=0.1, seed=1)
    loss = losses.build(plan.loss)
    return make_learner(model, train, valid, loss, plan, dtype=dtype, cbs=cbs, **options)


@pytest.mark.parametrize("weight_map", [False, True])
def test_the_learner_is_a_plain_loop(crops, weight_map):
    plan = short("fcn2016", factor=1.0, weight_map=weight_map)
    learn = learner(crops, plan)
    fit(learn, plan, 0.05)

    model = build("small-unet", bn_momentum=0.1, seed=1).to(memory_format=torch.channels_last)
    train, valid = batches(crops, weight_sigma=8.0 if weight_map else None)
    loss = losses.build("bce")
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.SGD(
        [{"params": decayed, "weight_decay": 0.001}, {"params": plain}], lr=0.05, momentum=0.9
    )
    for epoch in range(EPOCHS):
        model.train()
        train.epoch = epoch
        steps = []
        for image, *targets in train:
            optimizer.zero_grad()
            steps.append(loss(model(image), *targets))
            steps[-1].backward()
            optimizer.step()
        mean = float(torch.stack(steps).mean())
        assert learn.history.rows[epoch]["train_loss"] == pytest.approx(mean, rel=1e-4)
    for (name, a), b in zip(
        learn.model.state_dict().items(), model.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6, msg=name)

    model.eval()
    both = common = found = pixels = 0
    with torch.no_grad():
        for image, mask, *_ in valid:
            predicted = model(image) > 0
            common += (predicted & (mask > 0)).sum()
            both += predicted.sum() + (mask > 0).sum()
            found += predicted.sum()
            pixels += predicted.numel()
    row = learn.history.rows[-1]
    assert row["dice"] == pytest.approx(float(2 * common / both), abs=1e-4)
    assert row["found"] == pytest.approx(float(found / pixels), abs=1e-4)


def test_steps_divide_the_rate(crops):
    plan = short("fcn2016", patience=2, factor=0.1)
    learn = learner(crops, plan)
    fit(learn, plan, 0.01)
    rates = [row["lr"] for row in learn.history.rows]
    np.testing.assert_allclose(rates, [0.01, 0.01, 0.001, 0.001], rtol=1e-6)


def test_one_cycle_goes_up_and_down(crops):
    plan = short("recommended")
    seen = []

    class Rates(Callback):
        def after_batch(self):
            if self.training:
                seen.append(self.opt.hypers[-1]["lr"])

    learn = learner(crops, plan, cbs=[Rates()])
    fit(learn, plan, 0.01)
    assert len(seen) == EPOCHS * STEPS
    peak = int(np.argmax(seen))
    assert max(seen) == pytest.approx(0.01, rel=0.02)
    assert abs(peak / len(seen) - 0.25) < 0.1
    assert seen[0] < 0.01 / 20
    assert seen[-1] < 0.01 / 100


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("sgd", lambda groups: torch.optim.SGD(groups, lr=0.01)),
        ("momentum", lambda groups: torch.optim.SGD(groups, lr=0.01, momentum=0.9)),
        ("rmsprop", lambda groups: torch.optim.RMSprop(groups, lr=0.01)),
        ("adagrad", lambda groups: torch.optim.Adagrad(groups, lr=0.01)),
        ("adam", lambda groups: torch.optim.Adam(groups, lr=0.01, betas=(0.95, 0.99), eps=1e-5)),
        ("adamw", lambda groups: torch.optim.AdamW(groups, lr=0.01, betas=(0.95, 0.99), eps=1e-5)),
    ],
)
def test_every_optimiser_is_torchs(crops, name, plain):
    plan = replace(short("recommended", schedule="constant", optimizer=name), epochs=1)
    learn = learner(crops, plan)
    fit(learn, plan, 0.01)
    model = build("small-unet", bn_momentum=0.1, seed=1).to(memory_format=torch.channels_last)
    train, _ = batches(crops)
    decayed, bare = ([p for p in model.parameters() if (p.ndim > 1) == d] for d in (True, False))
    optimizer = plain(
        [{"params": decayed, "weight_decay": 0.01}, {"params": bare, "weight_decay": 0}]
    )
    for image, *targets in train:
        optimizer.zero_grad()
        losses.build("bce")(model(image), *targets).backward()
        optimizer.step()
    for (key, a), b in zip(
        learn.model.state_dict().items(), model.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4, msg=key)


def test_a_warm_up_takes_a_twentieth_of_the_steps(crops):
    plan = short("recommended", schedule="warm-up", optimizer="schedule-free")
    seen = []

    class Rates(Callback):
        def after_batch(self):
            if self.training:
                seen.append(self.opt.opt.param_groups[0]["lr"])

    train, valid = batches(crops)
    train.steps = 20
    learn = make_learner(
        build("small-unet"), train, valid, losses.build("bce"), plan, cbs=[Rates()]
    )
    fit(learn, plan, 0.01)
    # 80 steps: after four of them 20 * 4 / 80 of the way are gone
    np.testing.assert_allclose(seen[:4], [0.0004, 0.0029, 0.0054, 0.0079], rtol=1e-6)
    np.testing.assert_allclose(seen[4:], 0.01)


@pytest.mark.parametrize(("arch", "epochs"), [("small-unet", 4), ("c-resunet", 1)])
def test_schedule_free_is_what_its_paper_writes(arch, epochs, crops):
    plan = short("recommended", schedule="constant", optimizer="schedule-free", epochs=epochs)
    train, valid = batches(crops)
    learn = make_learner(build(arch, seed=1), train, valid, losses.build("bce"), plan)
    fit(learn, plan, 0.01)

    model = build(arch, seed=1).to(memory_format=torch.channels_last)
    weights = list(model.parameters())
    mean, fast = ([p.detach().clone() for p in weights] for _ in range(2))
    squares = [torch.zeros_like(p) for p in weights]
    step, (beta, beta2) = 0, plan.betas

    def put(values):
        with torch.no_grad():
            for p, value in zip(weights, values, strict=True):
                p.copy_(value)

    for epoch in range(epochs):
        train.epoch = epoch
        for image, *targets in train:
            put([(1 - beta) * z + beta * x for x, z in zip(mean, fast, strict=True)])
            model.zero_grad()
            losses.build("bce")(model(image), *targets).backward()
            step += 1
            for p, x, z, v in zip(weights, mean, fast, squares, strict=True):
                v.mul_(beta2).add_((1 - beta2) * p.grad**2)
                move = p.grad / ((v / (1 - beta2**step)).sqrt() + plan.eps)
                z -= 0.01 * (move + (0.01 if p.ndim > 1 else 0) * p.detach())
                x += (z - x) / step
    put(mean)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a plain mean
    with torch.no_grad():
        for image, *_ in train:
            model(image)
        # Not the weights: a bias before a normalisation has no gradient but rounding.
        image, *_ = valid.one_batch()
        torch.testing.assert_close(
            learn.model.eval()(image), model.eval()(image), rtol=0, atol=2e-3
        )


@pytest.mark.parametrize("name", ["sgd", "momentum", "rmsprop", "adagrad", "adamw"])
def test_a_cycle_gives_no_momentum_to_an_optimiser_without_it(crops, name):
    plan = replace(short("recommended", optimizer=name), epochs=1)
    seen = []

    class Momenta(Callback):
        def after_batch(self):
            if self.training:
                group = self.opt.opt.param_groups[0]
                seen.append(group["betas"][0] if "betas" in group else group.get("momentum", 0))

    learn = learner(crops, plan, cbs=[Momenta()])
    fit(learn, plan, 0.01)
    if name in ("momentum", "adamw"):
        assert seen[0] == pytest.approx(0.95, abs=0.01)
        assert min(seen) == pytest.approx(0.85, abs=0.02)
    else:
        assert set(seen) == {0}


def test_a_plateau_lowers_the_rate_of_the_optimiser_and_then_stops(crops):
    plan = short(
        "morelli2021", patience=2, factor=0.5, stop_after=3, min_delta=1e9, epochs=20, loss="bce"
    )
    learn = learner(crops, plan)
    fit(learn, plan, 1e-4)
    # Epoch 0 is the first best; nothing can be better by 1e9. After 2 epochs the rate is halved,
    # after 3 training ends.
    rates = [row["lr"] for row in learn.history.rows]
    np.testing.assert_allclose(rates, [1e-4, 1e-4, 1e-4, 0.5e-4])
    assert learn.stop_reason == f"{NO_GAIN}valid_loss for 3 epochs"
    assert learn.watch.state["best_epoch"] == 0


def test_the_best_epoch_is_kept_not_the_last(crops):
    plan = short("recommended", schedule="constant", lr=0.01)
    learn = learner(crops, plan)
    fit(learn, plan, 0.01)
    dice = [row["dice"] for row in learn.history.rows]
    best = learn.watch.state["best_epoch"]
    assert dice[best] == max(dice) == learn.watch.state["best"]
    again = learner(crops, replace(plan, epochs=best + 1))
    fit(again, replace(plan, epochs=best + 1), 0.01)
    for name, tensor in learn.watch.best.items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name


def test_nan_stops_before_it_reaches_the_weights(crops):
    plan = short("recommended", schedule="constant")
    learn = learner(crops, plan)

    class Poisoned(losses.Loss):
        def forward(self, logits, target, weight=None):
            bad = learn.epoch == 1 and learn.training and learn.iter == 2
            return logits.mean() * (float("nan") if bad else 1.0)

    learn.loss_func = Poisoned()
    fit(learn, plan, 0.01)
    assert learn.stop_reason == "the loss became nan in epoch 1, step 2"
    assert len(learn.history.rows) == 1
    assert all(torch.isfinite(p).all() for p in learn.model.parameters())


def test_bfloat16_reaches_the_convolutions_and_not_the_loss(crops):
    plan = short("recommended")
    learn = learner(crops, plan, dtype=torch.bfloat16)
    seen = set()
    first = next(m for m in learn.model.modules() if isinstance(m, torch.nn.Conv2d))
    first.register_forward_hook(lambda m, i, o: seen.add((o.dtype, m.weight.dtype)))
    fit(learn, replace(plan, epochs=1), 0.01)
    assert seen == {(torch.bfloat16, torch.float32)}
    assert not torch.is_autocast_enabled("cpu")
    assert "forward" not in learn.model.__dict__
    assert np.isfinite(learn.history.rows[0]["train_loss"])


def test_the_rate_is_searched_for_and_leaves_no_trace(crops, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = find_lr(learner(crops, short("clissa2023")), steps=25)
    assert 1e-6 < found < 1
    assert found == find_lr(learner(crops, short("clissa2023")), steps=25)
    assert list(tmp_path.iterdir()) == []


def test_layers_that_are_frozen_stay_and_slower_ones_move_less(crops):
    moved = {}
    for name in ("fcn2016", "fcn2016-discriminative", "fcn2016-frozen"):
        plan = replace(short(name), epochs=1, schedule="constant")
        learn = learner(crops, plan)
        first = {k: v.clone() for k, v in learn.model.named_parameters()}
        fit(learn, plan, 0.05)
        slow = {id(p) for p in learn.model.contracting()}
        moved[name] = {
            part: sum(
                float((p.detach() - first[k]).abs().sum())
                for k, p in learn.model.named_parameters()
                if (id(p) in slow) == (part == "contracting")
            )
            for part in ("contracting", "expanding")
        }
    assert moved["fcn2016-frozen"]["contracting"] == 0
    assert moved["fcn2016-frozen"]["expanding"] > 0
    slower, same = moved["fcn2016-discriminative"], moved["fcn2016"]
    assert 0 < slower["contracting"] < 0.5 * same["contracting"]


@pytest.mark.parametrize("name", ["c-resunet", "resunet", "unet", "small-unet", "fcn"])
def test_contracting_layers_end_with_the_bottleneck(name):
    model = build(name)
    known = {id(p): k for k, p in model.named_parameters()}
    found = [known[id(p)] for p in model.contracting()]
    assert found[-1].startswith("bottleneck")
    assert not any(k.startswith(("decoder", "up", "head")) for k in found)
    others = set(known.values()) - set(found)
    assert all(k.startswith(("decoder", "up", "head")) for k in others)
