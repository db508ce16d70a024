"""Who is looking: progress for a person, silence in a log."""

import contextlib
import os
import sys


def watched() -> bool:
    """Tell whether a person sees progress: a terminal, or a notebook not run in batch.

    The environment variable CELLCOUNT_PROGRESS, 0 or 1, decides where it is set.
    """
    forced = os.environ.get("CELLCOUNT_PROGRESS")
    if forced in ("0", "1"):
        return forced == "1"
    with contextlib.suppress(AttributeError, ValueError):
        if sys.stderr.isatty():
            return True
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"
