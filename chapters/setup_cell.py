"""The first code cell of every chapter: install the library where it is missing, as on Colab."""

import importlib.util
import subprocess
import sys

if importlib.util.find_spec("cellcount_lib") is None:
    print("Installing cellcount-book and what it needs; this takes a minute or two ...")
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "cellcount-book[train]"], check=True)
