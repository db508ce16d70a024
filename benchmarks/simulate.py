"""The simulator: seconds for one picture of each kind on one core; no reference to beat."""

from functools import partial

import numpy as np

from benchmarks.harness import Case
from cellcount_lib.data.simulate import simulate
from cellcount_lib.data.simulator.population import N_IMAGES, stratum


def cases() -> list[Case]:
    """A median and the most crowded picture of neurons, nuclei, and a patch for the FCN."""
    counts = np.array([stratum(index, 0).count for index in range(N_IMAGES)])
    usual, crowded = int(np.flatnonzero(counts == 4)[0]), int(counts.argmax())
    neurons = "simulated neurons 1600x1200, "
    return [
        Case(f"{neurons}4 objects", partial(simulate, usual), at_most_s=0.5),
        Case(f"{neurons}{counts.max()} objects", partial(simulate, crowded), at_most_s=1.0),
        Case(
            "simulated nuclei 1600x1200, overcrowded",
            partial(simulate, 0, style="nuclei-overcrowded"),
            at_most_s=1.0,
        ),
        Case(
            "simulated patch 128x128 with simplex noise",
            partial(simulate, 0, style="simcep-simplex", size=(128, 128)),
            at_most_s=0.05,
        ),
    ]
