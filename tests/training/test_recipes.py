import re
from dataclasses import replace
from typing import get_args

import pytest

from benchmarks.quality import validation_dice
from cellcount_lib.errors import InputError
from cellcount_lib.losses import PRESETS, build, names
from cellcount_lib.tables.committed import table
from cellcount_lib.training.crops import PLACES, Copies
from cellcount_lib.training.profiles import PROFILES
from cellcount_lib.training.recipes import RECIPES, Monitor, Optimizer, Sampling, Schedule
from cellcount_lib.training.spec import Training


def test_the_published_recipes_say_what_the_studies_say():
    r21, r23, s2 = (RECIPES[name] for name in ("morelli2021", "clissa2023", "fcn2016"))
    assert (r21.optimizer, r21.lr, r21.factor, r21.patience, r21.stop_after) == (
        "adam",
        0.006,
        0.7,
        4,
        20,
    )
    assert (r21.loss, r21.weight_map, r21.sampling) == ("wbce-2021", True, "grid")
    assert (r23.lr, r23.schedule, r23.monitor, r23.batch, r23.epochs) == (
        1e-3,  # fastai's default: what lr_find suggested was thrown away
        "one-cycle",
        "dice",
        32,
        200,
    )
    assert (r23.augmentation.share, r23.augmentation.affine_share) == (0.5, 0.75)
    assert (s2.optimizer, s2.lr, s2.patience, s2.factor) == ("momentum", 0.01, 20, 0.1)


@pytest.mark.parametrize("grid", ["losses", "losses-bbbc038-fluo-x1"])
def test_the_recommended_loss_is_near_the_best_on_committed_validation_pictures(grid):
    scores = validation_dice(table(grid))["mean"]
    assert len(scores) == 12
    assert scores.max() - scores[RECIPES["recommended"].loss] < 0.02


def test_what_is_compared_with_the_mask_of_the_recommended_recipe_has_its_loss():
    assert PRESETS["boundary-4"] == PRESETS[RECIPES["recommended"].loss]
    assert build("instances").mask.lambdas == build(RECIPES["recommended"].loss).lambdas


def test_variants_differ_in_what_their_names_say():
    for name, field in (("morelli2021-s0", "copies"), ("clissa2023-lr-find", "lr")):
        base = RECIPES[name.split("-")[0]]
        same = {field: getattr(base, field), "name": base.name, "source": base.source}
        assert replace(RECIPES[name], **same) == base != RECIPES[name]
    assert RECIPES["clissa2023-lr-find"].lr == "valley"
    assert RECIPES["morelli2021-s0"].copies == Copies(4, 10, 25)
    assert RECIPES["morelli2021"].copies == Copies(1 + 5, 1 + 11, 1 + 80 + 35 + 13)
    assert RECIPES["recommended"].copies == Copies(1, 1, 129)


@pytest.mark.parametrize("one", RECIPES.values(), ids=RECIPES)
def test_every_recipe_is_whole(one):
    assert one.loss in names()
    assert one.optimizer in get_args(Optimizer)
    assert one.schedule in get_args(Schedule)
    assert one.monitor in get_args(Monitor)
    assert one.sampling in get_args(Sampling)
    assert one.shortened(None) is one
    assert one.shortened(one.epochs) is one
    short = one.shortened(3)
    assert short.epochs == 3
    assert short.patience in (0, 1)
    assert (
        replace(short, epochs=one.epochs, patience=one.patience, stop_after=one.stop_after) == one
    )


def test_a_stop_keeps_its_proportion_to_the_patience():
    whole = RECIPES["morelli2021"]
    assert (whole.patience, whole.stop_after) == (4, 20)
    # 16 of 200 epochs are 0.32 of 4 epochs, at least one; 100 are two, and the stop is ten
    for epochs, patience, stop in ((4, 1, 5), (16, 1, 5), (100, 2, 10), (150, 3, 15)):
        short = whole.shortened(epochs)
        assert (short.patience, short.stop_after) == (patience, stop)
    assert RECIPES["fcn2016"].shortened(6).stop_after is None
    # one that never lowers its rate has no patience to go by: as its length, two epochs at least
    without = replace(whole, schedule="constant", patience=0)
    assert [without.shortened(epochs).stop_after for epochs in (16, 100)] == [2, 10]


def test_profiles_grow():
    assert list(PROFILES) == ["smoke", "laptop", "study", "gpu", "paper"]
    sides = [profile.crop for profile in PROFILES.values()]
    assert sides == sorted(sides)


@pytest.mark.parametrize("registry", [RECIPES, PROFILES], ids=["recipes", "profiles"])
def test_each_has_the_name_it_is_asked_for_by(registry):
    assert {key: one.name for key, one in registry.items()} == {key: key for key in registry}


def test_every_way_of_sampling_has_its_function():
    assert set(PLACES) == set(get_args(Sampling))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"arch": "cresunet"}, "unknown model 'cresunet'; did you mean 'c-resunet'"),
        ({"recipe": "recomended"}, "unknown recipe 'recomended'; did you mean 'recommended'"),
        ({"profile": "latop"}, "unknown profile 'latop'; did you mean 'laptop'"),
        ({"loss": "dise"}, "unknown loss 'dise'; did you mean 'dice'"),
        ({"protocol": "x"}, "unknown protocol 'x'"),
        ({"epochs": 0}, "epochs: expected a whole number >= 1, found 0"),
        ({"crop": 2.5}, "crop: expected a whole number >= 1, found 2.5"),
        ({"scale": -1}, "scale: expected"),
        ({"optimizer": "adma"}, "unknown optimiser 'adma'; did you mean 'adam'"),
        ({"lr": 0}, "lr: expected"),
        ({"labels": "ragget"}, "unknown labelling 'ragget'; did you mean 'ragged'"),
        ({"grey": 2.0}, "grey: expected a number from 0 to 1, found 2.0"),
    ],
    ids=str,
)
def test_what_a_training_cannot_be_is_an_error_as_it_is_made(wrong, message):
    with pytest.raises(InputError, match=re.escape(message)):
        Training(**wrong)


def test_overrides_win():
    plan, scale = Training(
        profile="laptop", recipe="morelli2021", epochs=10, batch=3, crop=48, steps=7, loss="dice"
    ).resolved()
    assert (plan.epochs, plan.batch, plan.loss, scale.crop, scale.steps) == (10, 3, "dice", 48, 7)
    assert (plan.weight_map, plan.patience, plan.stop_after) == (True, 1, 5)
    assert Training(recipe="morelli2021", weight_map=False).resolved()[0].weight_map is False
    plan, scale = Training(profile="paper", recipe="clissa2023").resolved()
    assert (plan.epochs, plan.batch, scale.crop, scale.steps) == (200, 32, 512, None)
    assert Training(grey=0.5).resolved()[0].augmentation.grey == 0.5
    free = Training(recipe="fcn2016", optimizer="schedule-free").resolved()[0]
    assert (free.optimizer, free.schedule) == ("schedule-free", "warm-up")
    assert Training(recipe="fcn2016", optimizer="adamw").resolved()[0].schedule == "steps"
