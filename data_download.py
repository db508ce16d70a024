"""Download a dataset: ``python data_download.py NAME`` does what ``cellcount download NAME`` does.

``python data_download.py --list`` names them, ``--help`` explains the rest.
"""

from cellcount_lib.data.download_command import main

if __name__ == "__main__":
    main()
