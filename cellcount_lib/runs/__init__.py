"""The benchmark's runs: what one is, what it leaves, which are missing, and how they are started.

Read in this order: `identity` (when are two runs the same, and when is one stale), `grid` (the YAML
files in experiments/), `execute` (one run, by papermill), `status` (what is there), `launch` (many
runs, by Snakemake), `command` (the command line). What a run leaves is in `cellcount_lib.records`.
"""
