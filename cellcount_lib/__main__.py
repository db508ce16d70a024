"""``python -m cellcount_lib`` is the same as ``cellcount``."""

from cellcount_lib.cli import main

if __name__ == "__main__":
    main()
