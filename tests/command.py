"""The command line inside this process: what a test calls often need not import torch each time."""

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from unittest.mock import patch

from cellcount_lib.cli import main


def cellcount(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Call the function that the command `cellcount` calls; give its exit code and what it says."""
    given = [str(argument) for argument in arguments]
    out, wrong = io.StringIO(), io.StringIO()
    code = None
    with (
        patch.object(sys, "argv", ["cellcount", *given]),
        redirect_stdout(out),
        redirect_stderr(wrong),
    ):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    return subprocess.CompletedProcess(given, code or 0, out.getvalue(), wrong.getvalue())
