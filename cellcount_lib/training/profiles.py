"""Profiles: the same experiment at the scale that a machine can bear."""

from dataclasses import dataclass

from cellcount_lib.registry import Registry


@dataclass(frozen=True)
class Profile:
    """Scale of a training; `None` leaves a choice to the recipe or to the data."""

    name: str
    description: str
    crop: int  # side of the square training crops, in pixels of the reduced pictures
    bn_momentum: float  # as in `models.ModelConfig`: short trainings need a short memory
    # Pictures are reduced until the median cell is this wide (never enlarged). The published
    # networks see cells 38 pixels wide in crops of 512; a quarter of both leaves the same cells in
    # a crop, at a sixteenth of the work.
    cell_px: float | None = None
    batch: int | None = None
    epochs: int | None = None
    steps: int | None = None  # batches per epoch; None trains on every crop of an epoch once
    train_images: int | None = None  # at most this many
    val_images: int | None = None
    test_images: int | None = None

    def scale(self, cell_px: float) -> float:
        """Return the scale at which cells that are `cell_px` wide get the profile's width.

        Two digits are kept, so that a scale can be written down.

        Examples
        --------
        >>> PROFILES["laptop"].scale(37.6), PROFILES["laptop"].scale(5.0)
        (0.25, 1.0)
        >>> PROFILES["paper"].scale(40)
        1.0
        """
        if self.cell_px is None:
            return 1.0
        return min(1.0, max(0.01, round(self.cell_px / cell_px, 2)))


PROFILES = Registry(
    "profile",
    {
        "smoke": Profile(
            name="smoke",
            description="seconds per run: does everything work?",
            cell_px=9.4,
            crop=64,
            batch=4,
            epochs=2,
            steps=30,
            train_images=8,
            val_images=4,
            test_images=4,
            bn_momentum=0.1,
        ),
        "laptop": Profile(
            name="laptop",
            description="two CPU cores, a minute or two per run",
            cell_px=9.4,
            crop=128,
            batch=8,
            epochs=4,
            steps=90,
            train_images=150,
            val_images=24,
            test_images=70,
            bn_momentum=0.1,
        ),
        "study": Profile(
            name="study",
            description="the committed tables: as laptop, four times the steps, minutes per run",
            cell_px=9.4,
            crop=128,
            batch=8,
            epochs=16,
            steps=90,
            train_images=150,
            val_images=24,
            test_images=70,
            bn_momentum=0.1,
        ),
        "gpu": Profile(
            name="gpu",
            description="one GPU with 16 GB, minutes per run",
            cell_px=18.8,
            crop=256,
            batch=32,
            epochs=40,
            steps=100,
            bn_momentum=0.02,
        ),
        "paper": Profile(
            name="paper",
            description="the published scale: full size, crops of 512, the recipe's epochs",
            crop=512,
            bn_momentum=0.01,
        ),
    },
)
