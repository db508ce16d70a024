"""Whether to show progress: to a person, but not in a log."""

import contextlib
import os
import sys


def watched() -> bool:
    """Tell whether a person watches: in a terminal, or in a notebook that is not run in batch.

    If the environment variable CELLCOUNT_PROGRESS is 0 or 1, it decides.
    """
    forced = os.environ.get("CELLCOUNT_PROGRESS")
    if forced in ("0", "1"):
        return forced == "1"
    with contextlib.suppress(AttributeError, ValueError):
        if sys.stderr.isatty():
            return True
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"
