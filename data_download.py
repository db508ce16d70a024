"""Download a dataset: ``python data_download.py NAME`` does what ``cellcount download NAME`` does.

``python data_download.py --list`` names them, ``--help`` explains the rest.
"""

import sys

from cellcount_lib.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "download")
    main()
