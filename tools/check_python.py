"""Say in one sentence what is missing before an environment can be made."""

import importlib.util
import sys

if sys.version_info < (3, 11):
    found = ".".join(map(str, sys.version_info[:3]))
    sys.exit(
        f"expected Python 3.11 or later, found {found} ({sys.executable}); "
        "name another with `make PYTHON=python3.12 ...`"
    )
if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
    sys.exit(
        "this Python has no venv or ensurepip module; on Debian and Ubuntu install python3-venv"
    )
