"""Snakemake, which ends when the process that started it has ended, however that went.

    python -m cellcount_lib.runs.leash PROCESS ARGUMENTS ...

Interrupted first, it cancels its SLURM jobs.
"""

import signal
import sys

from cellcount_lib.machine import end_with


def main() -> None:
    """Look for the process, and be Snakemake."""
    from snakemake.cli import main as snakemake

    owner, *arguments = sys.argv[1:]
    # who starts a command in the background of a shell makes it deaf to interrupts
    signal.signal(signal.SIGINT, signal.default_int_handler)
    end_with(int(owner), first=signal.SIGINT)
    snakemake(arguments)


if __name__ == "__main__":
    main()
