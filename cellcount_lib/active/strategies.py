"""Which pictures are labelled next? Five strategies, from what a network says about each picture.

====================== =========================================================================
strategy               takes
====================== =========================================================================
``random``             any picture, all alike
``foreground``         a cell at random among all that the network finds, and the picture it is in
``uncertainty``        the pictures about whose pixels the network is least sure
``diversity``          the picture farthest from all that are labelled or taken, again and again
                       (k-centre greedy)
``uncertainty-far``    the same, the distance times the uncertainty
====================== =========================================================================

``foreground`` is the honest control: it knows where cells are and nothing else.

Taught in: 11_laboratory
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.data.sample import brightness
from cellcount_lib.errors import InputError
from cellcount_lib.registry import Registry
from cellcount_lib.seeds import derived_seed

Floats = NDArray[np.float64]


class Look(NamedTuple):
    """What a network says about a picture, as far as a strategy asks."""

    cells: int  # found
    entropy: float  # of the heatmap, in bits per pixel
    features: Floats  # (5,): how bright, how full, how crowded


def look(image: NDArray[np.uint8], heatmap: NDArray[np.float32], labels: NDArray[np.int32]) -> Look:
    """Describe a picture by its heatmap (H, W) and the objects that were made of it."""
    p = np.clip(heatmap.astype(float), 1e-7, 1 - 1e-7)
    entropy = -(p * np.log2(p) + (1 - p) * np.log2(1 - p)).mean()
    cells = np.unique(labels[labels > 0]).size
    light = np.percentile(brightness(image), (50, 95, 99.9)) / 255
    full = np.sqrt((labels > 0).mean())
    return Look(cells, float(entropy), np.array([*light, full, np.log1p(cells)]))


@dataclass(frozen=True)
class Strategy:
    """What a picture weighs, and how weights choose."""

    weight: Callable[[Look], float]
    drawn: bool = False  # at random, as often as the weight says; else the largest first
    far: bool = False  # times the distance to the nearest picture that is labelled or taken


STRATEGIES: Registry[Strategy] = Registry(
    "strategy",
    {
        "random": Strategy(lambda look: 1.0, drawn=True),
        "foreground": Strategy(lambda look: look.cells, drawn=True),
        "uncertainty": Strategy(lambda look: look.entropy),
        "diversity": Strategy(lambda look: 1.0, far=True),
        "uncertainty-far": Strategy(lambda look: look.entropy, far=True),
    },
)


def draw(weight: float, chance: float) -> float:
    """Return a key, in [0, 1): who takes the largest keys draws by weight, without replacement.

    `chance` is uniform in [0, 1) (Efraimidis and Spirakis, 2006). What weighs nothing comes last.

    Examples
    --------
    >>> draw(1, 0.25), draw(2, 0.25), draw(0, 0.25)
    (0.25, 0.5, 0.0)
    """
    return chance ** (1 / weight) if weight > 0 else 0.0


def turn(cells: int, *names: object) -> float:
    """Return the score of a picture for who labels pictures in ascending order: ``foreground``.

    In (0, 1]; the same names give the same chance. Pictures without cells come last.

    Examples
    --------
    >>> turn(0, "a.png", "v1"), turn(3, "a.png", "v1") == turn(3, "a.png", "v1")
    (1.0, True)
    """
    chance = np.random.default_rng(derived_seed(0, "turn", *names)).random()
    return 1 - draw(cells, chance)


def choose(
    strategy: str,
    pool: Sequence[Look],
    labelled: Sequence[Look],
    number: int,
    rng: np.random.Generator,
) -> list[int]:
    """Return the places in the pool of the pictures to label next, the first first."""
    how = STRATEGIES[strategy]
    if not 0 <= number <= len(pool):
        raise InputError(f"number: expected at most {len(pool)} pictures, found {number}")
    chances = rng.random(len(pool))
    keys = np.array([how.weight(one) for one in pool], dtype=float)
    if how.drawn:
        keys = np.array([draw(w, u) for w, u in zip(keys, chances, strict=True)])
    features = np.array([one.features for one in (*pool, *labelled)])
    features /= np.maximum(features.std(axis=0), 1e-9)
    mine, theirs = features[: len(pool)], features[len(pool) :]
    distance = np.linalg.norm(mine[:, None] - theirs[None], axis=2).min(axis=1, initial=np.inf)
    if not labelled:
        distance = np.ones(len(pool))
    left, taken = set(range(len(pool))), list[int]()
    for _ in range(number):
        value = keys * distance if how.far else keys
        first = max(left, key=lambda place: (value[place], chances[place]))
        left.remove(first)
        taken.append(first)
        here = np.linalg.norm(mine - mine[first], axis=1)
        # without labelled pictures, the first that is taken is the first to be far from
        distance = here if len(taken) == 1 and not labelled else np.minimum(distance, here)
    return taken
