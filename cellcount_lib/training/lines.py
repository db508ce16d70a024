"""A line per epoch for a log, where nobody watches a bar."""

import sys

from cellcount_lib.training.fast import Callback


class Lines(Callback):
    """Print the scores of every epoch, at once, to the standard error."""

    order = 81  # after `callbacks.Progress`

    def after_epoch(self) -> None:
        """Print them."""
        row = self.history.rows[-1]
        print(
            f"epoch {row['epoch'] + 1}/{self.n_epoch}: loss {row['valid_loss']:.3g}, "
            f"dice {row['dice']:.3f}, {row['seconds']:.0f} s",
            file=sys.stderr,
            flush=True,
        )
