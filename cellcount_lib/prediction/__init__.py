"""Counting the cells of a person's own pictures: ``cellcount predict``.

`reading` turns files into planes, `outlines` and `outputs` write results, `run` works through many
files and can be interrupted, `command` is the command line.
"""
